"""
What one transaction adds to the figures: summed in memory, written by a few upserts.

    Counters            collects; `write` puts the sums into the caller's transaction
    Counters.changes    everything that a group of changes counts
    is_exhausted        whether a move counts as one whose retries were of no use

The cost is one upsert for each distinct series a group touches, not one a change. What is
counted and what each metric means: checkpoints/README.md; that it is exactly what the
journal says: `recount.py`.
"""

from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from typing import Final, NamedTuple

from statepipe.figures import BOUNDS_US, bucket_of
from statepipe.model import ERROR, TIMEOUT, Change, Detail, Status
from statepipe.sqlite import sqlite3

_COUNT_TRANSITION = """
INSERT INTO transition_count (machine, source, event, target, taken)
VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET taken = taken + excluded.taken
"""

_COUNT = """
INSERT INTO counter (metric, machine, state, label, value)
VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET value = value + excluded.value
"""

_TIME = """
INSERT INTO duration (metric, machine, state, label, le_us, n, sum_us, last_us, last_at_ms,
                      last_instance)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE
   SET n             = n + excluded.n,
       sum_us        = sum_us + excluded.sum_us,
       last_us       = excluded.last_us,
       last_at_ms    = excluded.last_at_ms,
       last_instance = excluded.last_instance
"""

_LATEST = """
INSERT INTO latest (metric, machine, at_ms)
VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET at_ms = max(at_ms, excluded.at_ms)
"""

_MS_US: Final = 1_000

_Series = tuple[str, str, str, str]


class _Bucket(NamedTuple):
    n: int = 0
    sum_us: int = 0
    last_us: int = 0
    last_at_ms: int = 0
    last_instance: int | None = None


_NONE: Final = _Bucket()

#: What plain moves that are counted together have in common.
_PLAIN: Final = attrgetter("machine", "source", "event", "state", "stayed_ms")


class Counters:
    """Sums on their way into one transaction."""

    __slots__ = ("_counts", "_latest", "_timings", "_transitions")

    def __init__(self) -> None:
        self._transitions: Counter[_Series] = Counter()
        self._counts: Counter[_Series] = Counter()
        self._timings: dict[tuple[str, str, str, str, int], _Bucket] = {}
        self._latest: dict[tuple[str, str], int] = {}

    def write(self, connection: sqlite3.Connection) -> None:
        """Add the sums to the store, inside the caller's transaction."""
        for sql, sums in (
            (_COUNT_TRANSITION, self._transitions),
            (_COUNT, self._counts),
            (_LATEST, self._latest),
        ):
            if sums:
                connection.executemany(sql, [(*key, value) for key, value in sums.items()])
        if self._timings:
            rows = [(*key, *values) for key, values in self._timings.items()]
            connection.executemany(_TIME, rows)

    def transition(
        self, machine: str, source: str, event: str, target: str, *, times: int = 1
    ) -> None:
        """Count a move between states."""
        self._transitions[machine, source, event, target] += times

    def count(
        self, metric: str, machine: str = "", state: str = "", label: str = "", *, by: int = 1
    ) -> None:
        """Add `by` to a counter."""
        self._counts[metric, machine, state, label] += by

    def time(
        self,
        metric: str,
        machine: str = "",
        state: str = "",
        label: str = "",
        *,
        us: int,
        at_ms: int,
        instance: int | None = None,
        times: int = 1,
    ) -> None:
        """Observe a duration of `us` microseconds, `times` times, the last one at `at_ms`."""
        key = (metric, machine, state, label, bucket_of(us, BOUNDS_US[metric]))
        old = self._timings.get(key, _NONE)
        self._timings[key] = _Bucket(old.n + times, old.sum_us + us * times, us, at_ms, instance)

    def finished(
        self, machine: str, result: str, *, instance: int, at_ms: int, lived_ms: int
    ) -> None:
        """Count the end of an instance, `lived_ms` after it was created."""
        self.count("finished", machine, label=result)
        us = lived_ms * _MS_US
        self.time("instance", machine, label=result, us=us, at_ms=at_ms, instance=instance)
        self._moment("completion", machine, at_ms)
        if result == Status.DONE:
            self._moment("success", machine, at_ms)

    def changes(self, changes: Sequence[Change]) -> None:
        """Count everything that `changes` say, once they are to be committed."""
        self.count("changes", by=len(changes))
        # Plain moves come by the thousand and are alike but for the milliseconds: they are
        # told apart and counted by C code, and looked at once for all that are the same.
        plain = []
        for change in changes:
            if change.detail is None and change.status == Status.READY:
                plain.append(change)
            else:
                self._change(change)
        keys = list(map(_PLAIN, plain))
        latest = dict(zip(keys, plain, strict=True))
        for key, times in Counter(keys).items():
            self._moved(latest[key], times=times)
            self._attempted(latest[key], times=times)

    def _change(self, change: Change) -> None:
        detail = change.detail
        if detail is None:
            self._moved(change)
            self._attempted(change)
            return
        if detail.waited_ms:
            self.count("waited_ms", change.machine, change.source, by=detail.waited_ms)
        for drift in detail.drifts:
            self.count("drift", change.machine, change.source, drift.kind)
        if detail.kind == "move":
            self._moved(change)
            if is_exhausted(change):
                self.count("exhausted", change.machine, change.source)
        elif detail.kind == "batch":
            self._batch(change, detail)
            return
        elif detail.kind == "cancel":
            self.transition(change.machine, change.source, change.event, change.state)
            self._ended(change)
            return
        elif detail.kind != "retry" and (detail.kind != "pause" or change.took_ms is None):
            return
        self._attempted(change)
        if detail.error_kind is not None:
            self.count("errors", change.machine, change.source, detail.error_kind)

    def _moved(self, change: Change, *, times: int = 1) -> None:
        machine, source, event = change.machine, change.source, change.event
        self.transition(machine, source, event, change.state, times=times)
        self.time(
            "state",
            machine,
            source,
            _outcome(event),
            us=change.stayed_ms * _MS_US,
            at_ms=change.at_ms,
            instance=change.n,
            times=times,
        )
        self._ended(change)

    def _ended(self, change: Change) -> None:
        if change.status in Status.FINISHED:
            self.finished(
                change.machine,
                change.status,
                instance=change.n,
                at_ms=change.at_ms,
                lived_ms=change.lived_ms,
            )

    def _attempted(self, change: Change, *, times: int = 1) -> None:
        if change.took_ms is not None:  # None: it was refused before it began
            outcome = _outcome(change.event)
            self.count("attempts", change.machine, change.source, outcome, by=times)

    def _batch(self, change: Change, detail: Detail) -> None:
        machine, state = change.machine, change.source
        for metric, label, amount in (
            ("records", "in", detail.read),
            ("records", "out", detail.records),
            ("records", "rejected", detail.rejected),
            ("bytes", "out", detail.bytes),
        ):
            if amount:
                self.count(metric, machine, state, label, by=amount)

    def _moment(self, metric: str, machine: str, at_ms: int) -> None:
        self._latest[metric, machine] = max(at_ms, self._latest.get((metric, machine), at_ms))


_FAILURES: Final = (ERROR, TIMEOUT)


def is_exhausted(change: Change) -> bool:
    """Return whether a change leaves its state failing, after more than one attempt."""
    detail = change.detail
    if detail is None or detail.kind != "move" or change.event not in _FAILURES:
        return False
    return detail.tried is not None and detail.tried > 1


def _outcome(event: str) -> str:
    """Return what an event says of the attempt: an author's own event is no failure."""
    return event if event in _FAILURES else "ok"
