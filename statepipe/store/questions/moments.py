"""
Where in the journal a moment is: rows are numbered in the order of time, so no index is needed.

    row_at      the first row that is not older than a moment, by halving
    begin       the moment of the first row
    end         one more than the number of the last row

The numbers rise with each commit, and each row says its time by the wall clock. That clock
may be set, and rows of one commit differ by some milliseconds: so whoever looks for a window
begins `SLACK_MS` before it, and leaves out what is outside by its own time.
"""

from typing import Final

from statepipe.sqlite import sqlite3

#: How far rows may be out of order, by the wall clock, and still be found.
SLACK_MS: Final = 60_000

# Each by itself: asked for both at once, SQLite reads the whole table.
_FIRST = "SELECT min(n) FROM journal"
_LAST = "SELECT max(n) FROM journal"
_BEGIN = "SELECT at_ms FROM journal ORDER BY n LIMIT 1"
_NEXT = "SELECT n, at_ms FROM journal WHERE n >= ? ORDER BY n LIMIT 1"


def row_at(connection: sqlite3.Connection, at_ms: int) -> int:
    """Return the number of the first row at or after `at_ms`, `end` if there is none."""
    first: int | None = connection.execute(_FIRST).fetchone()[0]
    if first is None:
        return 1
    low, high = first, end(connection)
    while low < high:
        middle = (low + high) // 2
        n, found_ms = connection.execute(_NEXT, (middle,)).fetchone()
        if found_ms >= at_ms:
            high = middle
        else:
            low = n + 1
    return low


def begin(connection: sqlite3.Connection) -> int | None:
    """Return a moment that no row is older than, None if there is no row."""
    found = connection.execute(_BEGIN).fetchone()
    return None if found is None else int(found[0]) - SLACK_MS


def end(connection: sqlite3.Connection) -> int:
    """Return one more than the number of the newest row."""
    last: int | None = connection.execute(_LAST).fetchone()[0]
    return (last or 0) + 1
