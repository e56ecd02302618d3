"""Groups of partitions as an engine makes and drives them: which, by whom, and again."""

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import (
    BadParameter,
    DefinitionChanged,
    DefinitionError,
    Fatal,
    InstanceExists,
    NotFound,
    Refused,
)
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.parameter import Param
from statepipe.machine.partition import PARTITIONS_MAX, Partition
from statepipe.machine.states.tasks import Run
from statepipe.model import Change, Task
from statepipe.runtime.driving.drive import Drive
from statepipe.store.lookups.listing import Filter
from statepipe.store.reading import Reader
from statepipe.testing import violations

BY_NUMBER = Partition(by="int", width=10, until="end", param="n")
NUMBERS = (
    Param(name="n", type="int"),
    Param(name="note", default="none"),
    Param(name="end", type="int"),
)
BY_SHOP = Partition(by="list", source=lambda params: params["shops"])
SHOPS = (Param(name="shop"), Param(name="shops", type="json", default=["a", "b"]))


class Scene:
    """A folder, machines whose one task fails as the test says, and what it was called with."""

    def __init__(self, folder: Path) -> None:
        self.config = load_config(start=folder, environ={})
        self.calls: list[Mapping[str, Any]] = []
        self.bad: set[Any] = set()
        self.driven: list[int] = []
        self.after: Callable[[Change], None] = lambda _: None
        self.during: Callable[[], None] = lambda: None

    def engine(
        self,
        partition: Partition | None = BY_NUMBER,
        params: tuple[Param, ...] = NUMBERS,
        *,
        version: int = 1,
        in_flight_max: int = 64,
    ) -> Engine:
        """Open an engine with one machine, `m`."""
        first = State(
            name="a",
            task=Run(function=self._task),
            on=(Transition(event="ok", target="done"),),
            settings={"executor": "inline"},
        )
        machine = Machine(
            name="m",
            initial="a",
            version=version,
            params=params,
            partition=partition,
            states=(first, State(name="done", final="success")),
        )

        def observe(_drive: Drive, change: Change) -> None:
            assert engine._driver._loop is not None
            self.driven.append(len(engine._driver._loop.drives))
            self.after(change)

        engine = Engine(
            self.config, machines=[machine], in_flight_max=in_flight_max, observe=observe
        )
        return engine

    def _task(self, task: Task) -> None:
        self.calls.append(task.params)
        self.during()
        if next(iter(task.params.values())) in self.bad:
            raise Fatal("it is bad")

    def statuses(self, group: str) -> dict[str, str]:
        """Return the status of each partition of a group, by key."""
        with Reader(self.config.store) as reader:
            listed = reader.instances(Filter(group=group), limit=1_000)
        return {str(each.partition): each.standing for each in listed}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Make the scene; its store must be whole in the end."""
    made = Scene(tmp_path)
    yield made
    if made.config.store.exists():
        assert violations(made.config.store) == []


def test_each_partition_is_an_instance_with_parameters_of_its_own(scene: Scene) -> None:
    """Where it begins, where it ends, and what all of them were given; ids say whose they are."""
    with scene.engine() as engine:
        group = engine.groups.create("m", ["0..19"], params={"note": "x"})

        assert group == "m-0..10"
        assert engine.groups.run(group) == "done"

    assert scene.calls == [{"n": 0, "note": "x", "end": 10}, {"n": 10, "note": "x", "end": 20}]
    with Reader(scene.config.store) as reader:
        assert reader.inspect("m-0..10/10").params == {"n": 10, "note": "x", "end": 20}
        assert reader.group("m-0..10").completeness == 1.0


def test_the_same_range_again_is_the_same_group(scene: Scene) -> None:
    """A conflict, unless one attaches or skips; as with the id of an instance."""
    with scene.engine() as engine:
        engine.groups.create("m", ["0..19"])

        with pytest.raises(InstanceExists, match=r"group 'm-0\.\.10'"):
            engine.groups.create("m", ["5..15"])
        assert engine.groups.create("m", ["0..19"], if_exists="skip") is None
        assert engine.groups.create("m", ["0..19"], if_exists="attach") == "m-0..10"
        assert engine.groups.create("m", ["0..19"], group_id="again") == "again"
        # Not one range: a name of its own, and the same one again.
        assert engine.groups.create("m", ["0", "10"]) != "m-0..10"
        assert engine.groups.create("m", ["0", "10"], if_exists="skip") is None


def test_nobody_attaches_to_a_group_of_other_partitions(scene: Scene) -> None:
    """Its name may be the same; what it loads is not."""
    with scene.engine() as engine:
        engine.groups.create("m", ["0..19"], group_id="g")

        for wanted in (["0..29"], ["0..9"], ["0", "20"]):
            with pytest.raises(InstanceExists, match="of 2 partitions of m"):
                engine.groups.create("m", wanted, group_id="g", if_exists="attach")
        engine.create("m", params={"n": 1, "end": 2}, instance_id="one")
        with pytest.raises(InstanceExists, match="instance 'one'"):
            engine.groups.create("m", ["0"], group_id="one", if_exists="attach")


def test_what_failed_is_retried_alone(scene: Scene) -> None:
    """The others are done, and are not called again."""
    scene.bad = {10}
    with scene.engine() as engine:
        group = engine.groups.create("m", ["0..29"]) or ""
        assert engine.groups.run(group) == "failed"
        assert scene.statuses(group) == {"0": "done", "10": "failed", "20": "done"}
        scene.calls.clear()
        scene.bad.clear()

        assert engine.groups.resume(group, reason="mended") == (1, "done")

        assert [each["n"] for each in scene.calls] == [10]
        with pytest.raises(Refused, match="none of its partitions failed"):
            engine.groups.resume(group)
    with Reader(scene.config.store) as reader:
        kinds = [(row.kind, row.note) for row in reader.history(f"{group}/10")]
    assert ("resume", "mended") in kinds


def test_a_group_that_tolerates_a_failure_is_done_and_says_how_much_is(scene: Scene) -> None:
    """A resume of what failed then makes it whole."""
    scene.bad = {10}
    tolerant = Partition(by="int", width=10, until="end", param="n", tolerate=1)
    with scene.engine(tolerant) as engine:
        group = engine.groups.create("m", ["0..29"]) or ""
        assert engine.groups.run(group) == "done"
        with Reader(scene.config.store) as reader:
            before = reader.group(group).completeness
        scene.bad.clear()
        assert engine.resume([f"{group}/10"]) == {f"{group}/10": "done"}
        with Reader(scene.config.store) as reader:
            after = reader.group(group)

    assert before == pytest.approx(2 / 3)
    assert (after.completeness, after.group.status) == (1.0, "done")


def test_a_stopped_run_goes_on_with_what_is_left(scene: Scene) -> None:
    """As after a kill: by the same command, or a resume; nobody is called twice."""
    with scene.engine(in_flight_max=1) as engine:
        group = engine.groups.create("m", ["0..49"]) or ""
        scene.after = lambda _: engine.stop("shut down")
        assert engine.groups.run(group) == "open"
    assert 0 < len(scene.calls) < 5

    scene.after = lambda _: None
    with scene.engine() as engine:
        assert engine.groups.create("m", ["0..49"], if_exists="attach") == group
        assert engine.groups.run(group) == "done"

    assert sorted(each["n"] for each in scene.calls) == [0, 10, 20, 30, 40]


def test_no_more_partitions_are_driven_at_a_time_than_was_said(scene: Scene) -> None:
    """Also when all of them are taken back to work at once."""
    scene.bad = set(range(0, 200, 10))
    with scene.engine(in_flight_max=3) as engine:
        group = engine.groups.create("m", ["0..199"]) or ""
        engine.groups.run(group)
        assert max(scene.driven) == 2  # each is told of when it has left
        scene.driven.clear()
        scene.bad.clear()

        assert engine.groups.resume(group) == (20, "done")

        assert max(scene.driven) == 2


def test_a_cancelled_group_is_taken_back_as_a_whole(scene: Scene) -> None:
    """But what a person cancelled of one that failed stays cancelled."""
    scene.bad = {10}
    with scene.engine() as engine:
        group = engine.groups.create("m", ["0..29"]) or ""
        assert engine.groups.cancel(group, reason="wrong file") == (3, 0)
        assert engine.groups.run(group) == "cancelled"
        assert engine.groups.resume(group) == (3, "failed")
        other = engine.groups.create("m", ["0..19"]) or ""
        engine.cancel(f"{other}/0")
        assert engine.groups.run(other) == "failed"
        scene.bad.clear()

        assert engine.groups.resume(other) == (1, "cancelled")

        assert scene.statuses(other) == {"0": "cancelled", "10": "done"}
        with pytest.raises(NotFound, match="no group 'nobody'"):
            engine.groups.cancel("nobody")


def test_a_paused_partition_keeps_its_group_open(scene: Scene) -> None:
    """The run returns, since nothing is ready, and a resume of the group leaves it paused."""
    with scene.engine() as engine:
        group = engine.groups.create("m", ["0..19"]) or ""
        engine.pause(f"{group}/0")

        assert engine.groups.run(group) == "open"
        assert engine.groups.resume(group) == (0, "open")
        assert engine.resume([f"{group}/0"]) == {f"{group}/0": "done"}

    assert scene.statuses(group) == {"0": "done", "10": "done"}


def test_a_group_is_paused_and_goes_on_as_a_whole(scene: Scene) -> None:
    """What has ended, or was asked before, is left as it is, and it is said what that is."""
    scene.bad = {20}
    with scene.engine() as engine:
        group = engine.groups.create("m", ["0..59"]) or ""
        engine.run([f"{group}/10"])
        engine.run([f"{group}/20"])
        engine.pause(f"{group}/30")
        engine.cancel(f"{group}/40")
        left = {"cancelled": 1, "done": 1, "failed": 1, "paused before": 1}

        assert engine.groups.pause(group, reason="it is down") == (2, 0, left)

        assert engine.groups.run(group) == "open"
        paused = {key for key, status in scene.statuses(group).items() if status == "paused"}
        assert paused == {"0", "30", "50"}
        with scene.engine(version=2) as newer, pytest.raises(DefinitionChanged, match="is 2"):
            newer.groups.unpause(group)
        assert engine.groups.unpause(group, reason="it is back") == (3, 0)
        with pytest.raises(Refused, match="no partition of group"):
            engine.groups.unpause(group)
        assert engine.groups.run(group) == "failed"
    with Reader(scene.config.store) as reader:
        notes = [(row.kind, row.note) for row in reader.history(f"{group}/50")]
    assert notes[1:3] == [("pause", "it is down"), ("resume", "it is back")]


def test_who_drives_a_partition_is_asked_to_pause_it(scene: Scene) -> None:
    """Once; it is not paused yet, which an unpause says, and it may come to its end before."""
    told: list[Any] = []

    def pause() -> None:
        scene.during = lambda: None
        told.append(other.groups.pause(group))
        told.append(other.groups.pause(group))
        told.append(other.groups.unpause(group))

    with scene.engine() as other, scene.engine() as engine:
        group = engine.groups.create("m", ["0..29"]) or ""
        other.pause(f"{group}/20")
        scene.during = pause
        status = engine.groups.run(group)

    before = {"paused before": 1}
    assert told == [(0, 2, before), (0, 0, {"about to pause": 2, **before}), (1, 2)]
    assert status == "done"


def test_a_machine_that_changed_is_refused_for_the_whole_group(scene: Scene) -> None:
    """And nothing is taken back; `adopts` goes on with what it is now, ready ones as well."""
    scene.bad = {10}
    with scene.engine(in_flight_max=1) as engine:
        group = engine.groups.create("m", ["0..39"]) or ""
        scene.after = lambda change: engine.stop("") if change.status == "failed" else None
        engine.groups.run(group)
    scene.after = lambda _: None
    scene.bad.clear()
    before = scene.statuses(group)
    assert set(before.values()) == {"done", "failed", "ready"}
    with scene.engine(version=2) as engine:
        with pytest.raises(DefinitionChanged, match="version was 1 and is 2"):
            engine.groups.run(group)
        with pytest.raises(DefinitionChanged, match="version was 1 and is 2"):
            engine.groups.resume(group)
        assert scene.statuses(group) == before

        taken, status = engine.groups.resume(group, adopts=True)

    assert status == "done"
    assert taken == sum(each != "done" for each in before.values())
    assert sorted(each["n"] for each in scene.calls) == [0, 10, 10, 20, 30]


def test_two_processes_share_a_group(scene: Scene) -> None:
    """Each partition has one driver; both return when the last one rests."""
    with scene.engine(in_flight_max=2) as engine:
        group = engine.groups.create("m", ["0..299"]) or ""
        ended: list[str] = []
        other = threading.Thread(target=lambda: ended.append(_attached(scene, group)))
        other.start()
        ended.append(engine.groups.run(group))
        other.join(30)

    assert ended == ["done", "done"]
    assert sorted(each["n"] for each in scene.calls) == list(range(0, 300, 10))


def test_the_keys_of_a_listed_set_may_come_from_a_function(scene: Scene) -> None:
    """It is given the other parameters, and asked before there is a store."""
    with scene.engine(BY_SHOP, SHOPS) as engine:
        group = engine.groups.create("m", [".."], params={"shops": ["x", "y"]}) or ""
        assert engine.groups.run(group) == "done"
        with pytest.raises(BadParameter, match="there is no partition 'x'"):
            engine.groups.create("m", ["x"])
        with pytest.raises(BadParameter, match="the list of partitions is empty"):
            engine.groups.create("m", [".."], params={"shops": []})

    assert [each["shop"] for each in scene.calls] == ["x", "y"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (lambda _: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda _: None, "TypeError: 'NoneType' object is not iterable"),
        (lambda _: "abc", "it returned a text"),
        (lambda _: map(str, range(PARTITIONS_MAX + 1)), "more than 10,000 keys"),
        (lambda _: ["a", "a"], "'a' is listed twice"),
        (lambda _: [3], "a key is 3, not text"),
        ("nowhere:f", 'there is no module "nowhere"'),
    ],
)
def test_a_function_that_lists_no_keys_makes_no_group(scene: Scene, source: Any, said: str) -> None:  # noqa: ANN401  (whatever an author may name)
    """It says why, and leaves no store behind."""
    engine = scene.engine(Partition(by="list", source=source), SHOPS)

    with engine, pytest.raises(DefinitionError, match=said):
        engine.groups.create("m", [".."])

    assert not scene.config.store.exists()


def test_a_request_that_is_refused_leaves_no_store_behind(scene: Scene) -> None:
    """No partitions, a parameter too many, or one that is missing."""
    with scene.engine() as engine:
        with pytest.raises(BadParameter, match='"n" of machine "m" is what its partitions are by'):
            engine.groups.create("m", ["0"], params={"n": 1})
        with pytest.raises(BadParameter, match='no parameter "x"'):
            engine.groups.create("m", ["0"], params={"x": 1})
    with scene.engine(None) as engine, pytest.raises(DefinitionError, match="does not say what"):
        engine.groups.create("m", ["0"])

    assert not scene.config.store.exists()


def _attached(scene: Scene, group: str) -> str:
    with scene.engine(in_flight_max=2) as engine:
        return engine.groups.run(group)
