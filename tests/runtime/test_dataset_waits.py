"""Waits for another machine's data: a partition, a group, a watermark."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from statepipe.config import Config, load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State
from statepipe.machine.parameter import Param
from statepipe.machine.partition import Partition
from statepipe.machine.states.datasets import Dataset, Kind
from statepipe.machine.states.tasks import Run
from statepipe.machine.states.waits import Wait
from statepipe.model import Task
from statepipe.runtime.driving.group import Group
from statepipe.store.care.prune import Which, prune
from statepipe.store.walk import watermarks
from statepipe.store.walk.ready import Scope
from statepipe.testing import ManualClock, violations
from tests.runtime.waiting import HOUR_MS, INLINE, leads
from tests.store import stores

HOURLY = Partition(by="date", step="hour")

seen: list[Any] = []
failing: set[Any] = set()


def work(task: Task) -> None:
    """Do nothing, unless the value of the partition is to fail."""
    if set(task.params.values()) & failing:
        raise ValueError("no data")


def note(task: Task) -> None:
    """Note what the wait has found."""
    seen.append(dict(task.results).get("waiting"))


def upstream(partition: Partition | None = HOURLY) -> Machine:
    """Return a machine whose instances are partitions."""
    type_ = {"hour": "datetime", None: "int"}.get(partition.step, "date") if partition else "date"
    return Machine(
        name="hourly",
        initial="a",
        states=(
            State(name="a", task=Run(function=work), on=leads(ok="done"), settings=INLINE),
            State(name="done", final="success"),
        ),
        params=(Param(name="at", type=type_),),  # type: ignore[arg-type]  # the wrong type, or keywords in a dict
        partition=partition,
    )


def downstream(kind: Kind = "partition", key: str = "{params.day}T05") -> Machine:
    """Return a machine that waits for a dataset of the other one."""
    wait = Wait(dataset=Dataset(machine="hourly", kind=kind), key=key, ms=HOUR_MS)
    return Machine(
        name="daily",
        initial="waiting",
        states=(
            State(name="waiting", task=wait, on=leads(ok="b")),
            State(name="b", task=Run(function=note), on=leads(ok="done"), settings=INLINE),
            State(name="done", final="success"),
        ),
        params=(
            Param(name="day", type="date", default=date(2013, 2, 8)),
            Param(name="hour", type="datetime", default=datetime(2013, 2, 8, 5, tzinfo=UTC)),
        ),
    )


class Pair:
    """A store, both machines, and one instance "i" of the one that waits."""

    def __init__(
        self, folder: Path, down: Machine | None = None, up: Machine | None = None
    ) -> None:
        seen.clear()
        failing.clear()
        self.clock = ManualClock()
        self.config: Config = load_config(start=folder, environ={})
        self.machines = (up or upstream(), down or downstream())
        self.engine = self.other()
        self.engine.create("daily", instance_id="i")
        self.turn()

    def other(self) -> Engine:
        """Return another engine on the same store."""
        return Engine(self.config, machines=self.machines, clock=self.clock)

    def turn(self, engine: Engine | None = None) -> None:
        """Drive whatever is ready until nothing is."""
        engine = engine or self.engine
        for name in ("hourly", "daily"):
            engine._program(name)
        loop = engine._driver.loop()
        loop.limit_to(Scope())
        engine._driver.turn(lambda: not loop.drives and loop._agenda.saw_all)

    def does(self, at: object, instance_id: str = "u") -> None:
        """Create an instance of the upstream machine, and drive all that is ready."""
        self.engine.create("hourly", params={"at": at}, instance_id=instance_id)
        self.turn()

    def rests(self, instance: str = "i") -> tuple[str, str]:
        """Return where an instance is, and how."""
        row = stores.row(self.engine._store, instance)
        return row["state"], row["status"]

    def rows(self, sql: str) -> Sequence[tuple[Any, ...]]:
        """Return what a query of the store finds."""
        return list(self.engine._store.connection.execute(sql))

    def is_sound(self) -> bool:
        """Close the engine; return True if the store keeps every promise."""
        self.engine.close()
        assert violations(self.config.store) == []
        return True


@pytest.mark.parametrize("key", ["{params.day}T05", "{params.hour}"])
def test_a_partition_that_is_done_wakes_who_waits_for_it(tmp_path: Path, key: str) -> None:
    """Named by its key or by the value of its parameter; other partitions wake nobody."""
    pair = Pair(tmp_path, downstream(key=key))

    pair.does("2013-02-08T04:00:00+00:00", "other")
    rested, row = pair.rests(), stores.row(pair.engine._store, "i")
    pair.does("2013-02-08T06:00:00+01:00")

    assert rested == ("waiting", "ready")
    assert row["wake_boot_id"] is not None, "nobody drives it, and nothing looks at it"
    assert pair.rests() == ("done", "done")
    assert seen == [{"partition": "2013-02-08T05", "instance": "u"}]
    assert pair.rows("SELECT * FROM awaiting") == []
    assert pair.is_sound()


def test_a_partition_that_is_there_is_not_waited_for(tmp_path: Path) -> None:
    """Who comes late finds it, also if its instance was pruned since."""
    pair = Pair(tmp_path)
    pair.does("2013-02-08T05:00:00Z")
    which = Which(before_ms=pair.clock.now_ms() + 1, machine="hourly")
    assert list(prune(pair.engine._store, pair.engine._stage, which)) == [1]

    pair.engine.create("daily", instance_id="late")
    pair.turn()

    assert pair.rests("late") == ("done", "done")
    assert pair.rows("SELECT count(*) FROM journal WHERE event = 'wait'") == [(1,)]
    assert pair.is_sound()


def test_what_is_no_whole_partition_delivers_none(tmp_path: Path) -> None:
    """Half an hour, an instance that failed, and one that replays what another had rejected."""
    pair = Pair(tmp_path)
    failing.add(datetime(2013, 2, 8, 5, tzinfo=UTC))

    pair.does("2013-02-08T05:30:00Z", "half")
    pair.does("2013-02-08T05:00:00Z", "failed")
    failing.clear()
    pair.engine.create("hourly", params={"at": "2013-02-08T05:00:00Z"}, instance_id="replay")
    with pair.engine._store.write() as connection:
        connection.execute(
            "INSERT INTO replay SELECT n, 'failed', 1, NULL FROM instance WHERE id = 'replay'"
        )
    pair.turn()
    assert pair.rests("replay") == ("done", "done")

    assert (pair.rests("half")[1], pair.rests("failed")[1]) == ("done", "failed")
    assert pair.rows("SELECT * FROM dataset") == []
    assert pair.rests() == ("waiting", "ready")
    assert pair.is_sound()


def test_a_partition_that_is_rewound_is_not_there_until_it_is_done_again(tmp_path: Path) -> None:
    """What reads it meanwhile might read half of it."""
    pair = Pair(tmp_path)
    pair.does("2013-02-08T05:00:00Z")
    pair.engine.rewind("u", to="a")
    failing.add(datetime(2013, 2, 8, 5, tzinfo=UTC))
    pair.turn()

    pair.engine.create("daily", instance_id="late")
    pair.turn()
    rested = pair.rests("late")
    failing.clear()
    pair.engine.resume(["u"])
    pair.turn()

    assert rested == ("waiting", "ready")
    assert pair.rests("late") == ("done", "done")
    assert pair.rows("SELECT key, times, is_there FROM dataset") == [("2013-02-08T05", 2, 1)]
    assert pair.is_sound()


@pytest.mark.parametrize("end", ["done", "failed", "cancelled"])
def test_a_group_that_is_done_wakes_who_waits_for_it(tmp_path: Path, end: str) -> None:
    """However the last of its partitions ends, if that many may fail."""
    up = upstream(Partition(by="date", step="hour", tolerate=1))
    pair = Pair(tmp_path, downstream("group", "g-{params.day}"), up)
    pair.engine.groups.create("hourly", ["2013-02-08T04..2013-02-08T05"], group_id="g-2013-02-08")
    if end != "done":
        failing.add(datetime(2013, 2, 8, 5, tzinfo=UTC))
    if end == "cancelled":
        pair.engine.pause("g-2013-02-08/2013-02-08T05")
    pair.turn()
    if end == "cancelled":
        assert pair.rests() == ("waiting", "ready")
        pair.engine.cancel("g-2013-02-08/2013-02-08T05")
        pair.turn()

    assert pair.rests() == ("done", "done")
    assert seen == [{"group": "g-2013-02-08"}]
    assert pair.is_sound()


def test_a_watermark_that_is_reached_wakes_who_waits_for_it(tmp_path: Path) -> None:
    """A move that does not come so far lets it rest again."""
    pair = Pair(tmp_path, downstream("watermark", "{params.day}"))
    store = pair.engine._store

    watermarks.put(store, "hourly", "a", datetime(2013, 2, 7, 23, tzinfo=UTC), reason="test")
    pair.turn()
    rested = pair.rests()
    watermarks.put(store, "hourly", "a", datetime(2013, 2, 8, tzinfo=UTC), reason="test")
    pair.turn()

    assert rested == ("waiting", "ready")
    assert pair.rests() == ("done", "done")
    assert seen == [{"watermark": datetime(2013, 2, 8, tzinfo=UTC)}]
    assert pair.is_sound()


def test_a_wait_for_a_dataset_has_an_end(tmp_path: Path) -> None:
    """The timeout, to the millisecond, as of all waits."""
    pair = Pair(tmp_path)

    pair.clock.advance(HOUR_MS - 1)
    pair.turn()
    rested = pair.rests()
    pair.clock.advance(1)
    pair.turn()

    assert rested == ("waiting", "ready")
    assert pair.rests() == ("failed", "failed")
    (said,) = pair.rows("SELECT note FROM journal WHERE event = 'timeout'")
    assert said == ("partition 2013-02-08T05 of hourly was not there within 1h 0m",)
    assert pair.is_sound()


@pytest.mark.parametrize("others", [0, 3])
def test_a_partition_that_is_done_while_the_wait_begins_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """Between the look and the commit of the rest, by another process."""
    pair = Pair(tmp_path)
    pair.engine.create("daily", instance_id="late")
    for n in range(others):
        pair.engine.create("daily", instance_id=f"o{n}", params={"day": "2013-02-09"})
    raced: list[int] = []
    commit = Group.commit

    def racing(group: Group) -> object:
        if group and not raced:
            raced.append(1)
            with pair.other() as other:
                other.create("hourly", params={"at": "2013-02-08T05:00:00Z"}, instance_id="u")
                other.run(["u"])
        return commit(group)

    monkeypatch.setattr(Group, "commit", racing)
    pair.turn()
    pair.turn()  # who rested already was woken by the other process

    assert [pair.rests(each)[0] for each in ("i", "late")] == ["done", "done"]
    assert [pair.rests(f"o{n}") for n in range(others)] == [("waiting", "ready")] * others
    assert pair.is_sound()


def test_both_may_come_in_one_commit(tmp_path: Path) -> None:
    """The one that rests and the one that it rests for, in whatever order they are written."""
    pair = Pair(tmp_path)
    for n in range(5):
        pair.engine.create("daily", instance_id=f"a{n}", params={"day": f"2013-02-1{n}"})
        at = f"2013-02-1{n}T05:00:00Z"
        pair.engine.create("hourly", params={"at": at}, instance_id=f"u{n}")
        pair.engine.create("daily", instance_id=f"b{n}", params={"day": f"2013-02-1{n}"})
    pair.turn()

    for name in "ab":
        assert [pair.rests(f"{name}{n}")[1] for n in range(5)] == ["done"] * 5
    assert pair.is_sound()
