"""
What finished lately: counted from the journal row by row, and kept up to date by its tail.

    Finishes        a window of time that moves on; each row of the journal is read once
    Finished        what finished in it, of one machine

A first look reads what the window has, at most `ROWS_MAX` rows; each further look only
what came since. Durations are kept in classes 4 % wide, so what is kept depends on the
window and not on how much finished.
"""

from collections import Counter, deque
from collections.abc import Mapping
from math import ceil, log2
from typing import Final, NamedTuple

from statepipe.sqlite import sqlite3
from statepipe.store.questions import moments

#: Rows that are read, the newest: a quarter of a second for each million.
ROWS_MAX: Final = 4_000_000

#: The window moves on by so many-th parts of itself.
_PARTS: Final = 240
_PART_MS_MIN: Final = 1_000

#: Classes of durations for each doubling.
_CLASSES: Final = 18

_ENDED = """
SELECT d.machine, j.at_ms, j.ended, j.at_ms - i.created_at_ms
  FROM journal j
  JOIN instance i ON i.n = j.instance
  JOIN definition d ON d.n = i.definition
 WHERE j.n >= :first AND j.n < :end AND j.ended IS NOT NULL AND j.at_ms >= :from_ms
"""
_OLDEST = "SELECT at_ms FROM journal WHERE n >= ? ORDER BY n LIMIT 1"


#: How many, by machine, result and class of duration.
_Counts = Counter[tuple[str, str, int]]


class Finished(NamedTuple):
    """How many instances of one machine finished, by result, and how long the done ones took."""

    done: int
    failed: int
    cancelled: int
    p95_ms: int | None  # from creation to end, 4 % too high at most; None if none is done


class Finishes:
    """
    What finished within a window that ends now.

    Args:
        span_ms: How long the window is, in milliseconds.

    Attributes:
        since_ms: When it begins; later than asked for if it had more than `ROWS_MAX` rows.
    """

    def __init__(self, *, span_ms: int) -> None:
        self.since_ms = 0
        self._span_ms = span_ms
        self._part_ms = max(_PART_MS_MIN, ceil(span_ms / _PARTS))
        self._parts: deque[tuple[int, _Counts]] = deque()
        self._total: _Counts = Counter()
        self._next_n: int | None = None
        self._cut_ms = 0

    def look(self, connection: sqlite3.Connection, *, now_ms: int) -> Mapping[str, Finished]:
        """Read what came since the last look; return what finished, by machine."""
        from_ms = now_ms - self._span_ms
        end = moments.end(connection)
        first = self._next_n
        if first is None or first > end:  # a prune took the newest rows: their numbers come again
            self._parts.clear()
            self._total.clear()
            first = self._beginning(connection, from_ms, end=end)
        facts = {"first": first, "end": end, "from_ms": from_ms}
        for machine, at_ms, ended, took_ms in connection.execute(_ENDED, facts):
            key = (machine, ended, _class_of(took_ms))
            self._part(at_ms)[key] += 1
            self._total[key] += 1
        self._next_n = end
        while self._parts and self._parts[0][0] + self._part_ms <= from_ms:
            self._total -= self._parts.popleft()[1]
        self.since_ms = max(from_ms, self._cut_ms)
        return self._by_machine()

    def _beginning(self, connection: sqlite3.Connection, from_ms: int, *, end: int) -> int:
        first = moments.row_at(connection, from_ms - moments.SLACK_MS)
        if end - first <= ROWS_MAX:
            return first
        oldest: tuple[int] = connection.execute(_OLDEST, (end - ROWS_MAX,)).fetchone()
        self._cut_ms = oldest[0]
        return end - ROWS_MAX

    def _part(self, at_ms: int) -> _Counts:
        begins_ms = at_ms - at_ms % self._part_ms
        if not self._parts or self._parts[-1][0] < begins_ms:
            self._parts.append((begins_ms, Counter()))
        return self._parts[-1][1]  # what the clock says is older counts as new: it came now

    def _by_machine(self) -> dict[str, Finished]:
        results: Counter[tuple[str, str]] = Counter()
        classes: dict[str, Counter[int]] = {}
        for (machine, ended, class_), count in self._total.items():
            results[machine, ended] += count
            if ended == "done":
                classes.setdefault(machine, Counter())[class_] += count
        return {
            machine: Finished(
                results[machine, "done"],
                results[machine, "failed"],
                results[machine, "cancelled"],
                _p95_ms(classes.get(machine, Counter())),
            )
            for machine in {machine for machine, _ in results}
        }


def _class_of(took_ms: int) -> int:
    return ceil(_CLASSES * log2(max(0, took_ms) + 1))


def _p95_ms(classes: Mapping[int, int]) -> int | None:
    left = ceil(0.95 * sum(classes.values()))
    for class_ in sorted(classes):
        left -= classes[class_]
        if left <= 0:
            return round(2 ** (class_ / _CLASSES)) - 1
    return None
