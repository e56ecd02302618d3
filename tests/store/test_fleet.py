"""How all machines are doing: true of real instances, and cheap however many there are."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from statepipe.batch import Batch
from statepipe.errors import Throttled
from statepipe.model import Outcome, Task
from statepipe.runtime.reasons.health import health
from statepipe.store.care.prune import Which, prune
from statepipe.store.codec import encode
from statepipe.store.file.opening import open_store
from statepipe.store.questions import finishes, fleet
from statepipe.store.questions.finishes import Finished, Finishes
from statepipe.store.questions.fleet import Doing, Fleet
from statepipe.store.reading import Reader
from statepipe.store.stage.directory import Stage, stage_directory
from statepipe.store.steering.instances import NewInstance, create, define
from statepipe.testing import ManualClock
from tests.runtime.scene import Scene, nothing, raising

HOUR_MS = 3_600_000


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Make an empty place."""
    return Scene(tmp_path)


def seen(scene: Scene, window: Finishes | None = None) -> Fleet:
    """Look at the fleet."""
    with Reader(scene.config.store, clock=scene.clock) as reader:
        return fleet.fleet(reader, window or Finishes(span_ms=HOUR_MS))


def only(found: Fleet) -> Doing:
    """Return the only machine."""
    (doing,) = found.machines
    return doing


def run(scene: Scene, *names: str, function: Callable[[Task], object] = nothing) -> None:
    """Create instances and drive them to their ends."""
    with scene.engine(function) as engine:
        for name in names:
            engine.create("m", instance_id=name)
        engine.run(names)


def test_a_fleet_says_where_all_instances_are(scene: Scene) -> None:
    """By state, by who drives them, by how they ended."""
    run(scene, "one", "two")
    run(scene, "bad", function=raising(ValueError("seven")))
    scene.driven(raising(Throttled("slow")))
    with scene.engine() as engine:
        engine.create("m", instance_id="fresh")

    doing = only(seen(scene))

    assert doing.states == {"done": 2, "failed": 1, "a": 2}
    assert doing.finals == {"done": "success", "failed": "failure", "cancelled": "cancelled"}
    assert (doing.driven, doing.stalled, doing.ready, doing.waiting) == (0, 0, 1, 1)
    assert (doing.finished.done, doing.finished.failed) == (2, 1)
    assert doing.success_at_ms == scene.clock.now_ms()
    assert health(doing, drivers=0) == "unattended"
    assert health(doing, drivers=1) == "failing"


def test_what_is_driven_and_what_was_left_behind_are_told_apart(scene: Scene) -> None:
    """The row is the same, the process is not."""
    looks: list[Fleet] = []
    run(scene, "one", function=lambda _: looks.append(seen(scene)))
    engine = scene.engine()
    engine.create("m", instance_id="two")
    engine._take_back("two", reason=None, definition="pinned")
    scene.clock.reboot()
    after = seen(scene)
    engine.close()

    assert (only(looks[0]).driven, only(looks[0]).stalled) == (1, 0)
    assert (looks[0].drivers, looks[0].slots) == (1, 64)
    assert (only(after).driven, only(after).stalled, after.drivers) == (0, 1, 0)
    assert health(only(after), drivers=after.drivers) == "stalled"


def test_those_that_failed_alike_are_one_line(scene: Scene) -> None:
    """With the newest of them and its error; what was mended is gone."""
    run(scene, "one", "two", function=raising(ValueError("seven")))
    scene.clock.advance(1_000)
    run(scene, "three", function=raising(ValueError("eight")))
    run(scene, "other", function=lambda _: Outcome("bad"))
    with scene.engine() as engine:
        engine.resume(["one"])

    failures = seen(scene).failures

    assert [(f.state, f.error_class, f.error, f.instances) for f in failures] == [
        ("a", "ValueError", "eight", 2),
        ("a", "bad", "the task raised this event, and the machine leads it here", 1),
    ]
    assert failures[0].newest == "three"


def test_throughput_is_that_of_the_last_minute(scene: Scene) -> None:
    """What was before does not count."""

    def source(_: Task) -> Iterator[Batch]:
        return iter([Batch([{"n": n} for n in range(30)])])

    run(scene, "old", function=source)
    scene.clock.advance(120_000)
    run(scene, "new", function=source)

    doing = only(seen(scene))

    assert doing.moves_per_s == pytest.approx(2 / 60)
    assert doing.records_per_s == pytest.approx(30 / 60)


def test_a_busy_minute_is_measured_by_its_newest_rows(scene: Scene) -> None:
    """Reading all of it would cost more than it tells."""
    run(scene, "one", "two")
    scene.clock.advance(2_000)
    with mock.patch.object(fleet, "RATE_ROWS_MAX", 4):
        doing = only(seen(scene))

    assert doing.moves_per_s == pytest.approx(4 / 2)


# ---- the window -----------------------------------------------------------------------


def test_a_window_moves_on_and_forgets(scene: Scene) -> None:
    """Each look reads only what came since the one before."""
    window = Finishes(span_ms=HOUR_MS)
    run(scene, "one")
    first = only(seen(scene, window)).finished
    scene.clock.advance(HOUR_MS // 2)
    run(scene, "two", function=raising(ValueError("seven")))
    second = only(seen(scene, window)).finished
    scene.clock.advance(HOUR_MS // 2 + HOUR_MS // 100)
    third = only(seen(scene, window)).finished
    scene.clock.advance(HOUR_MS)
    fourth = only(seen(scene, window)).finished

    assert (first.done, first.failed) == (1, 0)
    assert (second.done, second.failed) == (1, 1)
    assert (third.done, third.failed) == (0, 1)
    assert fourth == Finished(0, 0, 0, None)


def test_a_window_that_was_looked_at_all_along_says_what_a_new_one_says(scene: Scene) -> None:
    """Adding and forgetting leaves nothing behind."""
    window = Finishes(span_ms=HOUR_MS)
    for number in range(12):
        scene.clock.advance(HOUR_MS // 8)
        run(scene, f"i{number}", function=lambda _: scene.clock.advance(100))
        seen(scene, window)
    scene.clock.advance(HOUR_MS // 100)  # past what lies on the border

    assert only(seen(scene, window)).finished == only(seen(scene)).finished
    assert only(seen(scene)).finished.done == 8


def test_what_was_pruned_is_in_no_state_and_in_no_window(scene: Scene) -> None:
    """Counters keep it, for they never fall; what there is does not."""
    window = Finishes(span_ms=HOUR_MS)
    run(scene, "one", "two")
    before = only(seen(scene, window))
    store = open_store(scene.config.store, create=False, clock=scene.clock)
    stage = Stage(stage_directory(scene.config.store, store_id=store.store_id))
    which = Which(before_ms=scene.clock.now_ms(), keep_last=0)
    assert sum(prune(store, stage, which)) == 2
    store.close()
    pruned = only(seen(scene, window))
    run(scene, "three")

    assert (before.states, before.finished.done) == ({"done": 2}, 2)
    assert (pruned.states, pruned.finished.done) == ({}, 0)
    assert only(seen(scene, window)).finished.done == 1


@pytest.mark.parametrize("took_ms", [0, 1, 40, 999, 60_000, 90_000_000])
def test_the_95th_percentile_is_at_most_4_percent_too_high(scene: Scene, took_ms: int) -> None:
    """And never too low."""
    run(scene, "one", function=lambda _: scene.clock.advance(took_ms))

    found = only(seen(scene, Finishes(span_ms=10**12))).finished.p95_ms

    assert found is not None
    assert took_ms <= found <= took_ms * 1.04 + 1


def test_a_window_with_too_many_rows_says_since_when_it_counts(scene: Scene) -> None:
    """A shorter window is better than a wait; but it must be said."""
    run(scene, "one")
    scene.clock.advance(60_000)
    run(scene, "two")
    with mock.patch.object(finishes, "ROWS_MAX", 4):
        found = seen(scene)

    assert found.since_ms == scene.clock.now_ms()
    assert only(found).finished.done == 1


# ---- what it costs --------------------------------------------------------------------

#: Of each of two machines, half of them failed.
INSTANCES = 2_000
#: SQLite looks in after so many steps of its virtual machine.
STEPS = 100
FORM = {"states": {"a": {"task": {"run": "m:f"}}, "done": {"final": "success"}}}


def test_a_look_costs_what_moves_and_not_what_there_is(tmp_path: Path) -> None:
    """4,000 instances that have ended cost nothing but a bounded look at those that failed."""
    path, clock = tmp_path / "statepipe.db", ManualClock()
    store = open_store(path, create=True, clock=clock)
    for machine in ("first", "second"):
        number = define(store, machine=machine, version=1, digest="d", body=json.dumps(FORM))
        new = [NewInstance(f"{machine}-{n}", encode({})) for n in range(INSTANCES)]
        create(store, machine=machine, definition=number, initial="a", instances=new)
    with store.write() as connection:
        connection.execute(
            "UPDATE instance"
            "   SET seq = seq + 1, finished_at_ms = 1, updated_at_ms = n, change = 'move',"
            "       status = iif(n % 2, 'failed', 'done'), state = iif(n % 2, 'failed', 'done')"
        )
    store.close()
    clock.advance(2 * HOUR_MS)
    with Reader(path, clock=clock) as reader, mock.patch.object(fleet, "FAILED_MAX", 10):
        steps = _counted(reader)
        window = Finishes(span_ms=HOUR_MS)
        found = fleet.fleet(reader, window)

        assert [each.machine for each in found.machines] == ["first", "second"]
        assert steps() < 5_000
        assert found.failures[0].instances == 10


def _counted(reader: Reader) -> Callable[[], int]:
    """Count what SQLite does for `reader` from now on, in steps of its virtual machine."""
    looks = 0

    def look() -> int:
        nonlocal looks
        looks += 1
        return 0

    reader._connection.set_progress_handler(look, STEPS)
    return lambda: looks * STEPS
