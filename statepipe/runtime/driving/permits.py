"""
What an attempt needs before it begins: slots, a permit, room for what it will stage.

    Permits.stops       a drive that cannot just begin is kept here, off every executor
    Permits.next        one whose turn it is; None if it is nobody's
    Permits.let_go      one that was asked to stop does not wait any longer
    Permits.forget      nor does one that was taken over
    Permits.wants       does one wait for an executor of this kind alone?
    Permits.has_another     is there a slot for one more call of an attempt under way?
    Permits.ended       a call has ended: what it held is given back
    Permits.give_back   an attempt did not begin after all
    Permits.leaves      that, for the commit of its outcome

Whoever waits costs nothing: it is looked at when something was given back here, when a
permit is due, and otherwise with every look at the store. An instance that has staged nothing
does not begin while there is no room; those that have go on, so room comes back. The room
is asked for once, before the slots: nobody holds a place in a queue that waits for room.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from statepipe.policy import ExecutorKind
from statepipe.resources import Resource, held_back
from statepipe.runtime.driving.agenda import POLL_MS, Agenda
from statepipe.runtime.driving.attempt import ended_of
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.inbox import Finished
from statepipe.runtime.driving.pools import Pools
from statepipe.store import liveness
from statepipe.store.file.connection import Store
from statepipe.store.liveness import Worker
from statepipe.store.stage import rows as staged
from statepipe.store.walk import resources
from statepipe.store.walk.presence import Absent, RollCall
from statepipe.store.walk.resources import End, Want

#: So many that wait are claimed besides those that may be in flight; a row and a few KB each.
PARKED_MAX: Final = 1_000

_US_A_MS: Final = 1_000


class Permits:
    """
    The drives of one loop that wait before they begin.

    Args:
        store: The open store.
        worker: This process's row.
        agenda: Told when the next permit is due.
        staged_bytes_max: Above it there is no room; None for no bound.

    Attributes:
        keeps_any: False if nobody waits here, so that those who need nothing lose no time.
    """

    def __init__(
        self, store: Store, worker: Worker, agenda: Agenda, *, staged_bytes_max: int | None
    ) -> None:
        self._store = store
        self._clock = store.clock
        self._worker = worker
        self._agenda = agenda
        self._staged_bytes_max = staged_bytes_max
        self._roll_call = RollCall(store.clock)
        # By number of the instance, those that came first in front. Who waits for room has a
        # place in no queue; who waits for an executor has none yet.
        self._roomless: dict[int, _Waiter] = {}
        self._parked: dict[int, _Waiter] = {}
        self._granted: deque[Drive] = deque()
        self._freed: list[int] = []
        self._closed: dict[str, int] = {}
        self._look_at_ms = 0
        self._has_more = False
        self.keeps_any = False

    def stops(self, drive: Drive) -> bool:
        """Keep `drive` if it cannot just begin; return whether that is so."""
        if not drive.part.uses and self._staged_bytes_max is None:
            return False
        needs_room = self._staged_bytes_max is not None and not _has_staged(drive)
        if not drive.part.uses and not needs_room:
            return False
        (self._roomless if needs_room else self._parked)[drive.n] = _Waiter(drive)
        self._look_at_ms = 0
        self.keeps_any = True
        return True

    def next(self, pools: Pools) -> Drive | None:
        """Take out the first whose turn it is, and for which an executor has room."""
        if not self._granted and (self._parked or self._roomless):
            now_ms = self._clock.boot_ms()
            if now_ms >= self._look_at_ms:
                self._look(pools)
                for waiter in (*self._parked.values(), *self._kept_out):
                    waiter.since_ms = waiter.since_ms or now_ms
            self._agenda.wake_at(self._look_at_ms)
        if not self._granted:
            self.keeps_any = bool(self._parked or self._roomless)
            return None
        drive = self._granted.popleft()
        if drive.wish is not None:
            self.give_back(drive)
        return drive

    def let_go(self, drive: Drive) -> bool:
        """Keep `drive` no longer; return whether it was here."""
        waiter = self._parked.pop(drive.n, None) or self._roomless.pop(drive.n, None)
        if waiter is None:
            return False
        drive.waited_ms += waiter.waited_ms(self._clock.boot_ms())
        self._freed += waiter.places
        return True

    def forget(self, drive: Drive) -> None:
        """Keep `drive` no longer, and nothing for it: it was taken over."""
        if not self.let_go(drive) and drive in self._granted:
            self._granted.remove(drive)
            self.give_back(drive)

    def wants(self, kind: ExecutorKind) -> bool:
        """Return True if somebody waits for nothing but an executor of this kind."""
        if any(each.kind == kind and not each.places for each in self._roomless.values()):
            return True
        # As many ask as executors have room for; while one has asked, there is room for it.
        parked = [each for each in self._parked.values() if each.kind == kind]
        return bool(parked) and not any(each.places for each in parked)

    def has_another(self, drive: Drive) -> bool:
        """Take slots for one more call of the attempt, if that is nobody else's turn."""
        uses = _of_each_call(drive)
        if not uses:
            return True
        kind = drive.part.policy.executor
        settled = resources.settle(
            self._store,
            self._worker,
            [Want(drive.n, drive.epoch, uses, kind)],
            end=None,
            absent=self._absent(),
            room={kind: 1},
        )
        (places,) = settled.places
        if settled.granted:
            drive.places += places
        else:
            self._freed += places
        return bool(settled.granted)

    def ended(self, message: Finished) -> None:
        """Give back what a call held; with the last one, all that its attempt held."""
        drive = message.drive
        if self._has_more:  # an executor has room now
            self._look_at_ms = 0
        if not drive.part.uses:
            return
        failure = ended_of(message.future).failure
        if failure is not None and failure.retry_after_ms is not None:
            until_us = self._clock.boot_us() + failure.retry_after_ms * _US_A_MS
            for each in held_back(drive.part.uses):
                self._closed[each.name] = max(until_us, self._closed.get(each.name, 0))
        if drive.calls:
            left = len(drive.places) - len(_of_each_call(drive))
            self._freed += drive.places[left:]
            drive.places = drive.places[:left]
        else:
            self.give_back(drive)

    @property
    def leaves(self) -> End | None:
        """What is given back with the next commit; None if there is nothing."""
        if not self._freed and not self._closed:
            return None
        return End(tuple(self._freed), dict(self._closed), self._clock.boot_id)

    def left(self, end: End) -> None:
        """Note that `end` was committed."""
        del self._freed[: len(end.places)]
        self._closed.clear()
        self._look_at_ms = 0

    @property
    def beside(self) -> int:
        """How many wait here and do not count as in flight."""
        return min(PARKED_MAX, len(self._parked) + len(self._kept_out))

    @property
    def _kept_out(self) -> list["_Waiter"]:
        """Those for which there is no room; others among the roomless wait for an executor."""
        return [waiter for waiter in self._roomless.values() if waiter.places]

    def _absent(self) -> Absent:
        others = liveness.workers(self._store.connection)
        return self._roll_call.absent(each for each in others if each.n != self._worker.n)

    def give_back(self, drive: Drive) -> None:
        """Give back what is held for an attempt of `drive`."""
        self._freed += drive.places
        drive.places = ()

    def _look(self, pools: Pools) -> None:
        """See whose turn it is, and when to look again."""
        now_ms = self._clock.boot_ms()
        self._look_at_ms = now_ms + POLL_MS
        self._has_more = False
        self._let_late_ones_fail(now_ms)
        absent = self._absent()
        room: dict[str, int] = {kind: pools.slots[kind] - pools.busy[kind] for kind in pools.slots}
        has_room = bool(self._roomless) and self._makes_room(absent)
        if asking := self._asking(room):
            self._settle(asking, absent=absent, room=room)
        if has_room:
            self._let_in(room)

    def _settle(self, asking: list["_Waiter"], *, absent: Absent, room: dict[str, int]) -> None:
        """Let those ask, and grant what it is their turn for; takes that from `room`."""
        now_ms = self._clock.boot_ms()
        end = self.leaves
        settled = resources.settle(
            self._store,
            self._worker,
            [waiter.want for waiter in asking],
            end=end,
            absent=absent,
            room=room,
        )
        if end is not None:
            self.left(end)
        for waiter, places in zip(asking, settled.places, strict=True):
            waiter.places = places
        for at in settled.granted:
            room[asking[at].kind] -= 1
            self._grant(self._parked.pop(asking[at].drive.n), now_ms)
        for at in settled.fenced:
            self._lost(asking[at].drive)
        for at in settled.withdrawn:  # it asks again, behind those that came meanwhile
            self._has_more = True
            self._parked[asking[at].drive.n] = self._parked.pop(asking[at].drive.n)
        self._look_at_ms = now_ms + POLL_MS
        if settled.due_us is not None:
            self._look_at_ms = min(self._look_at_ms, -(-settled.due_us // _US_A_MS))

    def _asking(self, room: Mapping[str, int]) -> list["_Waiter"]:
        """Return those that have asked, and as many more as executors have room for."""
        asked = [waiter for waiter in self._parked.values() if waiter.places]
        asked.sort(key=lambda waiter: waiter.places)
        left = dict(room)
        for waiter in asked:
            left[waiter.kind] -= 1
        for waiter in self._parked.values():
            if not waiter.places and left[waiter.kind] > 0:
                left[waiter.kind] -= 1
                asked.append(waiter)
        self._has_more = len(asked) < len(self._parked)
        return asked

    def _makes_room(self, absent: Absent) -> bool:
        """Return whether there is room for what will be staged; if so, its users ask for slots."""
        assert self._staged_bytes_max is not None, "without a bound there is always room"
        absent_workers = {n for n, _ in absent.gone | absent.silent}
        used = staged.bytes_in_flight(self._store.connection, without=absent_workers)
        if used < self._staged_bytes_max:
            for waiter in tuple(self._roomless.values()):
                self._freed += waiter.places
                waiter.places = ()
                if waiter.drive.part.uses:
                    self._parked[waiter.drive.n] = self._roomless.pop(waiter.drive.n)
            return True
        waiters = [waiter for waiter in self._roomless.values() if not waiter.places]
        if waiters:  # so that people can see what they wait for
            wants = [waiter.want._replace(uses=()) for waiter in waiters]
            settled = resources.settle(
                self._store, self._worker, wants, end=None, absent=resources.NOBODY, room={}
            )
            for waiter, places in zip(waiters, settled.places, strict=True):
                waiter.places = places
            for at in settled.fenced:
                self._lost(waiters[at].drive)
        return False

    def _lost(self, drive: Drive) -> None:
        """Let the loop find out that `drive` is no longer ours: to leave is what tells it."""
        self.let_go(drive)
        drive.wish = drive.wish or "stop"
        self._granted.append(drive)

    def _let_in(self, room: dict[str, int]) -> None:
        """Let as many begin that waited for room alone as executors can run at once."""
        for waiter in tuple(self._roomless.values()):
            if room[waiter.kind] > 0:
                room[waiter.kind] -= 1
                self._grant(self._roomless.pop(waiter.drive.n), self._clock.boot_ms())
            else:
                self._has_more = True

    def _let_late_ones_fail(self, now_ms: int) -> None:
        """Let those begin whose deadline has passed: they are refused, and hold nothing."""
        for waiter in [*self._parked.values(), *self._roomless.values()]:
            ends_ms = waiter.drive.ends_boot_ms
            if ends_ms is not None and now_ms >= ends_ms and self.let_go(waiter.drive):
                self._granted.append(waiter.drive)

    def _grant(self, waiter: "_Waiter", now_ms: int) -> None:
        drive = waiter.drive
        drive.places = waiter.places
        drive.waited_ms += waiter.waited_ms(now_ms)
        self._granted.append(drive)


class _Waiter:
    """
    A drive that waits.

    Attributes:
        places: Its rows, once it has asked.
        since_ms: When it was first seen that it has to wait, by the boot clock; 0 before.
    """

    __slots__ = ("drive", "kind", "places", "since_ms")

    def __init__(self, drive: Drive) -> None:
        self.drive = drive
        self.kind = drive.part.policy.executor
        self.since_ms = 0
        self.places: tuple[int, ...] = ()

    def waited_ms(self, now_ms: int) -> int:
        return now_ms - self.since_ms if self.since_ms else 0

    @property
    def want(self) -> Want:
        drive = self.drive
        return Want(drive.n, drive.epoch, drive.part.uses, self.kind, self.places)


def _of_each_call(drive: Drive) -> tuple[Resource, ...]:
    """Return what each call of an attempt has a slot of."""
    return tuple(replace(each, rate=None) for each in drive.part.uses if each.slots)


def _has_staged(drive: Drive) -> bool:
    # What is being cancelled stages nothing.
    return drive.batches > 0 or drive.picture.input is not None or drive.part.work == "cancel"
