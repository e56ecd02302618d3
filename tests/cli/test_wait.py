"""`wait` returns when instances rest, drives none, and tells all ways to end apart."""

import pytest

from tests.cli.project import Project


def test_it_returns_when_each_has_ended_by_itself(project: Project) -> None:
    """Another process drives one of them; what is there already is not waited for."""
    project.call("run", "numbers", "--id", "one")
    driver = project.spawn("run", "numbers", "--id", "two", "-p", "slow=true")
    project.begun()

    waiter = project.spawn("wait", "two", "one", "two", "--timeout", "5m", "-o", "json")
    early = project.call("wait", "two", "--timeout", "0s")
    (project.root / "machines" / "go").touch()
    out, err = waiter.communicate(timeout=60)
    driver.communicate(timeout=60)

    assert early.code == 124
    assert waiter.returncode == 0
    assert '"id": "two"' in out
    assert out.count('"done"') == 2
    assert err.count("next: statepipe inspect") == 2


def test_one_that_is_not_done_makes_it_exit_1(project: Project) -> None:
    """Failed, cancelled or paused: all are at rest, and none is what was hoped for."""
    project.break_it()
    project.call("run", "numbers", "--id", "failed")
    for name in ("cancelled", "paused"):
        project.call("start", "numbers", "--id", name)
    project.call("cancel", "cancelled", "--yes")
    project.call("pause", "paused")

    said = project.call("wait", "failed", "cancelled", "paused", "-o", "json")

    assert said.code == 1
    assert [each["status"] for each in said.json] == ["failed", "cancelled", "paused"]


def test_time_that_is_over_is_told_apart_and_nothing_was_driven(project: Project) -> None:
    """The statuses are printed all the same; the error says what to look at."""
    project.call("start", "numbers", "--id", "one")

    said = project.call("wait", "one", "--timeout", "10ms", "-o", "json")

    assert said.code == 124
    assert said.json == [{"id": "one", "status": "ready"}]
    assert "1 instance did not come to rest within 10ms: one" in said.err
    assert "next:    statepipe why one" in said.err
    assert len(project.call("history", "one", "-o", "json").json) == 1


@pytest.mark.parametrize(
    ("argv", "code"), [([], 2), (["nobody"], 3), (["one", "--timeout", "soon"], 2)]
)
def test_what_cannot_be_waited_for_is_refused_at_once(
    project: Project, argv: list[str], code: int
) -> None:
    """An id that is not there will not come."""
    project.call("start", "numbers", "--id", "one")

    assert project.call("wait", *argv).code == code
