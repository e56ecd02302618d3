"""
Engines whose machines share them: who goes first, whose queue it is, who has the key.

Order is what is asserted, never time; tasks that have to wait are let go by the test.
"""

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from statepipe.clock import SystemClock
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import BadParameter, Refused
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.parameter import Param
from statepipe.machine.partition import Partition
from statepipe.machine.states.taskgraph import Graph, GraphTask
from statepipe.machine.states.tasks import Run
from statepipe.model import Change, Task
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.pools import Pools
from statepipe.runtime.reasons.reason import Reason
from statepipe.runtime.reasons.standing import reasons
from statepipe.sharing import Concurrency, Sharing
from statepipe.store.file.opening import open_reader
from statepipe.store.questions.evidence import evidence
from statepipe.store.reading import Reader
from statepipe.terms import Behavior
from statepipe.testing import violations

#: A bound for what never comes if something is wrong.
SOON_S: Final = 30


class Hall:
    """A store, machines that note who calls, and the order in which instances moved."""

    def __init__(self, folder: Path) -> None:
        self.config = load_config(start=folder, environ={})
        self.calls: list[str] = []
        self.ended: list[str] = []
        self.door = threading.Event()
        self.door.set()
        self.began = threading.Event()

    def machine(
        self,
        name: str,
        *,
        sharing: Sharing | None = None,
        second: str | None = None,
        executor: str = "inline",
    ) -> Machine:
        """Return a machine of two states; the second may be of a queue of its own."""

        def first(task: Task) -> None:
            self.calls.append(task.instance)
            self.began.set()
            assert self.door.wait(SOON_S)

        def then(task: Task) -> None:
            self.calls.append(f"{task.instance} again")

        settings = {"executor": executor}
        return Machine(
            name=name,
            initial="a",
            params=(Param(name="day", type="text", default="x"),),
            states=(
                State(
                    name="a",
                    task=Run(function=first),
                    on=(Transition(event="ok", target="b"),),
                    settings=settings,
                ),
                State(
                    name="b",
                    task=Run(function=then),
                    on=(Transition(event="ok", target="done"),),
                    settings=settings,
                    queue=second,
                ),
                State(name="done", final="success"),
            ),
            sharing=sharing or Sharing(),
        )

    def engine(self, *machines: Machine, in_flight: int = 64, threads: int = 4) -> Engine:
        """Open an engine that notes who has ended."""

        def observe(drive: Drive, change: Change) -> None:
            if change.status != "ready":
                self.ended.append(drive.id)

        return Engine(
            self.config,
            machines=machines,
            observe=observe,
            in_flight_max=in_flight,
            pools=Pools(processes=1, threads=threads),
        )

    def why(self, instance: str) -> dict[str, Reason]:
        """Return why an instance is where it is, by code."""
        with Reader(self.config.store) as reader:
            known = evidence(reader, instance)
        return {each.code: each for each in reasons(known, now_ms=SystemClock().now_ms())}

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Query the store."""
        with closing(open_reader(self.config.store)) as connection:
            return list(connection.execute(sql).fetchall())

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds, with a bound."""
        clock = SystemClock()
        end_ms = clock.boot_ms() + SOON_S * 1_000
        while not holds():
            assert clock.boot_ms() < end_ms, "it never happened"
            threading.Event().wait(0.005)


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    """Make a store."""
    return Hall(tmp_path)


def with_key(behavior: Behavior = "queue", limit: int = 1) -> Sharing:
    """Return that a machine's instances have a key: their day."""
    return Sharing(concurrency=Concurrency(key="{params.day}", limit=limit, behavior=behavior))


def test_the_only_instance_of_a_machine_is_not_behind_the_crowd_of_another(hall: Hall) -> None:
    """Of 300 that are ready and one, made last, the one is among the first to end."""
    crowd, alone = hall.machine("crowd"), hall.machine("alone")
    with hall.engine(crowd, alone, in_flight=8) as engine:
        for n in range(300):
            engine.create("crowd", instance_id=f"c{n}")
        engine.create("alone", instance_id="one")
        engine.work(until_idle=True)

    assert len(hall.ended) == 301
    assert hall.ended.index("one") < 10
    assert violations(hall.config.store) == []


def test_one_that_comes_while_a_worker_is_full_is_claimed_and_next(hall: Hall) -> None:
    """All places are taken by a machine whose tasks take long, and many more wait."""
    crowd, alone = (hall.machine(each, executor="thread") for each in ("crowd", "alone"))
    hall.door.clear()
    with hall.engine(crowd, alone, in_flight=6, threads=2) as engine:
        for n in range(30):
            engine.create("crowd", instance_id=f"c{n}")
        driving = threading.Thread(target=lambda: _watch(hall, engine.stop))
        driving.start()
        engine.work()
        driving.join(SOON_S)

    # Two of the crowd were under way when it came; it is claimed with no place free, and takes
    # turns with the crowd.
    assert hall.calls.index("one") <= 3


def _watch(hall: Hall, stop: Callable[[str], None]) -> None:
    assert hall.began.wait(SOON_S)
    hall.until(lambda: hall.ask("SELECT count(*) FROM instance WHERE worker > 0") == [(6,)])
    crowd, alone = (hall.machine(each, executor="thread") for each in ("crowd", "alone"))
    with hall.engine(crowd, alone) as other:
        other.create("alone", instance_id="one")
    hall.until(lambda: hall.ask("SELECT worker > 0 FROM instance WHERE id = 'one'") == [(1,)])
    hall.door.set()
    hall.until(lambda: "one again" in hall.calls)
    stop("enough")


def test_the_higher_priority_goes_first(hall: Hall) -> None:
    """Of an instance, or else of its machine; whatever came first."""
    low = hall.machine("low")
    high = hall.machine("high", sharing=Sharing(priority=3))
    with hall.engine(low, high, in_flight=1) as engine:
        for n in range(3):
            engine.create("low", instance_id=f"l{n}")
        engine.create("high", instance_id="h")
        engine.create("low", instance_id="urgent", priority=50)
        engine.create("high", instance_id="whenever", priority=-50)
        with pytest.raises(BadParameter, match=r"outside -100\.\.100"):
            engine.create("low", priority=101)
        engine.work(until_idle=True)

    assert hall.ended == ["urgent", "h", "l0", "l1", "l2", "whenever"]


def test_a_worker_lets_an_instance_go_where_another_queue_begins(hall: Hall) -> None:
    """Whoever works on that queue goes on with it; until then it can be seen."""
    machine = hall.machine("m", second="heavy")
    with hall.engine(machine) as engine:
        engine.create("m", instance_id="i")
        engine.work(until_idle=True)
        said = hall.why("i")
        assert hall.calls == ["i"]
        assert said["no_queue"].facts["queue"] == "heavy"
    assert hall.ask("SELECT state, status, worker FROM instance") == [("b", "ready", None)]
    with hall.engine(machine) as engine:
        engine.work(queues=["heavy"], until_idle=True)

    assert hall.calls == ["i", "i again"]
    assert hall.ended == ["i"]
    notes = hall.ask("SELECT note FROM journal WHERE kind = 'interrupt'")
    assert notes == [("the state is of another queue",)]
    assert violations(hall.config.store) == []


def test_whoever_runs_an_instance_runs_it_in_every_queue(hall: Hall) -> None:
    """Queues are of workers; `run` drives what it was given."""
    with hall.engine(hall.machine("m", second="heavy")) as engine:
        engine.create("m", instance_id="i")
        assert engine.run(["i"]) == {"i": "done"}


def test_instances_of_one_key_are_driven_one_after_the_other(hall: Hall) -> None:
    """In the order they were made, and none is forgotten; another day is not held up."""
    machine = hall.machine("m", sharing=with_key())
    with hall.engine(machine) as engine:
        for n in range(5):
            engine.create("m", instance_id=f"i{n}")
        engine.create("m", instance_id="other", params={"day": "y"})
        engine.work(until_idle=True)

    same = [call for call in hall.calls if not call.startswith("other")]
    assert same == [each for n in range(5) for each in (f"i{n}", f"i{n} again")]
    assert len(hall.ended) == 6
    assert violations(hall.config.store) == []


def test_whoever_waits_for_its_key_says_so(hall: Hall) -> None:
    """Who has it, and how many wait before it."""
    machine = hall.machine("m", sharing=with_key())
    with hall.engine(machine) as engine:
        for name in ("a", "b", "c"):
            engine.create("m", instance_id=name)
        engine.pause("a")
        engine._driver.loop()
        engine._take_back("a", reason=None, definition="pinned")
        said = hall.why("c")["key"]
        engine.run(["a", "b", "c"])

    assert said.text == "it waits for its turn: 'x', its key of m, is held by a; 1 waits before it"
    assert said.facts == {"key": "x", "held_by": ["a"], "before": 1}
    assert hall.ended == ["a", "b", "c"]


def test_what_is_not_made_because_of_its_key_is_nothing(hall: Hall) -> None:
    """No row, no id; and once the other has ended it is made."""
    machine = hall.machine("m", sharing=with_key("skip"))
    with hall.engine(machine) as engine:
        assert engine.create("m", instance_id="a") == "a"
        assert engine.create("m", instance_id="b") is None
        engine.run(["a"])
        assert engine.create("m", instance_id="b") == "b"


def test_partitions_of_a_group_are_all_made_and_wait_for_their_turn(tmp_path: Path) -> None:
    """Also a single one, whose key another instance has, and whatever the behaviour is."""
    hall = Hall(tmp_path)
    machine = replace(
        hall.machine("m", sharing=Sharing(concurrency=Concurrency(key="k", behavior="skip"))),
        partition=Partition(by="list", values=("x", "y")),
    )
    with hall.engine(machine) as engine:
        engine.create("m", instance_id="first")
        group = engine.groups.create("m", ["x"], group_id="g")
        assert group == "g"
        assert hall.ask("SELECT count(*) FROM instance") == [(2,)]
        engine.work(until_idle=True)

    assert hall.ended == ["first", "g/x"]


def test_a_copy_has_the_key_that_its_parameters_give_it(hall: Hall) -> None:
    """And waits for its turn."""
    machine = hall.machine("m", sharing=with_key())
    with hall.engine(machine) as engine:
        engine.create("m", instance_id="i")
        engine.run(["i"])
        engine.copies.restart("i", params={"day": "z"}, new_id="again")

    found = hall.ask("SELECT concurrency_key, awaits_turn FROM instance WHERE id = 'again'")
    assert found == [("m:z", 1)]


def test_the_newest_of_a_key_cancels_the_older_one_that_is_driven(hall: Hall) -> None:
    """It is asked to end, and the new one begins when it has."""
    machine = hall.machine("m", sharing=with_key("cancel"), executor="thread")
    hall.door.clear()
    with hall.engine(machine) as engine:
        engine.create("m", instance_id="old")

        def meanwhile() -> None:
            assert hall.began.wait(SOON_S)
            with hall.engine(machine) as other:
                other.create("m", instance_id="new")
            hall.door.set()

        thread = threading.Thread(target=meanwhile)
        thread.start()
        engine.run(["old"])
        thread.join(SOON_S)
        engine.work(until_idle=True)

    assert hall.ask("SELECT id, status FROM instance ORDER BY n") == [
        ("old", "cancelled"),
        ("new", "done"),
    ]
    assert violations(hall.config.store) == []


def test_a_paused_instance_goes_on_with_whoever_drives(hall: Hall) -> None:
    """And only one that is paused."""
    with hall.engine(hall.machine("m")) as engine:
        engine.create("m", instance_id="i")
        with pytest.raises(Refused, match="'i' is ready, not paused"):
            engine.unpause("i")
        engine.pause("i")
        engine.work(until_idle=True)
        assert hall.calls == []
        engine.unpause("i", reason="it is back")
        engine.work(until_idle=True)
        with pytest.raises(Refused, match="'i' is done, not paused"):
            engine.unpause("i")

    assert hall.ended == ["i"]
    assert hall.ask("SELECT note FROM journal WHERE kind = 'resume'") == [("it is back",)]


def test_tasks_of_a_state_are_of_its_queue_and_have_its_priority(hall: Hall) -> None:
    """They are instances of their own, and driven where the instance is."""
    graph = Graph(
        tasks=(GraphTask(name="one", function=_nothing, settings={"executor": "inline"}),)
    )
    state = State(
        name="a",
        task=graph,
        on=(Transition(event="ok", target="done"),),
        settings={"timeout": "1m"},
        queue="heavy",
    )
    machine = Machine(
        name="m",
        initial="a",
        states=(state, State(name="done", final="success")),
        sharing=Sharing(priority=4),
    )
    with hall.engine(machine) as engine:
        engine.create("m", instance_id="i", priority=7)
        engine.work(until_idle=True)
        assert hall.ask("SELECT count(*) FROM instance") == [(1,)]
        engine.work(queues=["heavy"], until_idle=True)

    assert hall.ask("SELECT id, status, priority FROM instance ORDER BY n") == [
        ("i", "done", 7),
        ("i/a.one", "done", 7),
    ]


def _nothing(_task: Task) -> None:
    """Do nothing."""
