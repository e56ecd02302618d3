"""
The calls of the attempts under way: begun, told whose turn it is, ended.

    Calls.begin       the first call of an attempt, its lead
    Calls.answer      a question that needs no commit
    Calls.holds       is a question kept until it is its turn?
    Calls.hear_due    let kept questions be heard whose turn it is now
    Calls.ended       one call has ended: how the attempt did, once all its calls have
    Calls.kill, Calls.forget, Calls.ask_to_stop, Calls.kill_overdue

An attempt that maps batches may have several calls (`parallel`), each in a worker of its
own: the lead, and others beside it that do the same with other batches. Batches are handed
out as they are asked for and committed in their order, so a checkpoint has no gap, and a
crash costs no more than the batches in the making: one for each call. The lead asks for
the others, waits for them when the input has ended, and brings the outcome. If one call
fails, the others are ended and the attempt has failed. A call beside the lead ends early if
another instance waits for its place.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import cached_property, partial
from typing import Any, Final

from statepipe.errors import Fenced, TaskCancelled
from statepipe.runtime.driving import attempt as attempts
from statepipe.runtime.driving import jobs, readying
from statepipe.runtime.driving.attempt import CANCELLED_ATTEMPT
from statepipe.runtime.driving.deadlines import Deadlines
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.endings import Ended
from statepipe.runtime.driving.inbox import Finished, Inbox, Question
from statepipe.runtime.driving.pools import Pools
from statepipe.runtime.driving.waiting import Waiting
from statepipe.runtime.output.capture import Outbox
from statepipe.runtime.output.streams import Beside, Captured
from statepipe.runtime.tasks.attempts import perform
from statepipe.store.file.connection import Store
from statepipe.store.stage import rows as staged
from statepipe.store.tokens import Pass, Signer, signer_of

#: Stands for the future of an inline attempt while it runs: `submit` returns after its end.
UNDER_WAY: Final[Future[Mapping[str, Any]]] = Future()

AskInline = Callable[[Drive, int, Mapping[str, Any]], Any]


class _Shared:
    """
    The input of an attempt that may have several calls.

    Attributes:
        lead: The first call's function, and what it prints.
        handed: The next batch to hand out.
        landed: The next batch to load: the destination has all before it.
        running: Its calls that have not ended.
        held: Questions that are kept until it is their turn.
        ended: How the attempt ended, as soon as that is certain.
    """

    __slots__ = ("ended", "handed", "held", "landed", "lead", "running")

    def __init__(self, lead: Captured, *, first: int) -> None:
        self.lead = lead
        self.handed = self.landed = first
        self.running: set[Future[Mapping[str, Any]]] = set()
        self.held: list[Question] = []
        self.ended: Ended | None = None


class Calls:
    """
    The calls of one loop.

    Args:
        store: The open store.
        pools: Where they run.
        inbox: Where they ask, and are told of when they end.
        outbox: Where what they print and log goes.
        waiting: Who waits for an executor: calls beside others make room for them. Its
            permits are told when an attempt has ended, for what it held.
    """

    def __init__(
        self, store: Store, *, pools: Pools, inbox: Inbox, outbox: Outbox, waiting: Waiting
    ) -> None:
        self._store = store
        self._clock = store.clock
        self._pools = pools
        self._inbox = inbox
        self._outbox = outbox
        self._permits = waiting.permits
        self._waiting = waiting
        self._deadlines = Deadlines(store.clock)
        self._shared: dict[int, _Shared] = {}
        self.claimed = self._deadlines.claimed
        self.refusal = self._deadlines.refusal
        self.next_ms = self._deadlines.next_ms

    def begin(self, drive: Drive, ask_inline: AskInline) -> Finished | None:
        """Begin an attempt; return its end if it ran inline, its questions to `ask_inline`."""
        drive.attempt_id += 1
        drive.began_boot_ms = drive.heard_boot_ms = self._clock.boot_ms()
        call = attempts.call_of(drive, self._store)
        if drive.part.work == "job":
            call |= jobs.call_of(drive, self._store)
        if drive.part.calls_back:
            call["callback_token"] = self._signer.token(Pass(drive.id, *drive.stay))
        whose = (drive.n, drive.epoch, drive.generation, drive.state, drive.attempt + 1)
        task = Captured(self._outbox, whose, perform)
        policy = drive.part.policy
        kind = policy.executor
        self._pools.busy[kind] += 1
        drive.calls += 1
        drive.future = UNDER_WAY
        if kind == "inline":
            ask = partial(ask_inline, drive, drive.attempt_id)
            drive.future = self._pools.get(kind).submit(task, call, ask)
            return Finished(drive, kind, task, self._inbox, drive.future)
        if policy.parallel > 1:
            self._shared[drive.n] = _Shared(task, first=drive.batches)
        drive.future = self._submit(drive, task, call)
        self._deadlines.watch(drive)
        if kind == "process":
            self._pools.make_ready(readying.for_machine(drive))
        return None

    @cached_property
    def _signer(self) -> Signer:
        return signer_of(self._store.path)

    def answer(self, question: Question, *, reread: Callable[[Drive], bool]) -> None:
        """Answer a question that needs no commit; `reread` tells whether we still may."""
        try:
            answer = self._answer_to(question)
        except attempts.GivenBackError:  # we slept, and others have done the parent
            if reread(question.drive):
                raise
            question.refuse()
        else:
            question.answer(answer)

    def _answer_to(self, question: Question) -> Any:  # noqa: ANN401  (plain data of any type)
        drive, ask = question.drive, question.request["ask"]
        if ask == "next":
            return self._hand_out(drive, beside=bool(question.request.get("beside")))
        if ask == "share":
            return self._share(drive)
        if ask == "join":
            return list(staged.handled(self._store.connection, drive.n, drive.stay))
        if ask == "turn":
            return None
        return attempts.answer_of(drive, question.request, self._store)

    def holds(self, question: Question) -> bool:
        """Return True if `question` was kept, or refused because its attempt has ended."""
        self._pools.make_ready(readying.for_batch(question.drive, question.request))
        shared = self._shared.get(question.drive.n)
        if shared is None:
            return False
        if shared.ended is not None:
            question.refuse()
            return True
        if question.request["ask"] == "loaded":
            self._let_load(question, shared)
        if self._is_its_turn(question, shared):
            return False
        shared.held.append(question)
        return True

    def hear_due(self, drive: Drive) -> None:
        """Let the kept questions of the attempt whose turn it is be heard again."""
        shared = self._shared.get(drive.n)
        if shared is None:
            return
        due = [each for each in shared.held if self._is_its_turn(each, shared)]
        shared.held = [each for each in shared.held if each not in due]
        for question in due:
            self._inbox.keep(question)

    def tally(self, message: Finished) -> bool:
        """Note that a call has ended; False if that was noted before."""
        if message.took_ms is not None:
            return False
        message.took_ms = self._clock.boot_ms() - message.drive.began_boot_ms
        self._pools.busy[message.executor] -= 1
        message.drive.calls -= 1
        self._permits.ended(message)
        return True

    def ended(self, message: Finished) -> Ended | None:
        """Return how the attempt ended of which a call did; None while others go on."""
        drive, future = message.drive, message.future
        ended = attempts.ended_of(future)
        message.capture.end(ended.failure and attempts.traceback_of(future))
        shared = self._shared.get(drive.n)
        if shared is not None:
            shared.running.discard(future)
            is_lead = future is drive.future
            if is_lead or ended.failure is not None or ended is CANCELLED_ATTEMPT:
                self._settle(drive, shared, ended)
            if shared.ended is None or shared.running:
                return None
            del self._shared[drive.n]
            ended = shared.ended
        drive.future = None
        return ended

    def kill(self, drive: Drive, error: BaseException, *, grace_ms: int | None = None) -> None:
        """End the attempt under way, by force after `grace_ms`, or else what its policy grants."""
        assert drive.future is not None
        policy = drive.part.policy
        grace_ms = policy.grace_ms if grace_ms is None else grace_ms
        pool = self._pools.get(policy.executor)
        shared = self._shared.get(drive.n)
        if shared is None:
            pool.kill(drive.future, error, grace_ms=grace_ms)
            return
        for future in tuple(shared.running):
            pool.kill(future, error, grace_ms=grace_ms)
        while shared.held:
            shared.held.pop().refuse()

    def forget(self, drive: Drive) -> None:
        """End what runs of an instance that was taken over, or waits; nobody hears how."""
        self._waiting.forget(drive)
        if drive.future is not None:
            self.kill(drive, Fenced(f"{drive.id!r} was taken over by another process"))
            drive.future = None  # its time is no longer watched
        self._shared.pop(drive.n, None)

    def ask_to_stop(self, drive: Drive) -> None:
        """End the attempt under way, if any, because of a wish; it is then no failure."""
        if drive.future is not None:
            grace_ms = 0 if drive.wish == "kill" else None
            self.kill(drive, TaskCancelled("the attempt was asked to stop"), grace_ms=grace_ms)

    def kill_overdue(self) -> None:
        """Kill every attempt whose time is up; its end then says so."""
        for drive, error in self._deadlines.overdue():
            self.kill(drive, error)

    def _submit(
        self, drive: Drive, task: Captured, call: Mapping[str, Any]
    ) -> Future[Mapping[str, Any]]:
        kind = drive.part.policy.executor
        ask = partial(self._inbox.ask, drive, drive.attempt_id)
        future: Future[Mapping[str, Any]] = self._pools.get(kind).submit(task, call, ask)
        shared = self._shared.get(drive.n)
        if shared is not None:
            shared.running.add(future)
        future.add_done_callback(Finished(drive, kind, task, self._inbox))
        return future

    def _hand_out(self, drive: Drive, *, beside: bool) -> dict[str, Any] | None:
        """Return the next batch that nobody works on, None if there is none for this call."""
        if beside and self._waiting.wants(drive.part.policy.executor):
            return None
        shared = self._shared.get(drive.n)
        number = drive.batches if shared is None else shared.handed
        given = attempts.input_of(drive, number, self._store)
        if given is not None and shared is not None:
            shared.handed += 1
        return given

    def _share(self, drive: Drive) -> None:
        """Begin further calls, as many as there are batches for, and room that nobody needs."""
        shared = self._shared[drive.n]
        policy = drive.part.policy
        kind = policy.executor
        call = {**attempts.call_of(drive, self._store), "beside": True}
        while (
            len(shared.running) < policy.parallel
            and self._pools.has_room(kind)
            and attempts.input_of(drive, shared.handed + len(shared.running), self._store)
            and self._permits.has_another(drive)
        ):
            self._pools.busy[kind] += 1
            drive.calls += 1
            self._submit(drive, Beside(shared.lead), call)

    def _let_load(self, loaded: Question, shared: _Shared) -> None:
        """Let the next batch be loaded while the commit of the one that has landed is made."""
        shared.landed = max(shared.landed, loaded.request["number"] + 1)
        for question in tuple(shared.held):
            is_turn = question.request["ask"] == "turn" and self._is_its_turn(question, shared)
            if is_turn and question.drive.wish is None:
                shared.held.remove(question)
                question.answer(None)

    def _is_its_turn(self, question: Question, shared: _Shared) -> bool:
        if question.request["ask"] == "join":
            return len(shared.running) == 1
        if question.request["ask"] == "turn" and question.request["number"] <= shared.landed:
            return True
        number = attempts.number_of(question.request)
        # A batch that the destination has lost since is loaded again, and has had its turn.
        return number is None or number <= question.drive.batches

    def _settle(self, drive: Drive, shared: _Shared, ended: Ended) -> None:
        """Let the first call that fails, or else the lead, say how the attempt ended."""
        if shared.ended is None:
            shared.ended = ended
            if shared.running:
                self.kill(drive, TaskCancelled("another call of the attempt has ended it"))
