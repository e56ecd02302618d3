"""
Promise: what a source with `raw = "keep"` gave is there until it is pruned, and enough to go on.

No end, sweep or other instance takes it away, and a run that is done can be done again from it
without asking the source.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import DefinitionChanged, Refused
from statepipe.runtime.steering import rewinding
from statepipe.sqlite import sqlite3
from statepipe.store.care.prune import Which, prunable, prune
from statepipe.store.reading import Reader
from statepipe.testing import violations

CONFIG = 'store = "statepipe.db"\n[policies.default]\nexecutor = "inline"\n'

MACHINE = """\
machine = "m"
extract = { run = "m:extract", raw = "keep" }
validate = { contract = "c.json" }
transform = "m:book"
load = { to = "sqlite:///w.db", table = "t", key = ["id"] }
"""

#: The work of one is that of the machine above; the other one reads what its own tasks keep.
PARENT = """\
machine = "p"
initial = "work"
[states.work]
machine = "m"
on.ok = "done"
[states.done]
final = "success"
"""
SEVERAL = """\
machine = "several"
initial = "work"
[states.work]
tasks.first = "m:extract"
tasks.then  = { run = "m:count", needs = "first", retry = { max_attempts = 1 } }
on.ok = "done"
[states.done]
final = "success"
"""

#: Batches too large for a row, as dicts or as tables; what was asked of the source is counted.
CODE = """\
import random
from pathlib import Path
import pyarrow as pa
from statepipe import Batch

HERE = Path(__file__).parent

def extract(task):
    rng = random.Random(1)
    for start in range(task.cursor or 0, 8, 4):
        (HERE / f"asked-{start}-{task.idempotency_key.split(':')[1]}").touch()
        rows = [{"id": n, "text": rng.randbytes(40_000).hex()} for n in range(start, start + 4)]
        yield Batch(pa.Table.from_pylist(rows) if TABLE else rows, cursor=start + 4)

def book(task, batch):
    ids = batch.records["id"].to_pylist() if TABLE else [row["id"] for row in batch.records]
    return [{"id": n} for n in ids]

def count(task):
    assert (HERE / "mended").exists()
    return sum(len(batch.records) for batch in task.batches("first"))
"""

CONTRACT = '{"properties": {"id": {"maximum": 5}}}'

EVER = 2**60


class Project:
    """A folder with one machine that was run to its end."""

    def __init__(self, folder: Path, *, table: bool) -> None:
        self.folder = folder
        self.store = folder / "statepipe.db"
        (folder / "machines").mkdir()
        (folder / "statepipe.toml").write_text(CONFIG, encoding="utf-8")
        self.write("m.toml", MACHINE)
        self.write("m.py", CODE.replace("TABLE", str(table)))
        self.write("c.json", CONTRACT)
        with self.engine() as engine:
            engine.create("m", instance_id="a")
            assert engine.run(["a"]) == {"a": "done"}

    def write(self, name: str, text: str) -> None:
        """Write a file of the machine."""
        (self.folder / "machines" / name).write_text(text, encoding="utf-8")

    def engine(self, **options: Any) -> Engine:  # noqa: ANN401  (Engine's own)
        """Open an engine."""
        return Engine(load_config(start=self.folder, environ={}), **options)

    def files(self) -> list[Path]:
        """Return what lies in the stage, apart from rejects."""
        found = (self.folder / "stage").rglob("*")
        return [each for each in found if each.is_file() and ".rejects." not in each.name]

    def asked(self) -> int:
        """Return how often the source was asked for a batch."""
        return len(list((self.folder / "machines").glob("asked-*")))

    def loaded(self) -> list[int]:
        """Return the ids in the warehouse."""
        connection = sqlite3.connect(self.folder / "w.db")
        try:
            return [n for (n,) in connection.execute("SELECT id FROM t ORDER BY id")]
        finally:
            connection.close()


@pytest.fixture(params=[False, True], ids=["records", "tables"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    """Make a project; whatever happens in it, its store is whole afterwards."""
    made = Project(tmp_path, table=request.param)
    yield made
    assert violations(made.store) == []


def test_raw_data_is_kept_and_read_back_and_no_sweep_takes_it(project: Project) -> None:
    """The batches of the source, and of nobody else."""
    with project.engine() as engine:
        engine.work(until_idle=True)

    with Reader(project.store) as reader:
        (held,) = reader.staged()
        records = list(reader.staged_records("a", "extracting"))
        some = list(islice(reader.staged_records("a", "extracting"), 5))
    assert (held.id, held.state, held.batches, held.records) == ("a", "extracting", 2, 8)
    assert [each.record["id"] for each in records] == list(range(8))
    assert len(some) == 5
    assert len(project.files()) == 2


def test_a_run_that_is_done_is_done_again_from_its_raw_data(project: Project) -> None:
    """The source is not asked; what the mended contract lets through is what is loaded."""
    assert project.loaded() == [0, 1, 2, 3, 4, 5]
    for most in (6, 7):  # what a rewind needs is still there after it
        project.write("c.json", CONTRACT.replace("5", str(most)))
        with project.engine() as engine:
            with pytest.raises(DefinitionChanged):
                engine.rewind("a", to="validating")
            engine.rewind("a", to="validating", definition="latest")
            assert engine.run(["a"]) == {"a": "done"}

    assert project.asked() == 2
    assert project.loaded() == list(range(8))
    with project.engine() as engine, pytest.raises(Refused, match="were given back"):
        engine.rewind("a", to="loading")


def test_what_is_read_anew_takes_the_place_of_what_was_kept(project: Project) -> None:
    """One reading is kept, and not one a rewind."""
    with project.engine() as engine:
        engine.rewind("a", to="extracting")
        assert engine.run(["a"]) == {"a": "done"}

    with Reader(project.store) as reader:
        assert [(each.generation, each.batches) for each in reader.staged("a")] == [(2, 2)]
    assert len(project.files()) == 2


def test_a_machine_that_no_longer_keeps_gives_back_at_the_next_end(project: Project) -> None:
    """Like a policy, it may change at any time, and it is obeyed as it is then."""
    project.write("m.toml", MACHINE.replace(', raw = "keep"', ""))
    with project.engine() as engine:
        engine.rewind("a", to="validating")
        assert engine.run(["a"]) == {"a": "done"}
        with pytest.raises(Refused, match="were given back"):
            engine.rewind("a", to="validating")

    assert project.files() == []


def test_raw_data_goes_with_its_instance_or_before_it(project: Project) -> None:
    """Told beforehand, in bytes; the instance, its journal and quarantine stay."""
    which = Which(before_ms=EVER, raw_only=True)
    with project.engine() as engine:
        store = engine._store
        (foreseen,) = prunable(store.connection, which, clock=store.clock)
        assert list(prune(store, engine._stage, which)) == [1]
        assert prunable(store.connection, which, clock=store.clock) == []
        with pytest.raises(Refused, match="were given back"):
            engine.rewind("a", to="validating")
        assert list(prune(store, engine._stage, Which(before_ms=EVER))) == [1]

    assert foreseen.instances == 1
    assert foreseen.bytes > 8 * 40_000
    assert project.files() == []


def test_raw_data_of_a_part_stays_when_the_whole_is_done(project: Project) -> None:
    """It is the machine that keeps it, whoever began it; it goes like that of any other."""
    project.write("p.toml", PARENT)
    with project.engine() as engine:
        engine.create("p", instance_id="b")
        assert engine.run(["b"]) == {"b": "done"}
    with Reader(project.store) as reader:
        lying = {(each.id, each.state, each.batches) for each in reader.staged()}
        records = list(reader.staged_records("b/work", "extracting"))
    assert lying == {("a", "extracting", 2), ("b/work", "extracting", 2)}
    assert [each.record["id"] for each in records] == list(range(8))
    assert len(project.files()) == 4

    which = Which(before_ms=EVER, raw_only=True, machine="m")
    with project.engine() as engine:
        store = engine._store
        (foreseen,) = prunable(store.connection, which, clock=store.clock)
        assert list(prune(store, engine._stage, which)) == [2]
    assert foreseen.instances == 2
    assert project.files() == []


def test_raw_data_of_a_part_goes_with_the_whole(project: Project) -> None:
    """Pruned as one, rows and files."""
    project.write("p.toml", PARENT)
    with project.engine() as engine:
        engine.create("p", instance_id="b")
        assert engine.run(["b"]) == {"b": "done"}
        assert len(project.files()) == 4
        list(prune(engine._store, engine._stage, Which(before_ms=EVER, machine="p")))

    assert len(project.files()) == 2, "those of the other one"


def test_what_a_task_keeps_for_another_one_is_no_raw_data(project: Project) -> None:
    """The task is done, and what comes after it has yet to read that; then it goes."""
    project.write("several.toml", SEVERAL)
    with project.engine() as engine:
        engine.create("several", instance_id="b")
        assert engine.run(["b"]) == {"b": "failed"}
        which = Which(before_ms=EVER, raw_only=True)
        assert list(prune(engine._store, engine._stage, which)) == [1], "the one of the fixture"
        project.write("mended", "")
        assert engine.resume(["b"]) == {"b": "done"}

    with Reader(project.store) as reader:
        assert reader.staged() == []
    assert project.files() == []


def test_raw_data_that_goes_while_a_rewind_is_prepared_is_missed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the rewound instance would find no input, and be done with nothing loaded."""
    rewound = rewinding.rewound

    def slowly(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (as it is)
        found = rewound(*args, **kwargs)
        with project.engine() as other:
            list(prune(other._store, other._stage, Which(before_ms=EVER, raw_only=True)))
        return found

    monkeypatch.setattr(rewinding, "rewound", slowly)
    with project.engine() as engine, pytest.raises(Refused, match="moved while"):
        engine.rewind("a", to="validating")
