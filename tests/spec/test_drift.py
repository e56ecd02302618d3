"""
Promise: a source whose records change their shape is noticed once, said, counted, and obeyed.

What was accepted last is what the next batch is held against, whichever instance it is of;
a batch and what it drifted by land in one commit, so a crash neither loses nor repeats it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.model import Change
from statepipe.runtime.driving.drive import Drive
from statepipe.sqlite import sqlite3
from statepipe.store.care.prune import Which, prune
from statepipe.store.reading import Reader
from statepipe.testing import violations

CONFIG = """\
store = "statepipe.db"

[policies.default]
executor = "EXECUTOR"
errors = ["*"]
interval = "1ms"
"""

MACHINE = """\
machine = "m"
extract = { run = "m:extract", drift = DRIFT }
transform = "m:transform"
load = { to = "sqlite:///w.db", table = "t", key = ["id"] }

[params]
file = "text"
"""

CODE = """\
import json
from pathlib import Path
from statepipe import Batch

def extract(task):
    batches = json.loads((Path(__file__).parent / task.params["file"]).read_text())
    for number in range(task.cursor or 0, len(batches)):
        yield Batch(batches[number], cursor=number + 1)

def transform(task, batch):
    return [{"id": record["id"]} for record in batch.records]
"""


class Project:
    """A machine whose source yields what a file says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "statepipe.db"
        (folder / "machines").mkdir()
        (folder / "machines" / "m.py").write_text(CODE, encoding="utf-8")
        self.drift('"warn"')

    def drift(self, action: str, *, executor: str = "inline") -> None:
        """Write the machine with this key."""
        config = CONFIG.replace("EXECUTOR", executor)
        (self.folder / "statepipe.toml").write_text(config, encoding="utf-8")
        text = MACHINE.replace("DRIFT", action)
        (self.folder / "machines" / "m.toml").write_text(text, encoding="utf-8")

    def engine(self, **options: Any) -> Engine:  # noqa: ANN401  (Engine's own)
        """Open an engine."""
        return Engine(load_config(start=self.folder, environ={}), **options)

    def run(self, name: str, *batches: object) -> str:
        """Drive an instance over these batches; return how it ended."""
        (self.folder / "machines" / f"{name}.json").write_text(json.dumps(batches))
        with self.engine() as engine:
            engine.create("m", instance_id=name, params={"file": f"{name}.json"})
            return engine.run([name])[name]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return what a query of the store says."""
        with Reader(self.store) as reader:
            found: list[tuple[Any, ...]] = reader._connection.execute(sql).fetchall()
        return found

    def drifts(self) -> list[tuple[Any, ...]]:
        """Return id, kind, column and action of everything that drifted."""
        return self.query("SELECT id, kind, column_name, action FROM drifts ORDER BY seq")

    def counted(self) -> dict[str, int]:
        """Return what is counted, by kind."""
        return dict(self.query("SELECT label, value FROM counter WHERE metric = 'drift'"))

    def loaded(self) -> list[int]:
        """Return the ids in the warehouse."""
        connection = sqlite3.connect(self.folder / "w.db")
        try:
            return [n for (n,) in connection.execute("SELECT id FROM t ORDER BY id")]
        finally:
            connection.close()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Make a project; whatever happens in it, its store is whole afterwards."""
    made = Project(tmp_path)
    yield made
    assert violations(made.store) == []


def test_the_first_run_drifts_from_nothing_and_is_counted_from_zero(project: Project) -> None:
    """And what may drift is a series at 0 before it does."""
    assert project.run("first", [{"id": 1}, {"id": 2}], [{"id": 3}]) == "done"

    assert project.drifts() == []
    assert project.counted() == {"added": 0, "removed": 0, "retyped": 0, "nulls": 0}


def test_a_new_column_is_told_once_and_known_from_then_on(project: Project) -> None:
    """By the next batch, and by the next instance."""
    project.run("first", [{"id": 1}])
    project.run("second", [{"id": 2}], [{"id": 3, "tax": 5}], [{"id": 4, "tax": 6}])
    project.run("third", [{"id": 5, "tax": 7}])

    assert project.drifts() == [("second", "added", "tax", "warn")]
    assert project.counted()["added"] == 1
    assert project.query("SELECT note FROM history WHERE note LIKE '%tax%'") == [
        ("batch 1; tax added, absent -> int (warn)",)
    ]
    assert project.loaded() == [1, 2, 3, 4, 5]


def test_an_empty_run_neither_drifts_nor_forgets(project: Project) -> None:
    """No records have no shape."""
    project.run("first", [{"id": 1}])
    project.run("empty")
    project.run("hollow", [], [])
    project.run("last", [{"id": "x"}])

    assert project.drifts() == [("last", "retyped", "id", "warn")]


def test_quarantine_keeps_apart_what_drifted_each_time(project: Project) -> None:
    """Nothing of it is accepted, so the next batch is held against the same shape."""
    project.drift('{ added = "quarantine" }')
    project.run("first", [{"id": 1}])

    project.run("second", [{"id": 2, "tax": 5}, {"id": 3}], [{"id": 4, "tax": 6}])

    assert project.loaded() == [1, 3]
    assert [each[1:] for each in project.drifts()] == [("added", "tax", "quarantine")] * 2
    with Reader(project.store) as reader:
        rejected = reader.rejected("second", limit=9)
        (reason,) = reader.quarantine("second")
    assert [(each.rule, each.path, each.record) for each in rejected] == [
        ("drift", "/tax", {"id": 2, "tax": 5}),
        ("drift", "/tax", {"id": 4, "tax": 6}),
    ]
    assert (reason.reason, reason.records) == ("/tax: drift", 2)


def test_halt_commits_nothing_more_until_a_person_says_it_is_right(project: Project) -> None:
    """Never tried again by policy, whatever it lists; what was committed before stands."""
    project.drift('{ added = "halt" }')
    project.run("first", [{"id": 1}])

    assert project.run("second", [{"id": 2}], [{"id": 3, "tax": 1}]) == "failed"

    with Reader(project.store) as reader:
        found = reader.inspect("second")
    assert found.failure is not None
    assert (found.failure.error_class, found.failure.attempt) == ("SchemaDrift", 1)
    assert (found.failed_state, found.batches) == ("extracting", 1)
    assert project.drifts() == [("second", "added", "tax", "halt")]
    assert project.counted()["added"] == 1

    project.drift('"warn"')
    with project.engine() as engine:
        assert engine.resume(["second"]) == {"second": "done"}

    assert project.drifts()[1:] == [("second", "added", "tax", "warn")]
    assert project.loaded() == [1, 2, 3]


def test_a_halt_is_told_from_a_process_too(project: Project) -> None:
    """What drifted crosses the wire with the failure."""
    project.drift('"halt"', executor="process")
    project.run("first", [{"id": 1}])

    assert project.run("second", [{"id": 2, "tax": 1}]) == "failed"

    assert project.drifts() == [("second", "added", "tax", "halt")]


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_stop_anywhere_neither_loses_nor_repeats_a_drift(
    project: Project, stop_after: int
) -> None:
    """The batch and what it drifted by are one commit."""
    project.run("first", [{"id": 1}])
    batches = [[{"id": 2}], [{"id": 3, "tax": 1}], [{"id": 4, "tax": "x"}]]
    (project.folder / "machines" / "second.json").write_text(json.dumps(batches))
    staged = 0

    def stop(_drive: Drive, change: Change) -> None:
        nonlocal staged
        staged += change.event == "staged"
        if staged == stop_after:
            engine.stop("a test")

    with project.engine(observe=stop) as engine:
        engine.create("m", instance_id="second", params={"file": "second.json"})
        engine.run(["second"])
    with project.engine() as later:
        later.resume(["second"])

    assert [each[1:3] for each in project.drifts()] == [("added", "tax"), ("retyped", "tax")]


def test_what_was_pruned_stays_counted(project: Project) -> None:
    """And what was accepted stays accepted."""
    project.run("first", [{"id": 1}])
    project.run("second", [{"id": 2, "tax": 1}])
    with project.engine() as engine:
        which = Which(before_ms=2**60, statuses=("done",))
        assert sum(prune(engine._store, engine._stage, which)) == 2

    assert project.drifts() == []
    assert project.counted()["added"] == 1
    project.run("third", [{"id": 3, "tax": 2}])
    assert project.counted()["added"] == 1


def test_two_instances_at_once_lose_neither_of_their_shapes(project: Project) -> None:
    """What one accepts is read again when the other's batch is committed."""
    project.run("first", [{"id": 1, "x": None}])
    for name, value in (("a", "some"), ("b", [1])):
        batches = [[{"id": n, "x": value}] for n in range(4)]
        (project.folder / "machines" / f"{name}.json").write_text(json.dumps(batches))
    project.drift('"warn"', executor="thread")
    with project.engine() as engine:
        for name in "ab":
            engine.create("m", instance_id=name, params={"file": f"{name}.json"})
        assert set(engine.run(["a", "b"]).values()) == {"done"}

    ((body,),) = project.query("SELECT body FROM shape")
    assert json.loads(body)["columns"]["x"][0] == ["list", "str"]


@pytest.mark.parametrize(
    ("action", "hears", "expected"),
    [
        ("warn", "drift", [("second", "drift")]),
        ("warn", "failed", []),
        ("halt", "drift", [("second", "drift")]),
        ("halt", ["drift", "failed"], [("second", "failed")]),
    ],
)
def test_whoever_wants_to_is_told_in_the_same_commit(
    project: Project, action: str, hears: object, expected: list[tuple[str, str]]
) -> None:
    """Once: of a halt that failed the instance, as its failure if they hear of that."""
    project.drift(f'"{action}"')
    with (project.folder / "statepipe.toml").open("a", encoding="utf-8") as config:
        config.write(
            f'\n[notify.team]\nwebhook = "http://127.0.0.1:9/"\non = {json.dumps(hears)}\n'
        )

    project.run("first", [{"id": 1}])
    project.run("second", [{"id": 2, "tax": 1}], [{"id": 3, "tax": 1}])

    assert project.query("SELECT instance, event FROM notice ORDER BY n") == expected
    bodies = [json.loads(body) for (body,) in project.query("SELECT body FROM notice")]
    for body in bodies:
        assert body["error"]["class"] == "SchemaDrift"
        assert "tax added, absent -> int" in body["error"]["message"]
