"""
Lines: whoever is ready is found at the head of its line, however long the other lines are.

How much is read is counted in SQLite's own steps, so that no clock is asked.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from statepipe.clock import WALL
from statepipe.store.questions.turns import turn_of, unattended
from statepipe.store.walk import ready
from statepipe.store.walk.ready import Scope
from statepipe.store.walk.routes import route
from tests.store import stores
from tests.store.turning import Scene

#: So many make a line long: to read one of them takes SQLite several steps.
LONG = 3_000
#: SQLite counts its steps by the hundred.
A_HUNDRED = 100


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Make a scene."""
    return Scene(tmp_path)


@contextmanager
def reads_little(scene: Scene) -> Iterator[None]:
    """Fail if what is done takes more steps than there are instances in a long line."""
    taken = [0]

    def count() -> None:
        taken[0] += A_HUNDRED

    scene.store.connection.set_progress_handler(count, A_HUNDRED)
    try:
        yield
    finally:
        scene.store.connection.set_progress_handler(None, 0)
    assert taken[0] < LONG


def this_boot(scene: Scene) -> None:
    """Timers of this boot stay what they are."""
    del scene


def by_wall(scene: Scene) -> None:
    """Timers become those of a wait until a moment."""
    with scene.store.write() as connection:
        connection.execute(
            "UPDATE instance SET seq = seq + 1, wake_boot_id = ?, wake_boot_ms = wake_at_ms"
            " WHERE wake_boot_id IS NOT NULL",
            (WALL,),
        )


def passed(scene: Scene) -> None:
    """Timers become another boot's, which the wall clock passes."""
    scene.clock.reboot()


def delayed(scene: Scene) -> None:
    """Timers become another boot's, and the wall clock is set back."""
    scene.clock.reboot()
    scene.clock.set_wall(scene.clock.now_ms() - 86_400_000)


CLOCKS = (this_boot, by_wall, passed, delayed)


def test_of_one_machine_the_oldest_is_next_whatever_state_it_is_in(scene: Scene) -> None:
    """One that was woken while others were made is not behind all of them."""
    scene.make("m", "old", state="a")
    scene.make("m", *(f"new{n}" for n in range(5)), state="z")

    assert scene.claim(limit=1) == ["old"]
    assert scene.claim(limit=2) == ["new0", "new1"]


@pytest.mark.parametrize("rest", CLOCKS)
def test_of_those_that_are_due_the_higher_priority_goes_first(
    scene: Scene, rest: Callable[[Scene], None]
) -> None:
    """However many of a lower one have been due for longer, by whichever clock."""
    scene.make("m", *(f"low{n}" for n in range(5)))
    scene.make("m", "high", priority=5)
    scene.rest([*(f"low{n}" for n in range(5)), "high"])
    rest(scene)
    scene.clock.advance(10_000)

    assert scene.claim(limit=1) == ["high"]
    assert scene.claim(limit=2) == ["low0", "low1"]


@pytest.mark.parametrize("rest", CLOCKS)
def test_the_third_machine_whose_instance_is_due_has_its_turn(
    scene: Scene, rest: Callable[[Scene], None]
) -> None:
    """Behind two that have more due than may be claimed at once."""
    names = [*(f"a{n}" for n in range(10)), *(f"b{n}" for n in range(10)), "c"]
    for name in names:
        scene.make(name[0], name)
    scene.rest(names)
    rest(scene)
    scene.clock.advance(10_000)

    assert sorted(scene.claim(limit=3)) == ["a0", "b0", "c"]


def test_what_is_ready_in_other_lines_is_not_read(scene: Scene) -> None:
    """Be it of a machine or of a queue that is none of the worker's."""
    scene.make("crowd", *(f"c{n}" for n in range(LONG)))
    crowd = scene.define("crowd")
    scene.make("m", "one")
    mine = Scope(definitions=frozenset({scene.define("m")}))
    elsewhere = Scope(elsewhere=frozenset({(crowd, "s0")}))

    for scope in (mine, elsewhere):
        with reads_little(scene):
            found = ready.find_ready(scene.store, dead={}, scope=scope, limit=2)
        assert [each.n for each in found] == [LONG + 1]


@pytest.mark.parametrize("rest", CLOCKS)
def test_what_waits_in_other_lines_is_not_read(scene: Scene, rest: Callable[[Scene], None]) -> None:
    """Neither before it is due nor when it is and its own workers are away."""
    names = [f"c{n}" for n in range(LONG)]
    scene.make("crowd", *names)
    scene.rest(names)
    scene.make("m", "one")
    rest(scene)
    scopes = (
        Scope(definitions=frozenset({scene.define("m")})),
        Scope(elsewhere=frozenset({(scene.define("crowd"), "s0")})),
        Scope(instances=frozenset({LONG + 1})),
        Scope(group=1),
    )

    for _ in ("not due", "due"):
        for scope in scopes:
            with reads_little(scene):
                assert ready.next_timer_boot_ms(scene.store, scope=scope) is None
                ready.find_ready(scene.store, dead={}, scope=scope, limit=2)
        scene.clock.advance(100_000)
    assert stores.count(scene.store, "instance") == LONG + 1


def test_a_queue_that_nobody_works_on_is_seen_behind_any_crowd(scene: Scene) -> None:
    """Whether what is ready there is free, or waits for a key; nobody counts the crowd."""
    scene.make("crowd", *(f"c{n}" for n in range(LONG)))
    scene.make("m", "one", state="s1")
    scene.with_key("two", "three", key="keyed:k")
    route(scene.store, scene.define("m"), {"s1": "heavy"})
    route(scene.store, scene.define("keyed"), {"s0": "heavy"})

    with reads_little(scene):
        assert unattended(scene.store.connection, ["default"]) == {"heavy": 3}
    assert unattended(scene.store.connection, ["heavy"]) == {"default": LONG}


def test_the_oldest_is_next_whatever_its_key_is_called(scene: Scene) -> None:
    """A key that is first by its name does not go before all others for ever."""
    scene.with_key("old", key="m:z")
    scene.with_key("new", "newer", key="m:a")

    assert scene.claim(limit=1) == ["old"]
    assert scene.claim(limit=2) == ["new"]


def test_machines_with_keys_take_turns(scene: Scene) -> None:
    """However many keys one of them has."""
    for n in range(5):
        scene.with_key(f"a{n}", key=f"a:{n}")
    scene.with_key("z", key="z:k")

    assert sorted(scene.claim(limit=2)) == ["a0", "z"]


def test_the_higher_priority_goes_first_among_keys_and_behind_one(scene: Scene) -> None:
    """As everywhere; and `why` counts the same."""
    scene.with_key("low", "lower", key="m:a")
    scene.with_key("high", key="m:z", priority=5)
    scene.with_key("late", key="m:a", priority=5)
    waits = turn_of(scene.store.connection, 2)

    assert scene.claim(limit=1) == ["high"]
    assert waits.before == 2
    assert scene.claim(limit=2) == ["late"]


def test_what_waits_behind_a_taken_key_hides_nobody(scene: Scene) -> None:
    """Neither one of its own machine nor, in a group or by name, one of a few."""
    scene.with_key("first")
    scene.claim()
    scene.with_key(*(f"b{n}" for n in range(50)))
    scene.with_key("free", "next", key="m:other")

    limits = {scene.define("m"): 1}
    for scope in (Scope(limits=limits), Scope(instances=frozenset(range(1, 60)), limits=limits)):
        found = ready.find_ready(scene.store, dead={}, scope=scope, limit=2)
        assert [each.n for each in found] == [52]


def test_in_two_lines_no_more_have_a_key_than_may(scene: Scene) -> None:
    """Each line has room for one, and both together have as well."""
    scene.with_key("a", "b")
    scene.with_key("c", priority=1)
    resting = Scope(limits={scene.define("m"): 2})

    assert scene.claim(scope=resting) == ["c", "a"]
    assert scene.claim(scope=resting) == []
    scene.sound()
