"""
The promises as plain Python: what one instance must be after each row of its journal.

    Row         one row of the journal
    Moment      the clocks, and who lives, when the row was written
    Instance    the model of one instance; `apply` judges a row and takes it over

Nothing here looks at the engine: every rule is written a second time, the slow way.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

MAX_ATTEMPTS: Final = 3
MAX_LOST: Final = 3
INTERVAL_MS: Final = 1_000
AGAIN_MAX: Final = 2
#: How long a change may wait for its commit, two turns of the wheel.
COMMIT_MS_MAX: Final = 400
TARGETS: Final = {
    ("extracting", "ok"): "deciding",
    ("deciding", "ok"): "done",
    ("deciding", "again"): "extracting",
    ("extracting", "error"): "failed",
    ("deciding", "error"): "failed",
    ("extracting", "timeout"): "failed",
    ("deciding", "timeout"): "failed",
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
    """

    now_ms: int
    boot_ms: int
    boot_id: str
    worker: int | None
    alive: Callable[[int], bool]
    ending: bool
    wakes: Mapping[int, Wake]


@dataclass(slots=True)
class Instance:
    """What one instance must be."""

    id: str
    n: int
    status: str = "ready"
    state: str = "extracting"
    epoch: int = 0
    seq: int = 1
    generation: int = 1
    attempt: int = 0
    lost: int = 0
    batches: int = 0
    again: int = 0
    holder: int | None = None
    request: str | None = None
    failed_state: str | None = None
    wake: Wake | None = None
    outcome: str | None = None  # how the attempt of the holder ended, once it has
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

    def is_driven(self, at: Moment) -> bool:
        """Whether a live worker holds it."""
        return self.holder is not None and at.alive(self.holder)

    def apply(self, row: Row, at: Moment) -> None:
        """Judge a row of the journal, and become what it says."""
        assert row.seq == self.seq + 1, "seq has no gaps and no twins"
        assert row.source == self.state, "each row begins where the last one ended"
        assert self.status not in FINISHED or row.kind in ("resume", "rewind"), "the end is the end"
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
        self._take(at.worker)

    def _take(self, worker: int | None) -> None:
        assert worker is not None
        self.holder, self.wake, self.outcome = worker, None, None
        self.epoch += 1

    def _move(self, row: Row, at: Moment) -> None:
        self._by_its_driver(row, at)
        assert self.request not in ENDS, "an end that was asked for first is honoured"
        event = self._expected_event()
        assert row.event == event, (row, self)
        assert row.target == TARGETS[self.state, event]
        assert row.attempt == self.attempt + 1
        final = row.target in FINISHED
        self.again += event == "again"
        self.failed_state = self.state if row.target == "failed" else None
        if row.target != "failed":
            self.batches = 0
        self.state = row.target
        self.status = self.state if final else "ready"
        self.attempt = self.lost = 0
        self.outcome = None
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

    def _retry(self, row: Row, at: Moment) -> None:
        self._by_its_driver(row, at)
        assert self.request is None, "a wish that came first is honoured"
        assert self.outcome in ("throttled", "timeout"), "only these are worth another try"
        self.attempt += 1
        assert self.attempt < MAX_ATTEMPTS, "no attempt beyond the budget"
        assert row.attempt == self.attempt
        delay_ms = INTERVAL_MS * 2 ** (self.attempt - 1)
        self.wake = at.wakes[self.n]
        assert self.wake.delay_ms == delay_ms
        assert self.wake.at_ms == row.at_ms + delay_ms
        assert self.wake.boot_id == at.boot_id
        late_ms = at.boot_ms - (self.wake.boot_ms - delay_ms)
        assert 0 <= late_ms <= COMMIT_MS_MAX, "it counts from when the attempt ended"
        self.holder = self.outcome = None

    def _batch(self, row: Row, at: Moment) -> None:
        self._by_its_driver(row, at)
        assert self.state == "extracting"
        assert self.request not in ENDS, "an end that was asked for first is honoured"
        self.batches += 1
        self.lost = 0

    def _request(self, row: Row, at: Moment) -> None:
        assert self.is_driven(at), "only a live driver is asked"
        self.request = row.event

    def _end(self, row: Row, at: Moment, *, status: str) -> None:
        """Take over a cancel or a pause."""
        if at.worker is None:
            assert not self.is_driven(at), "a command changes nothing under a live driver"
            self.epoch += 1
        else:
            self._by_its_driver(row, at)
            assert self.request == row.event, "nobody asked for it"
        if status == "cancelled":
            self.failed_state, self.state = self.state, "cancelled"
        self.status = status
        self.holder = self.wake = self.request = self.outcome = None

    def _cancel(self, row: Row, at: Moment) -> None:
        self._end(row, at, status="cancelled")

    def _pause(self, row: Row, at: Moment) -> None:
        self._end(row, at, status="paused")

    def _interrupt(self, row: Row, at: Moment) -> None:
        self._by_its_driver(row, at)
        assert at.ending, "nobody asked it to let go"
        self.holder = self.request = self.outcome = None

    def _resume(self, row: Row, at: Moment) -> None:
        assert row.event == "resume"
        assert self.status != "done"
        assert not self.is_driven(at), "no resume takes from the living"
        if self.status in ("failed", "cancelled"):
            assert self.failed_state is not None
            self.state = self.failed_state
        self._take(at.worker)
        self._fresh()

    def _rewind(self, row: Row, at: Moment) -> None:
        assert not self.is_driven(at), "no rewind takes from the living"
        self.state = row.target
        self.epoch += 1
        self.generation += 1
        self.holder = self.wake = None
        self.batches = self.again = 0
        self._fresh()

    def _fresh(self) -> None:
        self.status = "ready"
        self.attempt = self.lost = 0
        self.request = self.failed_state = self.outcome = None


_RULES: Mapping[str, Callable[[Instance, Row, Moment], Any]] = {
    name: getattr(Instance, f"_{name}")
    for name in (
        "claim",
        "move",
        "retry",
        "batch",
        "request",
        "cancel",
        "pause",
        "interrupt",
        "resume",
        "rewind",
    )
}
