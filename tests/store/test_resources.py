"""
Slots and permits as rows: whose turn it is, who counts, and when the next permit is due.

Workers are rows, alive because this very process is, dead because it was born at another
moment; time is owned.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statepipe.resources import Resource
from statepipe.store import liveness
from statepipe.store.care import prune
from statepipe.store.file.connection import Store
from statepipe.store.liveness import Worker
from statepipe.store.questions.usage import User, usage
from statepipe.store.stage import directory as stage
from statepipe.store.walk import resources, workers
from statepipe.store.walk.presence import ORPHAN_MS, RollCall
from statepipe.store.walk.resources import End, Settled, Want
from statepipe.testing import ManualClock
from statepipe.units import parse_rate
from tests.store import stores

TWO: Final = Resource(name="crm", slots=2)
FAST: Final = Resource(name="api", rate=parse_rate("10/s"))
ROOM: Final = {"thread": 100}


class Scene:
    """A store with instances 1, 2, 3, …, and what they use."""

    def __init__(self, folder: Path, *uses: Resource) -> None:
        self.clock = ManualClock()
        self.store: Store = stores.opened(folder, self.clock)
        self.uses = uses
        self.me = stores.registered(self.store)
        self.n = stores.created(self.store, *"abcdefghij")
        self.roll_call = RollCall(self.clock)
        self.places: dict[str, tuple[int, ...]] = {}
        resources.declare(self.store, uses)

    def want(self, name: str, *uses: Resource) -> Want:
        """Return what an instance wants, asked for or not."""
        n = self.n["abcdefghij".index(name)]
        return Want(n, 0, uses or self.uses, "thread", self.places.get(name, ()))

    def settle(
        self,
        names: str,
        *,
        by: Worker | None = None,
        uses: Sequence[Resource] = (),
        room: int = 100,
        done: str = "",
    ) -> str:
        """Let instances ask; return the names of those whose turn it is."""
        freed = [n for name in done for n in self.places.pop(name)]
        end = End(freed, {}, self.clock.boot_id) if freed else None
        absent = self.roll_call.absent(liveness.workers(self.store.connection))
        settled: Settled = resources.settle(
            self.store,
            by or self.me,
            [self.want(name, *uses) for name in names],
            end=end,
            absent=absent,
            room={"thread": room},
        )
        self.places |= dict(zip(names, settled.places, strict=True))
        return "".join(names[at] for at in settled.granted)

    def use(self, name: str) -> User:
        """Return how a resource is used."""
        return next(
            each for each in usage(self.store.connection, clock=self.clock) if each.name == name
        )

    def overdue(self, worker: Worker) -> None:
        """Let the lease of `worker` pass, and ours not."""
        with self.store.write() as connection:
            connection.execute("UPDATE worker SET deadline_boot_ms = 0 WHERE n = ?", (worker.n,))


def test_so_many_hold_a_slot_and_the_next_gets_the_first_that_is_given_back(tmp_path: Path) -> None:
    """In the order in which they asked, whatever the order in which they are looked at."""
    scene = Scene(tmp_path, TWO)

    assert scene.settle("abcd") == "ab"
    assert scene.settle("cd") == ""
    assert scene.settle("dc", done="a") == "c"
    assert scene.settle("d") == ""
    assert scene.settle("de", done="bc") == "de"

    crm = scene.use("crm")
    assert (crm.slots, [each.instance for each in crm.held], crm.waiting) == (2, ["d", "e"], ())


def test_looking_while_it_is_nobodys_turn_writes_nothing(tmp_path: Path) -> None:
    """Waiting costs no commit, however often somebody looks."""
    scene = Scene(tmp_path, TWO)
    scene.settle("abcd")
    changes = scene.store.connection.total_changes

    assert [scene.settle("cd") for _ in range(10)] == [""] * 10

    assert scene.store.connection.total_changes == changes


def test_the_slots_of_a_dead_worker_are_free_once_its_tasks_are_gone_too(tmp_path: Path) -> None:
    """The kernel needs a moment to end the children of a process that was killed."""
    scene = Scene(tmp_path, TWO)
    killed = stores.dead(scene.store)
    scene.settle("ab", by=killed)

    assert scene.settle("cd") == ""

    scene.clock.advance(ORPHAN_MS)

    assert scene.settle("cd") == "cd"
    assert stores.count(scene.store, "slot") == 2


def test_a_worker_of_another_boot_holds_nothing(tmp_path: Path) -> None:
    """Whatever it did ended with the machine."""
    scene = Scene(tmp_path, TWO)
    scene.settle("ab")
    scene.places.clear()
    scene.clock.reboot()
    scene.me = stores.registered(scene.store)

    assert scene.settle("cd") == "cd"


def test_a_process_that_is_stopped_keeps_what_it_holds_and_loses_its_place(tmp_path: Path) -> None:
    """It may go on calling when it wakes; while it sleeps, nobody waits behind it."""
    scene = Scene(tmp_path, TWO)
    asleep = stores.registered(scene.store)
    scene.settle("a", by=asleep)
    scene.settle("b")
    scene.settle("c", by=asleep)
    scene.overdue(asleep)

    assert scene.settle("d", done="b") == "d"
    assert scene.settle("e") == ""
    assert {each.instance for each in scene.use("crm").held} == {"a", "d"}

    # It wakes, with a place before those that were let in meanwhile.
    workers.renew(scene.store, asleep)
    assert scene.settle("c", by=asleep) == ""
    assert scene.settle("c", by=asleep, done="d") == "c"


def test_a_worker_is_not_forgotten_while_it_may_hold_something(tmp_path: Path) -> None:
    """Its row is what tells whether its process is still there."""
    scene = Scene(tmp_path, TWO)
    asleep = stores.registered(scene.store)
    scene.settle("ab", by=asleep)
    scene.overdue(asleep)
    scene.me = stores.registered(scene.store)

    assert scene.settle("c") == ""


def test_a_place_in_the_queue_goes_with_the_right_to_drive(tmp_path: Path) -> None:
    """Who was taken over waits for nothing, and holds nobody up; what it holds it still holds."""
    scene = Scene(tmp_path, Resource(name="crm", slots=1))
    scene.settle("abc")
    for name in "ab":
        stores.stolen(scene.store, name)

    assert scene.settle("bc") == ""
    assert scene.settle("c", done="a") == "c"
    wants = [scene.want("b")]
    absent = scene.roll_call.absent(())
    found = resources.settle(scene.store, scene.me, wants, end=None, absent=absent, room=ROOM)
    assert (found.granted, found.fenced) == ([], [0])


def test_who_uses_several_gets_all_of_them_or_none(tmp_path: Path) -> None:
    """So nobody holds one and waits for another that waits for the first."""
    one, other = Resource(name="one", slots=1), Resource(name="other", slots=1)
    scene = Scene(tmp_path, one, other)

    assert scene.settle("a", uses=[one]) == "a"
    assert scene.settle("b", uses=[one, other]) == ""
    assert scene.use("other").held == ()
    # c came later, and would hold up b for as long as it likes.
    assert scene.settle("c", uses=[other]) == ""
    assert scene.settle("b", uses=[one, other], done="a") == "b"
    assert scene.settle("c", uses=[other], done="b") == "c"


def test_who_has_no_room_to_run_gives_up_its_turn(tmp_path: Path) -> None:
    """Others have room, and a slot that nobody can use helps nobody."""
    scene = Scene(tmp_path, Resource(name="crm", slots=1))
    scene.settle("abc")

    assert scene.settle("b", room=0, done="a") == ""
    assert scene.places["b"] == ()
    assert scene.settle("c") == "c"


def test_a_permit_is_due_one_pause_after_the_last(tmp_path: Path) -> None:
    """10/s is one each 100 ms: never two at once, however long nobody came."""
    scene = Scene(tmp_path, FAST)
    scene.clock.advance(60_000)

    assert resources.permit(scene.store, FAST) == 0
    assert resources.permit(scene.store, FAST) == 100_000
    scene.clock.advance(99)
    assert resources.permit(scene.store, FAST) == 1_000
    scene.clock.advance(1)
    assert resources.permit(scene.store, FAST) == 0


def test_a_burst_is_what_may_come_before_its_time(tmp_path: Path) -> None:
    """After a silence three at once, then one each pause."""
    scene = Scene(tmp_path, burst := replace(FAST, burst=3))

    assert [resources.permit(scene.store, burst) for _ in range(4)] == [0, 0, 0, 100_000]
    scene.clock.advance(100)
    assert [resources.permit(scene.store, burst) for _ in range(2)] == [0, 100_000]


@settings(max_examples=20, deadline=None)
@given(
    pauses=st.lists(st.integers(0, 700), min_size=1, max_size=60),
    n=st.integers(1, 50),
    burst=st.integers(1, 10),
)
def test_no_window_has_more_permits_than_the_rate_and_the_burst(
    tmp_path_factory: pytest.TempPathFactory, pauses: list[int], n: int, burst: int
) -> None:
    """However they come, and wherever the window begins."""
    resource = Resource(name="api", rate=parse_rate(f"{n}/s"), burst=burst)
    scene = Scene(tmp_path_factory.mktemp("rate"), resource)
    given_ms = []
    for pause in pauses:
        scene.clock.advance(pause)
        if resources.permit(scene.store, resource) == 0:
            given_ms.append(scene.clock.boot_ms())
    stores.close_all()

    for first, begins_ms in enumerate(given_ms):
        for count, ends_ms in enumerate(given_ms[first:], start=1):
            assert count <= burst + (ends_ms - begins_ms) * n / 1_000


def test_an_attempt_costs_a_permit_and_begins_when_it_is_due(tmp_path: Path) -> None:
    """Who came first gets the next one; the others need not look before it is due."""
    scene = Scene(tmp_path, FAST)
    absent = scene.roll_call.absent(())
    wants = [scene.want(name) for name in "abc"]

    found = resources.settle(scene.store, scene.me, wants, end=None, absent=absent, room=ROOM)

    assert found.granted == [0]
    assert found.due_us == scene.clock.boot_us() + 100_000
    scene.places = dict(zip("abc", found.places, strict=True))
    scene.clock.advance(100)
    assert scene.settle("cb") == "b"  # although c is looked at first


def test_what_a_server_asks_for_closes_the_resource_for_everybody(tmp_path: Path) -> None:
    """Not for those alone who were told; slots that are free do not help."""
    scene = Scene(tmp_path, TWO)
    scene.settle("a")
    until_us = scene.clock.boot_us() + 5_000_000
    with scene.store.write() as connection:
        End(scene.places["a"], {"crm": until_us}, scene.clock.boot_id).write(connection)
        End((), {"crm": until_us - 1_000_000}, scene.clock.boot_id).write(connection)

    assert scene.settle("b") == ""
    assert resources.permit(scene.store, TWO) == 5_000_000
    assert scene.use("crm").closed_ms == 5_000
    scene.clock.advance(4_999)
    assert scene.settle("b") == ""
    scene.clock.advance(1)
    assert scene.settle("b") == "b"


def test_setting_the_wall_clock_gives_no_permit_and_delays_none(tmp_path: Path) -> None:
    """Rates and pauses are kept by the boot clock."""
    scene = Scene(tmp_path, FAST)
    resources.permit(scene.store, FAST)

    scene.clock.set_wall(0)
    assert resources.permit(scene.store, FAST) == 100_000
    scene.clock.set_wall(4_000_000_000_000)
    assert resources.permit(scene.store, FAST) == 100_000


def test_another_boot_begins_anew(tmp_path: Path) -> None:
    """Its clock says nothing about permits of the last one."""
    scene = Scene(tmp_path, FAST)
    scene.clock.advance(1_000_000)
    resources.permit(scene.store, FAST)
    with scene.store.write() as connection:
        End((), {"api": scene.clock.boot_us() + 10**9}, scene.clock.boot_id).write(connection)
    scene.clock.reboot()

    assert resources.permit(scene.store, FAST) == 0
    assert resources.permit(scene.store, FAST) == 100_000


def test_other_numbers_hold_from_the_next_start_on(tmp_path: Path) -> None:
    """What is written down is for those who look; nobody is thrown out."""
    scene = Scene(tmp_path, TWO)
    scene.settle("ab")
    fewer = replace(TWO, slots=1)
    resources.declare(scene.store, [fewer])

    assert scene.use("crm").slots == 1
    assert scene.settle("c", uses=[fewer], done="a") == ""
    assert scene.settle("c", uses=[fewer], done="b") == "c"


def pruned(scene: Scene) -> int:
    """Prune what is done; return how many instances went."""
    which = prune.Which(before_ms=scene.clock.now_ms())
    connection, folder = scene.store.connection, scene.store.path.parent
    foreseen = prune.prunable(connection, which, clock=scene.clock)
    gone = sum(prune.prune(scene.store, stage.Stage(folder / "stage"), which))
    assert sum(each.instances for each in foreseen) == gone
    return gone


def ended(scene: Scene, *names: str) -> None:
    """Let instances be taken over and done."""
    with scene.store.write() as connection:
        connection.executemany(
            "UPDATE instance SET status = 'done', finished_at_ms = 1, seq = seq + 1,"
            " epoch = epoch + 1 WHERE id = ?",
            [(each,) for each in names],
        )


def test_an_instance_whose_slot_is_in_use_is_not_pruned(tmp_path: Path) -> None:
    """A process that sleeps may go on calling when it wakes, so nobody else gets its slot."""
    scene = Scene(tmp_path, Resource(name="crm", slots=1))
    asleep = stores.registered(scene.store)
    assert scene.settle("ad", by=asleep) == "a"
    assert scene.settle("b") == ""
    scene.overdue(asleep)
    ended(scene, "a", "c", "d")

    assert pruned(scene) == 2, "d only waited"
    assert scene.settle("b") == ""
    assert [each.instance for each in scene.use("crm").held] == ["a"]

    with scene.store.write() as connection:  # it is killed
        connection.execute("UPDATE worker SET pid_started = 1 WHERE n = ?", (asleep.n,))
    assert pruned(scene) == 1
    assert scene.settle("b") == "b"


def test_an_instance_stays_while_a_part_of_it_has_a_slot_in_use(tmp_path: Path) -> None:
    """Its parts go with it, and their rows with them."""
    scene = Scene(tmp_path, TWO)
    asleep = stores.registered(scene.store)
    scene.settle("b", by=asleep)
    scene.overdue(asleep)
    ended(scene, "a", "b")
    with scene.store.write() as connection:
        connection.execute(
            "UPDATE instance SET root = 1, seq = seq + 1, change = 'resume' WHERE id = 'b'"
        )

    assert pruned(scene) == 0
    assert stores.count(scene.store, "slot") == 1


def test_an_instance_that_is_pruned_leaves_no_row(tmp_path: Path) -> None:
    """A worker that died may have left one, and rows refer to the instance."""
    scene = Scene(tmp_path, TWO)
    scene.settle("a", by=stores.dead(scene.store))
    ended(scene, "a")

    assert pruned(scene) == 1
    assert stores.count(scene.store, "slot") == 0
