"""
Promise: too many rejected records end in `invalid`, decided by the records alone.

Neither a crash in the middle nor the size of batches has a say, nothing is lost on the
way, and whoever raises the limit can go on.
"""

from pathlib import Path

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.model import Change
from statepipe.runtime.driving.drive import Drive
from statepipe.sqlite import sqlite3
from statepipe.store.file.opening import open_reader
from statepipe.store.reading import Reader
from statepipe.testing import violations

CONFIG = """\
store = "statepipe.db"

[policies.default]
executor = "inline"
batch_size = 2
"""

SHORT = """\
machine = "m"
extract = "m:extract"
validate = { contract = "c.json", max_rejects = LIMIT }
load = { to = "sqlite:///w.db", table = "t", key = ["n"] }
"""

# What the first round's contract lets through is 3 of 5; the second round's is all.
LONG = """\
machine = "m"
initial = "extracting"

[states.extracting]
run = "m:extract"
on.ok = "validating"

[states.validating]
contract = "c.json"
on.ok = "loading"
on.invalid = { to = "cleaning", max_visits = 1 }

[states.cleaning]
run = "m:clean"
on.ok = "extracting"

[states.loading]
load = { to = "sqlite:///w.db", table = "t", key = ["n"] }
on.ok = "done"

[states.done]
final = "success"
"""

CODE = """\
from statepipe import Batch

def extract(task):
    good = "cleaning" in task.results
    rows = [{"n": n if good or n not in (1, 4) else str(n)} for n in range(5)]
    for start in range(task.cursor or 0, 5, task.batch_size):
        end = start + task.batch_size
        yield Batch(rows[start:end], cursor=end)

def clean(task):
    return "cleaned"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make the folder of a project whose two bad records are 40% of it."""
    machines = tmp_path / "machines"
    machines.mkdir()
    (tmp_path / "statepipe.toml").write_text(CONFIG, encoding="utf-8")
    (machines / "m.py").write_text(CODE, encoding="utf-8")
    (machines / "c.json").write_text('{"properties": {"n": {"type": "integer"}}}')
    return tmp_path


def written(folder: Path, text: str) -> None:
    """Write the machine."""
    (folder / "machines" / "m.toml").write_text(text, encoding="utf-8")


def limited(folder: Path, limit: str) -> None:
    """Write the short machine with this limit."""
    written(folder, SHORT.replace("LIMIT", limit))


def engine(folder: Path, **options: object) -> Engine:
    """Open an engine on the folder."""
    return Engine(load_config(start=folder, environ={}), **options)  # type: ignore[arg-type]  # the wrong type, or keywords in a dict


def driven(folder: Path) -> str:
    """Create one instance, drive it to its end, and return how it ended."""
    with engine(folder) as opened:
        opened.create("m", instance_id="i")
        ended = opened.run(["i"])["i"]
    assert violations(folder / "statepipe.db") == []
    return ended


def loaded(folder: Path) -> list[int]:
    """Return what the warehouse has."""
    connection = sqlite3.connect(folder / "w.db")
    try:
        return [n for (n,) in connection.execute("SELECT n FROM t ORDER BY n")]
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("limit", "ends"),
    [("0", "failed"), ("1", "failed"), ("2", "done"), ('"39.9%"', "failed"), ('"40%"', "done")],
)
def test_more_rejects_than_may_be_fail_the_instance(folder: Path, limit: str, ends: str) -> None:
    """As many as the limit says are still fine."""
    limited(folder, limit)

    assert driven(folder) == ends


def test_a_failed_instance_says_how_many_and_loaded_nothing(folder: Path) -> None:
    """The cause is what a person would count; all rejects are in quarantine to look at."""
    limited(folder, '"10%"')
    driven(folder)

    with Reader(folder / "statepipe.db") as reader:
        found = reader.inspect("i")
        rejected = reader.rejected("i", limit=9)

    assert found.failure is not None
    assert (found.failed_state, found.failure.error_class) == ("validating", "invalid")
    assert found.failure.error == "2 of 5 records were rejected; max_rejects is 10%"
    assert [each.record for each in rejected] == [{"n": "1"}, {"n": "4"}]
    assert not (folder / "w.db").exists()


def test_whoever_raises_the_limit_can_go_on(folder: Path) -> None:
    """A limit is no part of what the machine is: a resume decides by the one there is now."""
    limited(folder, "1")
    driven(folder)
    limited(folder, "2")

    with engine(folder) as later:
        assert later.resume(["i"]) == {"i": "done"}

    assert loaded(folder) == [0, 2, 3]


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_stop_in_the_middle_does_not_change_the_verdict(folder: Path, stop_after: int) -> None:
    """Rejects of the batches that were judged before count on."""
    limited(folder, "1")
    judged = 0

    def stop(drive: Drive, change: Change) -> None:
        nonlocal judged
        judged += drive.state == "validating" and change.event == "staged"
        if judged == stop_after:
            first.stop("a test")

    with engine(folder, observe=stop) as first:
        first.create("m", instance_id="i")
        first.run(["i"])
    with engine(folder) as later:
        assert later.resume(["i"]) == {"i": "failed"}
    with Reader(folder / "statepipe.db") as reader:
        assert len(reader.rejected("i", limit=9)) == 2


def test_invalid_may_lead_to_a_cleanup_and_a_second_try(folder: Path) -> None:
    """The loop of the guide: bounded, and what is loaded is the second round's."""
    written(folder, LONG)

    assert driven(folder) == "done"

    assert loaded(folder) == [0, 1, 2, 3, 4]
    connection = open_reader(folder / "statepipe.db")
    notes = connection.execute("SELECT event, note FROM history WHERE event = 'invalid'").fetchall()
    connection.close()
    assert notes == [("invalid", "2 of 5 records were rejected; max_rejects is 0")]
