"""metrics dashboard, rules, scrape-config: texts to be redirected into files."""

import json

import pytest

from statepipe.observe import shipped
from tests.cli.project import Project

NAMES = [each.name for each in shipped.BOARDS]


def test_the_dashboards_are_listed(project: Project) -> None:
    """Whoever types the command without a name sees which there are."""
    said = project.call("metrics", "dashboard")

    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines()] == ["NAME", *NAMES]
    assert [each["name"] for each in project.call("metrics", "dashboard", "-o", "json").json] == (
        NAMES
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_is_printed_as_it_is_imported(project: Project, name: str) -> None:
    """JSON and nothing else, whatever output was asked for."""
    for more in ([], ["-o", "json"], ["-q"]):
        said = project.call("metrics", "dashboard", "--name", name, *more)
        assert (said.code, said.err) == (0, "")
        assert json.loads(said.out)["uid"] == f"statepipe-{name}"
    as_line = project.call("metrics", "dashboard", "--name", name, "-o", "jsonl").out
    assert as_line.count("\n") == 1
    assert json.loads(as_line) == json.loads(said.out)


def test_a_dashboard_that_does_not_exist_is_not_found(project: Project) -> None:
    """With the nearest name that does."""
    said = project.call("metrics", "dashboard", "--name", "fleat")

    assert (said.code, said.out) == (3, "")
    assert 'did you mean "fleet"?' in said.err
    assert "next:    statepipe metrics dashboard" in said.err


def test_rules_are_printed_as_prometheus_reads_them(project: Project) -> None:
    """As a file of their own; inside JSON if only JSON may be printed."""
    said = project.call("metrics", "rules")

    assert (said.code, said.out) == (0, shipped.rules())
    assert project.call("metrics", "rules", "-o", "json").json == {"text": shipped.rules()}


def test_the_scrape_configuration_names_the_targets(project: Project) -> None:
    """The default of `metrics serve`, or those that were given."""
    assert 'targets: ["127.0.0.1:9464"]' in project.call("metrics", "scrape-config").out
    said = project.call("metrics", "scrape-config", "--target", "a:1", "--target", "[::1]:9464")
    assert 'targets: ["a:1", "[::1]:9464"]' in said.out


@pytest.mark.parametrize("target", ["etl1", ":9464", 'a:1"]\nx: ["', "http://etl1:9464", "a:1,b:2"])
def test_a_target_that_is_no_host_and_port_is_refused(project: Project, target: str) -> None:
    """Prometheus would read the file and scrape something else, or nothing."""
    said = project.call("metrics", "scrape-config", "--target", target)

    assert (said.code, said.out) == (2, "")
    assert "is not a host and a port" in said.err
    assert "statepipe metrics scrape-config --target 127.0.0.1:9464" in said.err


def test_they_need_no_project(
    project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are printed on the machine that Prometheus runs on, where there is no store."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))

    assert project.call("metrics", "rules").code == 0
