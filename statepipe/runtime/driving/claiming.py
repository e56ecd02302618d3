"""
What one loop claims: as much as there is room for, of all machines in turn.

    Claiming.limit_to   from now on only what is in a scope
    Claiming.claim      what there is room for, and when to look again
    Claiming.glance     look at once if another process has written
    Claiming.is_idle    nothing is driven, and nothing in scope is to be tried again
    Claiming.hand_over  an instance that is in a state that others drive now

However long the instances of one machine take, another one is claimed: if there is no room, one
of each machine of which nothing is under way goes in besides, off every executor, so that it is
next where it needs one (`waiting.py`). Not at the first look, but at the second: a process that
has room is to have it.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import takewhile
from typing import Final

from statepipe.model import Checkpoint
from statepipe.runtime.driving.agenda import Agenda
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.group import GROUP_MAX
from statepipe.runtime.driving.permits import Permits
from statepipe.runtime.program import Program
from statepipe.store.file.connection import Store
from statepipe.store.liveness import Worker
from statepipe.store.walk import claims, ready
from statepipe.store.walk.ready import Scope

#: Why a worker lets an instance go on its way, for the journal.
OTHER_QUEUE: Final = "the state is of another queue"

_NOTHING: Final = Scope(instances=frozenset())


class Claiming:
    """
    The claims of one loop.

    Args:
        store: The open store.
        worker: This process's row.
        agenda: Told when to look again.
        permits: Those that wait there do not count as in flight.
        drives: What the loop drives right now.
        in_flight_max: How many instances that may be.
    """

    def __init__(
        self,
        store: Store,
        worker: Worker,
        agenda: Agenda,
        permits: Permits,
        *,
        drives: Mapping[int, Drive],
        in_flight_max: int,
    ) -> None:
        self._store = store
        self._worker = worker
        self._agenda = agenda
        self._permits = permits
        self._drives = drives
        self._in_flight_max = in_flight_max
        self._scope = _NOTHING
        self._passed_over: frozenset[int] = frozenset()
        self._heard = False

    def limit_to(self, scope: Scope, programs: Mapping[int, Program]) -> None:
        """Claim from now on what is in `scope`, and look for it at once."""
        limits = {n: each.limit for n, each in programs.items() if each.limit is not None}
        self._scope = scope._replace(limits=limits)
        self._agenda.look_again()

    def glance(self) -> None:
        """Look at once if another process has written: somebody may have been woken."""
        if self._agenda.glances() and self._store.others_wrote():
            self._heard = True
            self._agenda.look_at_once()

    def others_wrote(self) -> bool:
        """Return True if another process has written since this was last asked."""
        heard, self._heard = self._heard, False
        return self._store.others_wrote() or heard

    def claim(self) -> list[Checkpoint]:
        """Claim what there is room for."""
        agenda, drives = self._agenda, self._drives
        under_way = Counter(drive.program.definition for drive in drives.values())
        limit = min(self._in_flight_max - len(drives) + self._permits.beside, GROUP_MAX)
        agenda.forget_timers()  # without room, nobody can be woken
        if limit <= 0:
            return self._claim_besides(under_way)
        claimed = claims.claim_ready(
            self._store, self._worker, scope=self._scope, limit=limit, under_way=under_way
        )
        if len(claimed) == limit:  # there may be more, ready and not yet claimed
            agenda.look_at_once()
        agenda.wake_at(ready.next_timer_boot_ms(self._store, scope=self._scope))
        agenda.saw_all = len(claimed) < limit
        return claimed

    @property
    def is_idle(self) -> bool:
        """True if nothing is driven, and nothing in scope is to be tried again."""
        if self._drives or not self._agenda.saw_all:
            return False
        return not ready.tries_again(self._store, self._scope)

    def gave_room(self, *, wakes: bool) -> None:
        """Look again soon if somebody may have waited for what was just let go, or was woken."""
        agenda = self._agenda
        if wakes or self._scope.limits:  # its key may be another's now
            agenda.look_again()
        elif not agenda.saw_all or not self._drives:
            agenda.look_at_once()  # there is room for what is ready and not yet claimed

    def hand_over(self, drive: Drive) -> None:
        """Let `drive` go if it is in a state of a queue that this process does not work on."""
        elsewhere = self._scope.elsewhere
        if elsewhere and (drive.program.definition, drive.state) in elsewhere:
            drive.wish = drive.wish or "stop"

    def _claim_besides(self, under_way: Mapping[int, int]) -> list[Checkpoint]:
        """Claim one of each machine that has nothing under way, and is next for the second time."""
        idle = (self._scope.definitions or frozenset()) - under_way.keys()
        if not idle:
            return []
        found = ready.find_ready(
            self._store,
            dead=claims.dead_workers(self._store, me=self._worker),
            scope=self._scope,
            limit=len(idle),
            under_way=under_way,
            each_max=1,
        )
        next_ones = takewhile(lambda each: each.definition in idle, found)
        waiting = frozenset(each.definition for each in next_ones)
        again, self._passed_over = waiting & self._passed_over, waiting
        if not again:
            return []
        scope = self._scope._replace(definitions=again)
        return claims.claim_ready(
            self._store, self._worker, scope=scope, limit=len(again), each_max=1
        )
