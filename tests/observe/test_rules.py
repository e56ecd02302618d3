"""The rules: each alert fires in its case and is silent in its counter-example, by promtool."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from statepipe.observe import shipped
from tests.house.repository import ROOT
from tests.observe.naming import SCRAPED, complaints, labels_of
from tests.observe.page import code, rows
from tests.observe.queries import names, rules

CASES = Path(__file__).parent / "rules"

#: How an alert is shown and how soon somebody must look: now, today, this week.
SEVERITIES = {"critical", "warning", "info"}

ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"]: rule for rule in rules() if "record" in rule}


def _promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    found = shutil.which("promtool")
    assert found is not None, "this test needs Prometheus. Type: make tools"
    return subprocess.run(
        [found, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def _cases(stem: str) -> list[dict[str, Any]]:
    """Return the test groups of one file."""
    text = (CASES / f"{stem}.yml").read_text(encoding="utf-8")
    parsed: list[dict[str, Any]] = yaml.safe_load(text)["tests"]
    return parsed


def test_prometheus_takes_the_rules() -> None:
    """Syntax, templates and duplicates, as the server checks them when it starts."""
    said = _promtool("check", "rules", "--lint-fatal", _shipped("rules"))

    assert said.returncode == 0, said.stdout + said.stderr


def test_prometheus_takes_the_scrape_configuration_with_the_rules(tmp_path: Path) -> None:
    """The printed ten lines are a whole prometheus.yml, if there is no other."""
    config = tmp_path / "prometheus.yml"
    config.write_text(shipped.scrape_config(["etl1:9464", "[::1]:9464"]), encoding="utf-8")
    (tmp_path / "statepipe-rules.yml").write_text(shipped.rules(), encoding="utf-8")

    said = _promtool("check", "config", config)

    assert said.returncode == 0, said.stdout + said.stderr
    assert len(shipped.scrape_config().splitlines()) <= 10
    parsed = yaml.safe_load(config.read_text(encoding="utf-8"))["scrape_configs"]
    assert parsed[0]["static_configs"] == [{"targets": ["etl1:9464", "[::1]:9464"]}]


@pytest.mark.parametrize("stem", [*ALERTS, "recorded"])
def test_a_rule_does_what_its_cases_say(stem: str) -> None:
    """The cases are data for promtool: series, a moment, and what fires then, word by word."""
    said = _promtool("test", "rules", CASES / f"{stem}.yml")

    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(alert: str) -> None:
    """One that never fires is no alarm; one that always fires is none either."""
    asked = [
        each
        for case in _cases(alert)
        for each in case["alert_rule_test"]
        if each["alertname"] == alert
    ]

    assert any(each["exp_alerts"] for each in asked)
    assert any(not each["exp_alerts"] for each in asked)


def test_every_file_of_cases_belongs_to_a_rule() -> None:
    """A rule that was renamed leaves no test behind that tests nothing."""
    tested = {each["expr"] for case in _cases("recorded") for each in case["promql_expr_test"]}

    assert {path.stem for path in CASES.iterdir()} == {*ALERTS, "recorded"}
    assert set(RECORDED) <= tested


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_names_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    """A slip in a name is an alert that never fires."""
    assert not complaints(rule["expr"])


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_bad_it_is_what_it_means_and_what_to_type(alert: str) -> None:
    """Whoever is woken by it has not read the docs."""
    rule = ALERTS[alert]
    summary, description = rule["annotations"]["summary"], rule["annotations"]["description"]

    assert re.fullmatch(r"Statepipe([A-Z][a-z]+)+", alert)
    assert set(rule["labels"]) == {"severity"}
    assert rule["labels"]["severity"] in SEVERITIES
    assert summary.endswith(".")
    assert len(summary) <= 120
    assert "`statepipe " in description


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_speaks_of_labels_that_its_series_have(alert: str) -> None:
    """Any other is blank in the message."""
    rule = ALERTS[alert]
    said = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    found = names(rule["expr"])
    kept = found.grouped or frozenset().union(*map(labels_of, found.metrics))

    assert said <= kept - ({"le"} if found.grouped else set())
    assert not said & SCRAPED or not found.grouped


def test_the_page_has_every_alert_with_its_severity_and_no_other() -> None:
    """Whoever gets one finds it in docs/metrics.md, with what to do."""
    heads = ("alert", "severity", "fires when", "what to do")
    documented = {code(name)[0]: severity for name, severity, _, _ in rows(*heads)}

    assert documented == {name: rule["labels"]["severity"] for name, rule in ALERTS.items()}
    assert all(fires and do for *_, fires, do in rows(*heads))


def _shipped(name: str) -> Path:
    return ROOT / "statepipe" / "observe" / "prometheus" / f"{name}.yml"
