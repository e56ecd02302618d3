"""
Promise: where an instance goes does not depend on how often it was interrupted.

`records` and `rejected`, which guards ask about, are those of the whole stay.
"""

from pathlib import Path

import pytest

from statepipe.config import Config, load_config
from statepipe.engine import Engine
from statepipe.errors import Busy
from statepipe.model import Change
from statepipe.runtime.driving.drive import Drive
from statepipe.testing import violations

MACHINE = """
machine = "tally"
version = 1
initial = "extracting"

[states.extracting]
run = "tally:extract"
executor = "inline"
on.ok = [{ to = "keeping", when = "records == 6 and rejected == 1" }, "failed"]

[states.keeping]
run = "tally:keep"
executor = "inline"
on.ok = [{ to = "loading", when = "records == 4 and rejected == 2" }, "failed"]

[states.loading]
load = { to = "sqlite:///warehouse.db", table = "tally", key = ["id"] }
executor = "inline"
on.ok = [{ to = "done", when = "records == 3 and rejected == 1" }, "failed"]

[states.done]
final = "success"
"""

FUNCTIONS = '''
from statepipe import Batch, Reject

def extract(task):
    """Seven records, one a batch; number 2 is no good."""
    for number in range(task.cursor or 0, 7):
        record = {"id": number, "value": float("nan") if number == 5 else 1.0}
        if number == 2:
            task.reject(record, "two")
            continue
        yield Batch([record], cursor=number + 1)

def keep(task, batch):
    """All but 0 and 3."""
    for record in batch.records:
        if record["id"] in (0, 3):
            raise Reject(record, "not kept")
    return batch
'''

#: Six staged, six mapped, six loaded (two of them empty).
BATCHES = 18


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A project with the machine in it."""
    machines = tmp_path / "machines"
    machines.mkdir()
    (machines / "tally.toml").write_text(MACHINE, encoding="utf-8")
    (machines / "tally.py").write_text(FUNCTIONS, encoding="utf-8")
    return load_config(start=tmp_path, environ={})


@pytest.mark.parametrize("batches", range(1, BATCHES + 1, 2))
def test_a_guard_counts_what_was_committed_before_the_interruption(
    config: Config, batches: int
) -> None:
    """A resumed attempt handles the rest only; the guard must not see only the rest."""
    committed: list[str] = []

    def break_off(_drive: Drive, change: Change) -> None:
        if change.event in ("staged", "loaded"):
            committed.append(change.event)
            if len(committed) == batches:
                raise Busy("the test")

    with Engine(config, observe=break_off) as engine:
        engine.create("tally", instance_id="one")
        with pytest.raises(Busy):
            engine.run(["one"])
    with Engine(config) as engine:
        ended = engine.resume(["one"])

    assert ended == {"one": "done"}
    assert violations(config.store) == []
