"""A backfill by partitions and incremental instances of one machine do not disturb each other."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from statepipe.batch import Batch
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.parameter import Param
from statepipe.machine.partition import Partition
from statepipe.machine.states.tasks import Load, Run
from statepipe.machine.states.watermark import Incremental
from statepipe.model import Task
from statepipe.store.reading import Reader
from statepipe.testing import violations


def test_a_partition_neither_reads_from_nor_moves_the_watermark(tmp_path: Path) -> None:
    """
    A slice says nothing of what lies before it: day 9 being loaded does not mean that day 8 is.

    Otherwise a backfill of old days would read nothing, and one of new days that fails in
    its middle would let the next instance begin behind the hole. So it is with its copies,
    though they are in no group.
    """
    started: list[Any] = []

    def extract(task: Task) -> Iterator[Batch]:
        started.append(task.watermark)
        day = task.params["day"]
        days = [date(2013, 2, n) for n in range(1, 11)]
        found = [
            each
            for each in days
            if day == each or (day is None and (task.watermark is None or each > task.watermark))
        ]
        yield Batch([{"id": each.day, "at": each} for each in found], cursor=1)

    to_loading = (Transition(event="ok", target="loading"),)
    machine = Machine(
        name="m",
        initial="extracting",
        params=(Param(name="day", type="date", required=False),),
        partition=Partition(by="date"),
        states=(
            State(
                name="extracting",
                task=Run(function=extract, watermark=Incremental(column="at")),
                on=to_loading,
                settings={"executor": "inline"},
            ),
            State(
                name="loading",
                task=Load(to="sqlite:///warehouse.db", table="t", key=("id",)),
                on=(Transition(event="ok", target="done"),),
                settings={"executor": "inline"},
            ),
            State(name="done", final="success"),
        ),
    )
    config = load_config(start=tmp_path, environ={})
    with Engine(config, machines=[machine]) as engine:
        new = engine.groups.create("m", ["2013-02-09..2013-02-10"]) or ""
        assert engine.groups.run(new) == "done"
        engine.create("m", instance_id="all")
        engine.run(["all"])
        old = engine.groups.create("m", ["2013-02-03..2013-02-04"]) or ""
        assert engine.groups.run(old) == "done"
        engine.rewind(f"{old}/2013-02-03", to="extracting")
        assert engine.groups.run(old) == "done"
        copy = engine.copies.restart(f"{old}/2013-02-03")
        fork = engine.copies.fork(f"{new}/2013-02-10", at="extracting")
        fork_of_copy = engine.copies.fork(copy, at="extracting")
        made = [copy, fork, fork_of_copy]
        assert engine.run(made) == dict.fromkeys(made, "done")
        with Reader(config.store) as reader, reader.moment() as connection:
            moves = connection.execute("SELECT instance FROM watermark").fetchall()
        with Reader(config.store) as reader:
            loaded = reader.group(old).loaded

    assert started == [None] * 9
    assert moves == [("all",)]
    assert loaded == 2
    assert violations(config.store) == []
