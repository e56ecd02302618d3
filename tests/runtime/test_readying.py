"""Worker processes that will share a state get ready before it begins."""

import sys
from pathlib import Path
from typing import Final

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.runtime.driving.pools import Needs, Pools

_MACHINE: Final = """\
machine = "numbers"
version = 1

extract  = "numbers_:{source}"
validate = {{ contract = "number.json", parallel = {parallel}, executor = "{executor}" }}

[load]
to = "sqlite:///out.db"
table = "numbers"
parallel = {parallel}
executor = "{executor}"
"""

_FUNCTIONS: Final = """\
from statepipe import Batch


def dicts(task):
    yield Batch([{"n": 1}])
    yield Batch([{"n": 2}])


def tables(task):
    import pyarrow

    for batch in dicts(task):
        yield Batch(pyarrow.Table.from_pylist(batch.records))
"""

TASKS: Final = ["statepipe.runtime.tasks.attempts", "jsonschema_rs", "sqlite:///out.db"]
TABLES: Final = ["statepipe.io.columnar", "statepipe.io.arrowcells"]


def is_imported(name: str) -> bool:
    """Say whether the process has imported it."""
    return name in sys.modules


class Noting(Pools):
    """Notes what is to be imported, and does not."""

    def __init__(self) -> None:
        super().__init__(processes=2)
        self.asked: list[str] = []

    def make_ready(self, needs: Needs) -> None:
        """Note it."""
        needed = [*needs.modules, *needs.addresses]
        self.asked += [each for each in needed if each not in self.asked]


@pytest.mark.parametrize(
    ("source", "parallel", "executor", "asked"),
    [
        ("dicts", 2, "process", TASKS),
        ("tables", 2, "process", TASKS + TABLES),
        ("tables", 1, "process", []),
        ("tables", 2, "thread", []),
    ],
)
def test_who_will_share_a_state_imports_what_it_needs_there(
    tmp_path: Path, source: str, parallel: int, executor: str, asked: list[str]
) -> None:
    """What a table needs only once there is one; nothing for a machine that shares no state."""
    machines = tmp_path / "machines"
    machines.mkdir()
    text = _MACHINE.format(source=source, parallel=parallel, executor=executor)
    (machines / "numbers.toml").write_text(text, encoding="utf-8")
    (machines / "numbers_.py").write_text(_FUNCTIONS, encoding="utf-8")
    (machines / "number.json").write_text('{"type": "object"}', encoding="utf-8")
    (tmp_path / "statepipe.toml").write_text('store = "statepipe.db"', encoding="utf-8")
    pools = Noting()

    with Engine(load_config(start=tmp_path, environ={}), pools=pools) as engine:
        engine.create("numbers", instance_id="i")
        assert engine.run(["i"]) == {"i": "done"}

    assert pools.asked == asked


def test_a_worker_without_a_call_imports_what_will_be_needed() -> None:
    """It serves the next call; a module that is not there stops nobody."""
    pools = Pools(processes=1)

    pools.make_ready(Needs(["no.such.module", "colorsys"]))

    executor = pools.get("process")
    assert executor.submit(is_imported, "colorsys").result() is True
    assert executor.submit(is_imported, "chunk").result() is False
    executor.shutdown()


def test_nobody_gets_ready_where_all_have_calls() -> None:
    """A call that waits for a worker would wait for its imports too."""
    pools = Pools(processes=1)
    pools.busy["process"] = 1

    pools.make_ready(Needs(["colorsys"]))

    pools.busy["process"] = 0
    executor = pools.get("process")
    assert executor.submit(is_imported, "colorsys").result() is False
    executor.shutdown()


@pytest.mark.parametrize(
    ("address", "value", "imported"),
    [
        ("parquet:///lake", "", True),
        ("env:LAKE", "parquet:///lake", True),
        ("env:LAKE", "", False),
        ("env:LAKE", "nowhere", False),
        ("file:{file}", "parquet:///lake", False),
    ],
)
def test_who_speaks_to_a_destination_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, value: str, *, imported: bool
) -> None:
    """As far as it is known without reading a file; what is wrong is not said here."""
    monkeypatch.setenv("LAKE", value)
    file = tmp_path / "address"
    file.write_text(value)
    pools = Pools(processes=1)

    pools.make_ready(Needs(addresses=[address.format(file=file)]))

    executor = pools.get("process")
    speaker = "statepipe.io.folders.parquet"
    assert executor.submit(is_imported, speaker).result() is imported
    executor.shutdown()
