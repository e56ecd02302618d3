"""
The walk, for many instances at once.

One thread owns the store and turns this wheel:

    claim         the right to drive an instance: epoch + 1, committed
    dispatch      what rests is called, in an executor
    drain         outcomes and staged batches come back, and are decided (`outcomes.py`)
    commit        everything that became ready, as one transaction with one fsync
    acknowledge   memory, waiting tasks, observers: after the commit, never before
"""

import random
from collections.abc import Callable, Mapping
from typing import Any

from statepipe.errors import StatepipeError, TaskCancelled
from statepipe.model import Change, Checkpoint, Status
from statepipe.runtime.driving import cancelling, family, refusing, waits
from statepipe.runtime.driving.agenda import Agenda
from statepipe.runtime.driving.announcing import with_notices
from statepipe.runtime.driving.attempt import commit_of, mark_of
from statepipe.runtime.driving.calls import Calls
from statepipe.runtime.driving.changes import batched
from statepipe.runtime.driving.claiming import OTHER_QUEUE, Claiming
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.endings import Ended
from statepipe.runtime.driving.group import GROUP_MAX, LINGER_MS, Entry, Group
from statepipe.runtime.driving.inbox import Finished, Inbox, Question
from statepipe.runtime.driving.observers import Observers
from statepipe.runtime.driving.outcomes import farewell, outcome
from statepipe.runtime.driving.permits import Permits
from statepipe.runtime.driving.pools import Pools
from statepipe.runtime.driving.sizing import size_of
from statepipe.runtime.driving.waiting import Waiting
from statepipe.runtime.driving.wishing import heed, let_go
from statepipe.runtime.output.capture import Outbox
from statepipe.runtime.output.streams import nobody
from statepipe.runtime.program import RESTING, Program
from statepipe.store.file.connection import Store
from statepipe.store.liveness import Worker
from statepipe.store.stage.directory import Stage
from statepipe.store.stage.sweep import sweep, sweep_family
from statepipe.store.walk import claims, workers
from statepipe.store.walk.committer import Verdict
from statepipe.store.walk.ready import Scope


class Loop:
    """
    Drives instances until told to stop.

    Args:
        store: The open store; the loop's thread is the only one that may use it.
        worker: This process's row.
        pools: Where tasks run.
        stage: Where staged batches lie.
        rng: For jitter.
        in_flight_max: How many instances it drives at a time.
        observers: Who is told what was committed.
        staged_bytes_max: How much may be staged before nothing new begins; None for no bound.

    Attributes:
        drives: What it drives right now, by the instance's number.
        fenced: Ids of instances that were taken over by another process.
    """

    def __init__(
        self,
        *,
        store: Store,
        worker: Worker,
        pools: Pools,
        stage: Stage,
        rng: random.Random,
        in_flight_max: int,
        observers: Observers,
        staged_bytes_max: int | None = None,
    ) -> None:
        self.drives: dict[int, Drive] = {}
        self.fenced: list[str] = []
        self._store = store
        self._clock = store.clock
        self._worker = worker
        self._programs: dict[int, Program] = {}
        self._pools = pools
        self._stage = stage
        self._rng = rng
        self._observers = observers
        self._outbox = Outbox(self._clock)
        self._agenda = Agenda(self._clock)
        self._permits = Permits(store, worker, self._agenda, staged_bytes_max=staged_bytes_max)
        self._claiming = Claiming(
            store,
            worker,
            self._agenda,
            self._permits,
            drives=self.drives,
            in_flight_max=in_flight_max,
        )
        self._group = Group(store, self._outbox, self._permits)
        self._inbox = Inbox()
        self._waiting = Waiting(pools.slots, self._permits)
        self._calls = Calls(
            store, pools=pools, inbox=self._inbox, outbox=self._outbox, waiting=self._waiting
        )
        self._fresh = 0
        self._families = False  # may one that ends be another one's child?
        self._asked = False  # did we ask children to stop that we may drive?
        self._stopping: str | None = None
        self._broken: StatepipeError | None = None

    # The wheel

    def tick(self, *, wait_ms: int = 0) -> None:
        """
        Turn the wheel once; wait up to `wait_ms` for something to happen if nothing is ready.

        Raises:
            Busy, StoreUnusable: As `Committer.commit`. Nobody was told that anything is
                committed; the loop must not be used again.
        """
        self._claiming.glance()
        if self._agenda.is_due:
            self._claim()
            if not self.drives:
                return  # whoever waits for that sees it now, and not after a wait
        self._calls.kill_overdue()
        self._dispatch()
        patience_ms = self._agenda.patience_ms(self._calls.next_ms())
        self._drain(0 if self._group else min(wait_ms, patience_ms))
        self._gather()
        self._commit()

    def learn(self, program: Program) -> None:
        """Be able to drive instances of `program`; the scope must not name others."""
        self._programs[program.definition] = program
        self._families |= bool(program.children)
        self._group.policies.update(program.policies)

    def limit_to(self, scope: Scope) -> None:
        """Claim from now on what is in `scope`, and look for it at once."""
        self._claiming.limit_to(scope, self._programs)

    def adopt(self, checkpoint: Checkpoint) -> None:
        """Drive an instance that this worker has just claimed."""
        drive = Drive(checkpoint, self._programs[checkpoint.definition])
        if (older := self.drives.get(drive.n)) is not None:
            self._lose(older)  # another process had it meanwhile
        self.drives[drive.n] = drive
        self._calls.claimed(drive)
        self._waiting.put(drive)
        self._observers.journaled(self._store, drive.n, drive.seq)
        if checkpoint.epoch > 1:  # somebody drove it before, and may have died in the middle
            self._sweep(drive)

    def abandon(self) -> None:
        """Kill what still runs and let nobody wait; what is not committed did not happen."""
        for drive in self.drives.values():
            if drive.future is not None:
                self._calls.kill(drive, TaskCancelled("the process ends"), grace_ms=0)
        self._inbox.refuse_all()

    def settle(self) -> None:
        """Store what attempts have said and was too much for the commits so far."""
        while self._outbox.waiting:
            self._group.commit_output()

    def stop(self, reason: str) -> None:
        """Claim nothing more, let every instance go at its next boundary; safe in a signal."""
        self._stopping = reason
        self._agenda.look_at_once()

    @property
    def is_idle(self) -> bool:
        """True if nothing is driven, and nothing in scope is to be tried again."""
        return self._claiming.is_idle

    # Claim

    def _claim(self) -> None:
        agenda = self._agenda
        agenda.look_later()
        if agenda.renews(lease_ms=self._worker.lease_ms):
            workers.renew(self._store, self._worker)
        if self._stopping:
            self.let_all_go(self._stopping)
            return
        self._notice_wishes()
        for checkpoint in self._claiming.claim():
            self.adopt(checkpoint)
        if not self.drives:
            self._store.checkpoint_wal(above_bytes=0)

    def _notice_wishes(self) -> None:
        """See what other processes asked of our instances; costs nothing if none wrote."""
        if not self._claiming.others_wrote() and not self._asked:
            return
        self._asked = False
        numbers = claims.wished(self._store.connection, self._worker)
        heed(map(self.drives.get, numbers), self._waiting, reread=self._reread)

    def let_all_go(self, reason: str) -> None:
        """Let every instance go at its next boundary; it is, once `drives` is empty."""
        let_go(self.drives.values(), self._waiting, self._calls, reason=reason)

    # Dispatch

    def _dispatch(self) -> None:
        while not self._group.is_due and (drive := self._waiting.next(self._pools)) is not None:
            if drive.wish is None:
                self._act(drive)
            else:
                reason = self._stopping or drive.leaves or OTHER_QUEUE
                change = farewell(drive, reason=reason, at_ms=self._clock.now_ms())
                self._group.add(Entry(drive, change, None), None)

    def _act(self, drive: Drive) -> None:
        if (refusal := self._calls.refusal(drive)) is not None:
            self._permits.give_back(drive)
            self._conclude(drive, refusal, None)
            return
        if drive.part.work in RESTING:
            rests = waits if drive.part.work == "wait" else family
            change, attachment = rests.turn(drive, self._store, worker=self._worker.n)
            self._group.add(Entry(drive, change, None), attachment)
            return
        if drive.part.work == "cancel" and (rest := cancelling.turn(drive, self._store)):
            self._permits.give_back(drive)
            self._group.add(Entry(drive, rest, None), None)
            return
        ended = self._calls.begin(drive, self._ask_inline)
        if self._broken is not None:
            raise self._broken
        if ended is None:
            self._fresh += 1
        else:
            self._finish(ended)

    def _ask_inline(self, drive: Drive, attempt_id: int, request: Mapping[str, Any]) -> Any:  # noqa: ANN401  (plain data)
        """Answer at once: the task runs in the loop's own thread and holds it up."""
        question = Question(drive, attempt_id, request)
        try:
            with nobody():  # what we and our observers print is not the task's
                self._respond(question)
                while not question.is_answered:
                    self._commit()
        except StatepipeError as error:
            # It passes through the author's code, which may take it for its own; `_act` raises it.
            self._broken = error
            raise
        return question.wait()

    # Drain

    def _drain(self, wait_ms: int) -> bool:
        """Take what has come, or comes within `wait_ms`; False if nothing has."""
        messages = self._inbox.take(wait_ms=wait_ms, limit=GROUP_MAX)
        for message in messages:
            if isinstance(message, Question):
                self._respond(message)
            else:
                self._finish(message)
        return bool(messages)

    def _gather(self) -> None:
        """
        Let attempts that began since the last commit come to this one, if they are quick.

        One instance alone has nobody to wait for, and attempts that take their time are
        waited for once, when they begin.
        """
        while self._group and self._fresh > 0 and not self._group.is_due:
            if self._inbox.has_kept or not self._drain(LINGER_MS):
                return
            self._dispatch()

    def _respond(self, question: Question) -> None:
        drive = question.drive
        if not question.is_of_its_current_attempt or self.drives.get(drive.n) is not drive:
            question.refuse()
            return
        if drive.pending:
            self._inbox.keep(question)
            return
        drive.heard_boot_ms = self._clock.boot_ms()
        done = commit_of(question.request)
        if self._calls.holds(question):
            return
        if done is None and drive.wish in (None, "pause"):
            self._calls.answer(question, reread=self._reread)
        elif done is None or drive.must_end:
            question.refuse()
        else:
            at_ms = self._clock.now_ms()
            mark = mark_of(question.request)
            change, attachment = batched(drive, done, mark=mark, worker=self._worker.n, at_ms=at_ms)
            self._group.add(Entry(drive, change, question), with_notices(drive, change, attachment))

    def _finish(self, message: Finished) -> None:
        drive = message.drive
        self._fresh -= self._calls.tally(message)
        if self.drives.get(drive.n) is not drive or drive.attempt_id != message.attempt_id:
            message.capture.end()
        elif drive.pending:
            self._inbox.keep(message)
        elif (ended := self._calls.ended(message)) is None:
            self._calls.hear_due(drive)
        else:
            self._conclude(drive, ended, message)

    def _conclude(self, drive: Drive, ended: Ended, message: Finished | None) -> None:
        change, attachment = outcome(
            drive,
            ended,
            worker=self._worker.n,
            clock=self._clock,
            rng=self._rng,
            took_ms=None if message is None else message.took_ms,
        )
        self._group.add(Entry(drive, change, message), attachment)

    # Commit, acknowledge

    def _commit(self) -> None:
        self._fresh = 0
        for entry, verdict in self._group.commit():
            if verdict is Verdict.COMMITTED:
                self._acknowledge(entry)
            elif verdict is Verdict.REFUSED:
                refusing.settle(entry, self._group, worker=self._worker.n, clock=self._clock)
            elif self._reread(entry.drive):
                self._again(entry)
            elif isinstance(entry.message, Question):
                entry.message.refuse()
        self._store.checkpoint_wal()
        if self._inbox.has_kept:
            self._drain(0)

    def _acknowledge(self, entry: Entry) -> None:
        drive, change, message = entry.drive, entry.change, entry.message
        detail, attempt = change.detail, drive.attempt + 1
        if drive.part.work in family.OTHERS_WORK:
            self._asked = True
            self._agenda.look_again()
        drive.committed(change)
        if isinstance(message, Question):
            if self._stopping:  # an inline task holds up the loop that would say so
                drive.wish = drive.wish or "stop"
            if drive.wish is None:
                message.answer(size_of(drive))
            else:
                message.refuse()
            self._calls.hear_due(drive)
        elif change.status == Status.READY and (detail is None or detail.worker is not None):
            self._claiming.hand_over(drive)
            self._waiting.put(drive)
        else:
            self._let_go(drive, change)
        self._observers.changed(entry, attempt=attempt)

    def _let_go(self, drive: Drive, change: Change) -> None:
        del self.drives[drive.n]
        # Who rests for its end, as a parent or for its data, may be ready now.
        self._claiming.gave_room(wakes=self._families or drive.program.delivers)
        self._agenda.rests(change.detail)
        is_done = change.status == Status.DONE
        if is_done and (drive.picture.input is not None or drive.program.children):
            # Its rows went with the commit: row first, file after, and never a hole.
            self._sweep(drive, sweep_family)

    def _sweep(self, drive: Drive, sweeps: Callable[..., None] = sweep) -> None:
        facts: dict[str, Any] = {"n": drive.n, "instance_id": drive.id, "epoch": drive.epoch}
        sweeps(self._stage, self._store.connection, **facts)

    def _again(self, entry: Entry) -> None:
        """Decide once more, now that the row was read again: somebody asked for something."""
        if entry.message is None:
            self._waiting.put(entry.drive)
        else:
            self._inbox.keep(entry.message)

    def _reread(self, drive: Drive) -> bool:
        """Copy the row again; False, and the instance is let go, if it is no longer ours."""
        checkpoint = claims.find_checkpoint(self._store.connection, drive.n)
        if checkpoint is not None and checkpoint.epoch == drive.epoch:
            drive.refresh(checkpoint)
            if drive.must_end:
                self._calls.ask_to_stop(drive)
            return True
        self._lose(drive)
        return False

    def _lose(self, drive: Drive) -> None:
        """Let an instance go that was taken over, and perhaps pruned since; unless it is gone."""
        if self.drives.get(drive.n) is drive:
            del self.drives[drive.n]
            self.fenced.append(drive.id)
            self._observers.fenced(drive, at_ms=self._clock.now_ms())
            self._calls.forget(drive)
