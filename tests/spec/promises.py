"""
The promises as plain Python: what one instance must be after each row of its journal.

    Row         one row of the journal
    Moment      the clocks, who lives, and what was emitted when the row was written
    Sent        the model of one signal
    Instance    the model of one instance; `apply` judges a row and takes it over

Nothing here looks at the engine: every rule is written a second time, the slow way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

MAX_ATTEMPTS: Final = 3
MAX_LOST: Final = 3
INTERVAL_MS: Final = 1_000
AGAIN_MAX: Final = 2
WAIT_MS: Final = 20_000
#: What `approving` waits for; each may be sent to one instance, or emitted with a key.
EVENTS: Final = ("approved", "arrived", "more")
#: Of these, the one that is not kept for who does not wait for it any more; as its rule says it.
RULED: Final = ("arrived", "quarantine")
TARGETS: Final = {
    ("extracting", "ok"): "deciding",
    ("deciding", "ok"): "approving",
    ("deciding", "again"): "extracting",
    ("extracting", "error"): "failed",
    ("deciding", "error"): "failed",
    ("extracting", "timeout"): "failed",
    ("deciding", "timeout"): "failed",
    ("approving", "approved"): "done",
    ("approving", "arrived"): "done",
    ("approving", "more"): "extracting",
    ("approving", "error"): "failed",
    ("approving", "timeout"): "failed",
}
FINISHED: Final = {"done", "failed", "cancelled"}
ENDS: Final = {"cancel", "kill"}


class Row(NamedTuple):
    """One row of the journal."""

    instance: int
    seq: int
    epoch: int
    generation: int
    at_ms: int
    kind: str
    event: str
    source: str
    target: str
    attempt: int | None
    error_class: str | None
    note: str | None


class Wake(NamedTuple):
    """When a waiting instance is due, by both clocks."""

    at_ms: int
    delay_ms: int
    boot_ms: int
    boot_id: str


class Moment(NamedTuple):
    """
    What was so when a row was written.

    Attributes:
        now_ms: Wall clock.
        boot_ms: Boot clock.
        boot_id: Which boot.
        worker: Number of the worker that acted; None for a command without one.
        alive: Whether a worker lived.
        ending: Whether the worker that acted was asked to end.
        wakes: The timers as they are in the store now.
        emitted: What was emitted, by key: the events, the first one first.
    """

    now_ms: int
    boot_ms: int
    boot_id: str
    worker: int | None
    alive: Callable[[int], bool]
    ending: bool
    wakes: Mapping[int, Wake]
    emitted: Mapping[str, Sequence[str]]


@dataclass(slots=True)
class Sent:
    """What one instance was sent; it is taken by one move, or by none yet."""

    seq: int
    event: str
    taken_seq: int | None = None


@dataclass(slots=True)
class Instance:
    """What one instance must be."""

    id: str
    n: int
    machine: str
    key: str
    entered_at_ms: int
    status: str = "ready"
    state: str = "extracting"
    epoch: int = 0
    seq: int = 1
    generation: int = 1
    attempt: int = 0
    lost: int = 0
    batches: int = 0
    again: int = 0
    more: int = 0
    holder: int | None = None
    request: str | None = None
    failed_state: str | None = None
    wake: Wake | None = None
    rang: bool = False  # it was claimed because its time had come, and has not moved since
    sent: list[Sent] = field(default_factory=list)
    waited: bool = False  # for what is ruled, since the last rewind; and nobody has emitted it
    missed: bool = False  # that was emitted, since the last rewind, while it did not wait for it
    late: list[tuple[str, str, int]] = field(default_factory=list)  # as rows, by generation
    outcome: str | None = None  # how the attempt of the holder ended, once it has
    ended_boot_ms: int | None = None  # and when
    epochs: dict[int, int | None] = field(default_factory=dict)

    def is_due(self, at: Moment) -> bool:
        """Whether its time has come; by the boot clock on the boot that set it."""
        if self.wake is None:
            return True
        if self.wake.boot_id == at.boot_id:
            return at.boot_ms >= self.wake.boot_ms
        return at.now_ms >= self.wake.at_ms or at.boot_ms >= self.wake.delay_ms

    def is_claimable(self, at: Moment) -> bool:
        """Whether a worker that looks now must take it."""
        if self.status != "ready":
            return False
        if self.holder is not None:
            return not at.alive(self.holder)
        return self.is_due(at)

    def ended(self, outcome: str, at_boot_ms: int) -> None:
        """Take over how the attempt of the holder ended."""
        self.outcome, self.ended_boot_ms = outcome, at_boot_ms

    @property
    def visit(self) -> int:
        """Which visit to `extracting` it is on, or was last."""
        return 1 + self.again + self.more

    @property
    def is_waiting(self) -> bool:
        """Whether it rests for an event."""
        return self.state == "approving" and self.wake is not None

    def is_told_too_late(self, event: str) -> None:
        """Take over that what is ruled was emitted; it counts if its wait for it has ended."""
        if self.waited and self.state != "approving":
            self.missed = True
            self.late.append((event, self.key, self.generation))
        self.waited = False

    def is_driven(self, at: Moment) -> bool:
        """Whether a live worker holds it."""
        return self.holder is not None and at.alive(self.holder)

    def apply(self, row: Row, at: Moment) -> None:
        """Judge a row of the journal, and become what it says."""
        assert row.seq == self.seq + 1, "seq has no gaps and no twins"
        assert row.source == self.state, "each row begins where the last one ended"
        goes_on = ("resume", "rewind", *(("cancel",) if self.status == "failed" else ()))
        assert self.status not in FINISHED or row.kind in goes_on, "the end is the end"
        _RULES[row.kind](self, row, at)
        self.seq = row.seq
        assert (self.epoch, self.generation) == (row.epoch, row.generation)
        assert row.target == self.state
        driver = self.epochs.setdefault(row.epoch, at.worker)
        if row.kind in ("move", "retry", "batch", "interrupt"):
            assert driver == at.worker, "one epoch, one driver"

    def _by_its_driver(self, row: Row, at: Moment) -> None:
        assert at.worker is not None, "only a worker moves an instance"
        assert at.worker == self.holder, "only its driver moves an instance"
        assert row.epoch == self.epoch, "a lower epoch never writes"

    def _claim(self, row: Row, at: Moment) -> None:
        assert self.is_claimable(at), "nothing is taken from the living, or before its time"
        assert row.event == ("claim" if self.holder is None else "takeover")
        self.lost += self.holder is not None
        rang = self.wake is not None
        self._take(at.worker)
        self.rang = rang

    def _take(self, worker: int | None) -> None:
        assert worker is not None
        self.holder, self.wake, self.outcome, self.rang = worker, None, None, False
        self.epoch += 1

    def _move(self, row: Row, at: Moment) -> None:
        self._by_its_driver(row, at)
        assert self.request not in ENDS, "an end that was asked for first is honoured"
        waits = self.state == "approving"
        event = self._event_of_wait(row, at) if waits else self._expected_event()
        assert row.event == event, (row, self)
        assert row.target == TARGETS[self.state, event]
        assert row.attempt == (None if waits else self.attempt + 1)
        final = row.target in FINISHED
        if waits:
            self._waits_for_it(at)
        self.again += event == "again"
        self.more += event == "more"
        self.failed_state = self.state if row.target == "failed" else None
        if row.target != "failed":
            self.batches = 0
        self.state = row.target
        self.status = self.state if final else "ready"
        self.attempt = self.lost = 0
        self.outcome, self.rang, self.entered_at_ms = None, False, row.at_ms
        if final:
            self.holder = self.request = None

    def _expected_event(self) -> str:
        """Return what the attempt's end must bring, if it brings a move."""
        if self.lost >= MAX_LOST:
            return "error"
        if self.outcome == "again" and (self.state != "deciding" or self.again >= AGAIN_MAX):
            return "error"
        if self.outcome in ("ok", "again"):
            return self.outcome
        if self.outcome in ("throttled", "timeout"):
            assert self.attempt + 1 >= MAX_ATTEMPTS, "attempts are left"
            return "timeout" if self.outcome == "timeout" else "error"
        assert self.outcome == "fatal", "nothing moves before its attempt has ended"
        return "error"

    def _event_of_wait(self, row: Row, at: Moment) -> str:
        """Return the event that ends the wait; if that was sent, it is taken."""
        assert self.request is None, "a wish that came first is honoured"
        event = self._event_there(at)
        if event is None:
            assert self._left_ms(row) <= 0, "its time is not up"
            return "timeout"
        kept = self._kept()
        if kept:
            kept[0].taken_seq = row.seq
        return "error" if event == "more" and self.more >= AGAIN_MAX else event

    def _event_there(self, at: Moment) -> str | None:
        """Return what it need not wait for: the oldest sent to it, else the first emitted."""
        emitted = [
            each for each in at.emitted.get(self.key, ()) if not (self.missed and each == RULED[0])
        ]
        there = [each.event for each in self._kept()] or emitted
        return there[0] if there else None

    def _waits_for_it(self, at: Moment) -> None:
        self.waited = RULED[0] not in at.emitted.get(self.key, ())

    def _kept(self) -> list[Sent]:
        return [each for each in self.sent if each.taken_seq is None]

    def _left_ms(self, row: Row) -> int:
        """Return how long it still waits: whatever the clock was set to, no longer than a wait."""
        return 0 if self.rang else min(WAIT_MS, WAIT_MS - (row.at_ms - self.entered_at_ms))

    def _retry(self, row: Row, at: Moment) -> None:
        self._by_its_driver(row, at)
        assert self.request is None, "a wish that came first is honoured"
        assert self.outcome in ("throttled", "timeout"), "only these are worth another try"
        self.attempt += 1
        assert self.attempt < MAX_ATTEMPTS, "no attempt beyond the budget"
        assert row.attempt == self.attempt
        assert self.ended_boot_ms is not None
        self._sleep(INTERVAL_MS * 2 ** (self.attempt - 1), self.ended_boot_ms, row, at)

    def _sleep(self, delay_ms: int, since_boot_ms: int, row: Row, at: Moment) -> None:
        """Take over a timer, set at that moment or later."""
        self.wake = at.wakes[self.n]
        assert self.wake.delay_ms == delay_ms
        assert self.wake.at_ms == row.at_ms + delay_ms
        assert self.wake.boot_id == at.boot_id
        assert since_boot_ms <= self.wake.boot_ms - delay_ms <= at.boot_ms, "it counts from its end"
        self.holder = self.outcome = None
        self.rang = False

    def _batch(self, row: Row, at: Moment) -> None:
        self._by_its_driver(row, at)
        assert self.state == "extracting"
        assert self.request not in ENDS, "an end that was asked for first is honoured"
        self.batches += 1
        self.lost = 0
        self.rang = False

    def _request(self, row: Row, at: Moment) -> None:
        if row.event in ("signal", "emit"):
            self._told(row)
            return
        assert self.is_driven(at), "only a live driver is asked"
        self.request = row.event

    def _told(self, row: Row) -> None:
        """Take over that it was sent an event, or that one was emitted for which it rests."""
        assert self.request not in ENDS, "a promised end takes no events"
        if row.event == "emit":
            assert self.is_waiting, "only who rests is woken"
        else:
            assert row.note is not None
            self.sent.append(Sent(row.seq, row.note))
        if self.state == "approving":  # who waits to try again is not disturbed
            self.wake = None

    def _end(self, row: Row, at: Moment, *, status: str) -> None:
        """Take over a cancel or a pause."""
        if at.worker is None:
            assert not self.is_driven(at), "a command changes nothing under a live driver"
            self.epoch += 1
        else:
            self._by_its_driver(row, at)
            wish = "pause" if status == "paused" else row.event
            assert self.request == wish, "nobody asked for it"
        if status == "cancelled":
            self.failed_state, self.state = self.failed_state or self.state, "cancelled"
            self.entered_at_ms = row.at_ms
        self.status = status
        self.holder = self.wake = self.request = self.outcome = None

    def _cancel(self, row: Row, at: Moment) -> None:
        self._end(row, at, status="cancelled")

    def _pause(self, row: Row, at: Moment) -> None:
        if row.event != "pause":
            assert self.outcome in ("throttled", "timeout", "fatal"), "an attempt has failed"
            self.attempt += 1
            assert row.attempt == self.attempt
        self._end(row, at, status="paused")

    def _interrupt(self, row: Row, at: Moment) -> None:
        self._by_its_driver(row, at)
        if row.event == "wait":
            self._wait(row, at)
            return
        assert at.ending, "nobody asked it to let go"
        self.holder = self.request = self.outcome = None

    def _wait(self, row: Row, at: Moment) -> None:
        assert self.state == "approving"
        assert self.request is None, "a wish that came first is honoured"
        assert self._event_there(at) is None, "nothing that has come is slept through"
        left_ms = self._left_ms(row)
        assert left_ms > 0, "time is up once"
        self._waits_for_it(at)
        self.lost = 0
        self.entered_at_ms = min(self.entered_at_ms, row.at_ms)
        self._sleep(left_ms, at.boot_ms, row, at)

    def _resume(self, row: Row, at: Moment) -> None:
        assert row.event == "resume"
        assert self.status != "done"
        assert not self.is_driven(at), "no resume takes from the living"
        if self.status in ("failed", "cancelled"):
            assert self.failed_state is not None
            self.state, self.entered_at_ms = self.failed_state, row.at_ms
        self._take(at.worker)
        self._fresh()

    def _rewind(self, row: Row, at: Moment) -> None:
        assert not self.is_driven(at), "no rewind takes from the living"
        self.state, self.entered_at_ms = row.target, row.at_ms
        self.epoch += 1
        self.generation += 1
        self.holder = self.wake = None
        self.batches = self.again = self.more = 0
        self.waited = self.missed = False
        self._fresh()

    def _fresh(self) -> None:
        self.status = "ready"
        self.attempt = self.lost = 0
        self.request = self.failed_state = self.outcome = None


_RULES: Mapping[str, Callable[[Instance, Row, Moment], Any]] = {
    name: getattr(Instance, f"_{name}")
    for name in (
        *("claim", "move", "retry", "batch", "request"),
        *("cancel", "pause", "interrupt", "resume", "rewind"),
    )
}
