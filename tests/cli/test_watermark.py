"""watermark: where a machine stands, and a person's word on it."""

import pytest

from tests.cli.project import Project

MACHINE = """\
machine = "grows"
version = 1
extract = { run = "grows_:extract", watermark = { column = "at", lookback = "1h" } }
load = { to = "sqlite:///warehouse.db", table = "rows", key = ["id"] }
"""
FUNCTIONS = '''\
"""Two rows at known moments."""

from datetime import UTC, datetime

from statepipe import Batch


def extract(task):
    """Yield what is new."""
    rows = [{"id": hour, "at": datetime(2013, 2, 4, hour, tzinfo=UTC)} for hour in (5, 6)]
    yield Batch([row for row in rows if task.watermark is None or row["at"] > task.watermark])
'''


@pytest.fixture
def grows(project: Project) -> Project:
    """A project with an incremental machine."""
    machines = project.root / "machines"
    (machines / "grows.toml").write_text(MACHINE, encoding="utf-8")
    (machines / "grows_.py").write_text(FUNCTIONS, encoding="utf-8")
    assert project.call("run", "grows", "--id", "first").code == 0
    return project


def test_show_says_where_a_machine_stands_and_who_moved_it(grows: Project) -> None:
    """Values as people write them; in JSON with their type."""
    said = grows.call("watermark", "show")
    (row,) = grows.call("watermark", "show", "grows", "-o", "json").json

    assert said.out.splitlines()[1].split()[:4] == [
        *("1", "grows", "extracting", "2013-02-04T06:00:00+00:00"),
    ]
    assert (row["value"], row["type"]) == ("2013-02-04T06:00:00+00:00", "datetime")
    assert (row["instance"], row["reason"]) == ("first", None)


def test_a_person_puts_it_with_a_reason_and_after_a_yes(grows: Project) -> None:
    """Of the type it has; and back again."""
    value = "2013-02-04T05:30:00+00:00"
    asked = grows.call("watermark", "set", "grows", value, "--reason", "again")
    done = grows.call("watermark", "set", "grows", value, "--reason", "again", "--yes")
    back = grows.call("watermark", "rewind", "grows", "--to", "1", "--reason", "no", "--yes")

    assert asked.code == 2
    assert "from 2013-02-04T06:00:00+00:00 to 2013-02-04T05:30:00+00:00" in asked.err
    assert (done.code, back.code) == (0, 0)
    moves = grows.call("watermark", "show", "-o", "json").json
    assert [(move["value"][11:16], move["reason"]) for move in moves] == [
        ("06:00", "no"),
        ("05:30", "again"),
        ("06:00", None),
    ]


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["set", "grows", "soon", "--reason", "x"], 2, "'soon' is not of type datetime"),
        (["set", "grows", "2013-02-04T00:00:00.1234567Z", "--reason", "x"], 2, "finer parts"),
        (["set", "grows", "2013-02-04", "--reason", "x"], 2, "it has no offset from UTC"),
        (["set", "grows", "NaN", "--type", "decimal", "--reason", "x"], 2, "it has no order"),
        (["set", "numbers", "1", "--reason", "x"], 2, "no state with a watermark"),
        (["set", "grows", "1", "--state", "loading", "--reason", "x"], 2, "not 'loading'"),
        (["set", "nowhere", "1", "--reason", "x"], 3, "no machine"),
        (["set", "grows", "1"], 2, "--reason"),
        (["set", "grows", "1", "--type", "int", "--reason", " \t"], 2, "it is blank"),
        (["set", "grows", "-50", "--reason", "x"], 2, "statepipe watermark set … -- -50 "),
        (["rewind", "grows", "--to", "9", "--reason", "x"], 3, "no watermark number 9"),
    ],
)
def test_what_cannot_be_meant_changes_nothing(
    grows: Project, argv: list[str], code: int, said: str
) -> None:
    """And the refusal says what can."""
    answer = grows.call("watermark", *argv, "--yes")

    assert answer.code == code
    assert said in answer.err
    assert len(grows.call("watermark", "show", "-o", "json").json) == 1


@pytest.mark.parametrize("kind", ["int", "float", "decimal", "date", "datetime"])
def test_the_example_of_a_value_is_one_of_its_type(grows: Project, kind: str) -> None:
    """What a refusal says next is taken."""
    put = ("watermark", "set", "grows", "--type", kind, "--reason", "x", "--yes")

    refused = grows.call(*put, "soon")
    example = refused.err.rpartition("for example ")[2].split()[0]
    taken = grows.call(*put, example)

    assert (refused.code, taken.code) == (2, 0)
    assert f"a value of type {kind}" in refused.err


def test_a_first_value_needs_its_type(project: Project) -> None:
    """Nobody has said yet what the column holds."""
    machines = project.root / "machines"
    (machines / "grows.toml").write_text(MACHINE, encoding="utf-8")
    (machines / "grows_.py").write_text(FUNCTIONS, encoding="utf-8")
    project.call("start", "numbers")
    put = ("watermark", "set", "grows", "2013-02-04T05:30:00Z", "--reason", "begin", "--yes")

    refused = project.call(*put)
    done = project.call(*put, "--type", "datetime")
    project.call("run", "grows", "--id", "first")

    assert (refused.code, done.code) == (2, 0)
    assert "--type" in refused.err
    loaded = project.call("inspect", "first", "-o", "json").json
    assert loaded["status"] == "done"
