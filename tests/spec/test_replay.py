"""
Promise: what was rejected can be sent through again, as it is or repaired, and lands once.

Whoever rejected it and whoever asks, the original is not touched, no figure is wrong, and two
who want the same record are told apart by the store.
"""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import NotFound, Refused
from statepipe.model import Change
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.steering import replaying
from statepipe.runtime.steering.replaying import Choice
from statepipe.sqlite import sqlite3
from statepipe.store.care.prune import Which, prune
from statepipe.store.lookups import lookup
from statepipe.store.lookups.listing import Filter
from statepipe.store.reading import Reader
from statepipe.testing import violations
from tests.spec.replaying import LOOPING, MACHINE, Project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Make a project; whatever happens in it, its store is whole afterwards."""
    made = Project(tmp_path)
    yield made
    assert violations(made.store) == []


CLEAN = [(0, 0), (1, 1), (3, 3), (5, 5)]


def test_rejects_of_a_contract_and_of_a_map_go_back_to_where_they_were_rejected(
    project: Project,
) -> None:
    """With the machine as it is now; what never was a record is left."""
    assert project.run() == "done"
    assert project.loaded() == CLEAN
    marks = project.query("SELECT * FROM watermark")
    project.write("c.json", "{}")
    project.write("mended")

    assert project.replay() == {"a-replay-1": "done", "a-replay-2": "done"}

    assert project.loaded() == [(0, 0), (1, 1), (2, 99), (3, 3), (4, 4), (5, 5)]
    assert project.query("SELECT origin, id, records, state FROM replays") == [
        ("a", "a-replay-1", 1, "done"),
        ("a", "a-replay-2", 1, "done"),
    ]
    assert project.query("SELECT event, target, records, note FROM history WHERE seq = 1") == [
        ("create", "extracting", None, None),
        ("replay", "validating", 1, "of a: mended"),
        ("replay", "transforming", 1, "of a: mended"),
    ]
    assert project.query("SELECT state, value FROM counter WHERE label = 'replayed'") == [
        ("transforming", 1),
        ("validating", 1),
    ]
    assert project.query("SELECT * FROM watermark") == marks
    with Reader(project.store) as reader:
        assert {each.reason: each.replayed for each in reader.quarantine("a")} == {
            "/n: maximum": 1,
            "no such code": 1,
            "no record": 0,
        }


def test_a_record_is_replayed_once(project: Project) -> None:
    """The second who asks is told who has it; what is rejected again is another's reject."""
    project.run()
    project.replay(state="validating")

    with pytest.raises(Refused, match="is replayed already, by 'a-replay-1'"):
        project.replay(state="validating")
    assert len(project.rejects("a-replay-1")) == 1
    project.write("c.json", "{}")
    assert project.replay("a-replay-1") == {"a-replay-1-replay-1": "done"}
    assert (2, 99) in project.loaded()


def test_of_two_replays_at_once_one_wins(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have looked before either commits."""
    project.run()
    project.write("c.json", "{}")
    said: list[object] = []
    both_have_looked = threading.Barrier(2)
    prepare = replaying.prepare

    def prepared(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (as it is)
        found = prepare(*args, **kwargs)
        both_have_looked.wait(timeout=60)
        return found

    monkeypatch.setattr(replaying, "prepare", prepared)

    def replay() -> None:
        with project.engine() as engine:
            try:
                said.append(engine.replay("a", Choice(state="validating"), reason="race"))
            except Refused as error:
                said.append(error.message)

    threads = [threading.Thread(target=replay) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=120)

    assert sorted(map(str, said)) == [
        "1 of these records of 'a' are replayed by 'a-replay-1'",
        "['a-replay-1']",
    ]


def test_what_is_looked_at_is_of_one_moment(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rewind between two reads is a rewind meanwhile, and not an empty quarantine."""
    project.run()
    steps_of = lookup.steps_of

    def rewound_and_read(connection: sqlite3.Connection, n: int) -> Any:  # noqa: ANN401  (as it is)
        monkeypatch.undo()
        with project.engine() as engine:
            engine.rewind("a", to="extracting")
        return steps_of(connection, n)

    monkeypatch.setattr(lookup, "steps_of", rewound_and_read)

    with pytest.raises(Refused, match="was rewound while the replay was prepared"):
        project.replay(state="validating")


def test_repaired_records_keep_the_types_that_their_repairer_did_not_touch(
    project: Project,
) -> None:
    """And what a source rejected goes on once it is a record; the reject itself stays."""
    project.run()
    rejects = project.rejects()
    repaired = {
        name: {**record, "n": 7} if "n" in record else {**_full(project), "id": 10 + record["line"]}
        for name, record in rejects.items()
        if record.get("code") != "?"
    }

    ended = project.replay(repaired=repaired)

    assert ended == {"a-replay-1": "done"}
    assert project.loaded() == [*CLEAN[:2], (2, 7), *CLEAN[2:], (10, 7), (13, 7)]
    assert project.rejects() == rejects


def _full(project: Project) -> dict[str, Any]:
    return {**next(r for r in project.rejects().values() if "n" in r), "n": 7}


def test_what_never_was_a_record_goes_only_where_somebody_says(project: Project) -> None:
    """A line of a file that could not be read would be loaded as if it were one."""
    project.run()

    with pytest.raises(Refused, match="never was a record"):
        project.replay(state="extracting")
    with pytest.raises(Refused, match="it is a source"):
        project.replay(state="extracting", to="extracting")
    with pytest.raises(Refused, match="it is final"):
        project.replay(state="extracting", to="done")
    project.replay()
    with pytest.raises(Refused, match="all else is replayed already, by 'a-replay-1', 'a-rep"):
        project.replay()


@pytest.mark.parametrize(
    ("choice", "error", "message"),
    [
        ({"state": "loading"}, NotFound, "'loading' rejected"),
        ({"state": "validating", "reason": "other"}, Refused, "nothing in quarantine"),
        ({"repaired": {"9.9.99999999": {}}}, NotFound, "names no reject"),
        ({"state": "validating", "to": "booking"}, NotFound, 'no state "booking"'),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_made(
    project: Project, choice: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Clearly, and before anything is committed."""
    project.run()

    with pytest.raises(error, match=message):
        project.replay(**choice)
    assert project.query("SELECT count(*) FROM instance") == [(1,)]


def test_a_load_that_replaces_is_not_given_the_rejects_alone(project: Project) -> None:
    """They would take the place of everything that was clean."""
    replacing = MACHINE.replace('key = ["id"]', 'mode = "replace"').replace(
        ', watermark = "id"', ""
    )
    project.write("m.toml", replacing)
    project.run()

    with pytest.raises(Refused, match="the place of all it has"):
        project.replay(state="validating")
    assert project.loaded() == CLEAN


def test_too_many_rejects_are_of_a_source_and_not_of_a_replay(project: Project) -> None:
    """Whoever failed for `max_rejects` may replay what broke the contract, and then resume."""
    limited = MACHINE.replace('"c.json"', '"c.json", max_rejects = 0')
    project.write("m.toml", limited)
    assert project.run() == "failed"

    assert project.replay() == {"a-replay-1": "done"}  # and rejects it once more
    project.write("m.toml", limited.replace("= 0", "= 1"))
    with project.engine() as engine:
        assert engine.resume(["a"]) == {"a": "done"}
    assert project.loaded() == CLEAN


def test_while_the_original_goes_on_what_it_has_rejected_can_be_replayed(
    project: Project,
) -> None:
    """It is not driven for it, nor waited for."""
    made: list[str] = []

    def watch(drive: Drive, change: Change) -> None:
        if drive.id == "a" and change.event == "ok" and change.source == "validating":
            with project.engine() as other:
                made.extend(other.replay("a", Choice(state="validating"), reason="early"))

    with project.engine(observe=watch) as engine:
        engine.create("m", instance_id="a")
        assert engine.run(["a"]) == {"a": "done"}
        project.write("c.json", "{}")
        assert engine.run(made) == {"a-replay-1": "done"}
    assert (4, 4) not in project.loaded()


def test_a_replay_never_cancels_the_one_whose_records_it_takes(project: Project) -> None:
    """That has their key, and goes on; what would take it is refused until it has ended."""
    with (project.folder / "statepipe.toml").open("a", encoding="utf-8") as config:
        config.write('[machines.m]\nconcurrency = { key = "k", behavior = "cancel" }\n')
    refused: list[Refused] = []

    def watch(drive: Drive, change: Change) -> None:
        if drive.id == "a" and change.event == "ok" and change.source == "validating":
            with project.engine() as other, pytest.raises(Refused) as told:
                other.replay("a", Choice(state="validating"), reason="early")
            refused.append(told.value)

    with project.engine(observe=watch) as engine:
        engine.create("m", instance_id="a")
        assert engine.run(["a"]) == {"a": "done"}
    assert [each.message for each in refused] == ["the key 'k' of 'm' is taken by 'a'"]
    assert project.query("SELECT id FROM replays") == []
    project.write("c.json", "{}")
    assert project.replay(state="validating") == {"a-replay-1": "done"}


def test_a_replay_that_failed_before_it_loaded_anything_is_replaced(project: Project) -> None:
    """The one that was replaced is never driven again, or its records would land twice."""
    project.run()
    project.write("broken")
    assert project.replay(state="transforming") == {"a-replay-1": "failed"}
    (project.folder / "machines" / "broken").unlink()
    project.write("mended")

    assert project.replay(state="transforming") == {"a-replay-2": "done"}

    assert project.query("SELECT id, replaced_by FROM replays") == [
        ("a-replay-1", "a-replay-2"),
        ("a-replay-2", None),
    ]
    with project.engine() as engine, pytest.raises(Refused, match="are replayed by 'a-replay-2'"):
        engine.resume(["a-replay-1"])
    with Reader(project.store) as reader:
        assert reader.resumable(Filter(failed=True)) == []


def test_a_replay_outlives_its_original_and_keeps_its_mark_when_it_goes(project: Project) -> None:
    """The numbers of pruned rejects come again, and are then nobody's."""
    project.run()
    project.replay(state="validating")
    with project.engine() as engine:
        before_ms = engine._store.clock.now_ms() + 1
        (_,) = prune(engine._store, engine._stage, Which(before_ms=before_ms, keep_last=1))
    assert project.query("SELECT origin, id FROM replays") == [("a", "a-replay-1")]
    assert project.query("SELECT * FROM replayed") == []
    with pytest.raises(NotFound):
        project.replay("a")

    project.run("b")
    assert project.replay("b", state="validating") == {"b-replay-1": "done"}
    with project.engine() as engine:
        before_ms = engine._store.clock.now_ms() + 1
        list(prune(engine._store, engine._stage, Which(before_ms=before_ms)))
    assert project.query("SELECT (SELECT count(*) FROM replay), count(*) FROM replayed") == [(0, 0)]


def test_what_a_rewind_has_undone_is_not_replayed(project: Project) -> None:
    """The instance takes these records again by itself."""
    project.write("m.toml", MACHINE.replace('"m:extract"', '"m:extract", raw = "keep"'))
    project.run()
    with project.engine() as engine:
        engine.rewind("a", to="extracting")
        with pytest.raises(Refused, match="nothing in quarantine"):
            engine.replay("a", reason="too early")


def test_what_is_replayed_is_not_appended_by_a_rewind_as_well(project: Project) -> None:
    """There is no key, so it would be there twice; after the state that rejected it all is well."""
    toml = (project.folder / "machines" / "m.toml").read_text(encoding="utf-8")
    project.write("m.toml", toml.replace(', key = ["id"]', ""))
    (project.folder / "w.db").mkdir()
    assert project.run() == "failed"
    (project.folder / "w.db").rmdir()
    project.write("c.json", "{}")
    assert project.replay(state="validating") == {"a-replay-1": "done"}

    with project.engine() as engine:
        for state in ("extracting", "validating"):
            with pytest.raises(Refused, match=r"'validating' of 'a' .* by 'a-replay-1'"):
                engine.rewind("a", to=state, definition="latest")
        engine.rewind("a", to="transforming", definition="latest")
        assert engine.run(["a"]) == {"a": "done"}

    assert [id_ for id_, _ in project.loaded()] == [0, 1, 2, 3, 5]


def test_rows_of_a_table_come_back_as_a_table_of_its_columns(project: Project) -> None:
    """Naive moments and narrow numbers included, which rows alone do not have."""
    project.write(
        "m.py",
        """\
import datetime as dt
import pyarrow as pa
from statepipe import Batch

SCHEMA = pa.schema(
    [("id", pa.int16()), ("at", pa.timestamp("ms")), ("tags", pa.list_(pa.date32()))]
)

def extract(task):
    day = dt.date(2026, 2, 8)
    rows = [{"id": n, "at": dt.datetime(2026, 2, 8, n), "tags": [day]} for n in range(4)]
    yield Batch(pa.Table.from_pylist(rows, schema=SCHEMA), cursor=1)

def book(task, batch):
    assert batch.records.schema == SCHEMA, batch.records.schema
    return pa.table({"id": batch.records["id"], "n": batch.records["at"].cast("int64")})
""",
    )
    project.write("c.json", '{"properties": {"id": {"maximum": 1}}}')
    assert project.run() == "done"
    assert len(project.loaded()) == 2
    project.write("c.json", "{}")

    assert project.replay() == {"a-replay-1": "done"}

    assert [id_ for id_, _ in project.loaded()] == [0, 1, 2, 3]
    assert project.query("SELECT count(arrow_schema) FROM reject") == [(1,)]


def test_a_replay_never_reads_its_source(project: Project) -> None:
    """A loop back to the source would load everything once more."""
    project.write("m.toml", LOOPING)
    assert project.run() == "done"
    project.write("c.json", "{}")

    assert project.replay(state="validating") == {"a-replay-1": "failed"}

    ((error,),) = project.query("SELECT error FROM instances WHERE id = 'a-replay-1'")
    assert error.startswith("a replay does not read its source again")
    assert project.loaded() == CLEAN


def test_a_destinations_rejects_go_to_it_again(project: Project) -> None:
    """What a constraint refused is loaded once the constraint, or the record, is mended."""
    connection = sqlite3.connect(project.folder / "w.db")
    connection.execute(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n, code, at, price, CHECK (n <> 5))"
    )
    connection.close()
    project.run()
    assert project.loaded() == CLEAN[:3]
    refused = {name: r for name, r in project.rejects().items() if r.get("id") == 5}
    repaired = {name: {**record, "n": 50} for name, record in refused.items()}

    assert project.replay(state="loading", repaired=repaired) == {"a-replay-1": "done"}

    assert project.loaded() == [*CLEAN[:3], (5, 50)]
    assert json.loads(project.query("SELECT entries FROM replayed")[0][0]) == [0]
