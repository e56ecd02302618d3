"""
What attempts printed and logged: rows of `output`, bounded by attempt.

    Output      what is to be written with a group of changes, in the same transaction
    read        rows of one instance, for people

Of an attempt the first lines and the last ones are kept. The last ones go again when
newer ones come; the row of the first that goes becomes the note that says how many did.
So whoever follows sees all lines as they come, and the store keeps a bounded part of them.
An attempt that was fenced writes nothing: each parcel names the epoch it was made under.
"""

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from statepipe.model import Line, Parcel, Stored
from statepipe.sqlite import sqlite3

#: Of the last lines of an attempt, as many stay in the store.
LAST_LINES_MAX: Final = 500
LAST_CHARS_MAX: Final = 128 * 1024

#: Levels of log records, the least important first.
LEVELS: Final = ("debug", "info", "warning", "error", "critical")

_FENCE = "SELECT epoch FROM instance WHERE n = ?"

_INSERT = """
INSERT INTO output (instance, generation, state, attempt, epoch, at_ms, source, level, text)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_NOTE = """
UPDATE output
   SET source = 'note', level = '', text = ?
 WHERE n = ?
"""

_DELETE = "DELETE FROM output WHERE n = ?"

_READ = """
SELECT n, at_ms, generation, state, attempt, epoch, source, level, text
  FROM output
 WHERE instance = :instance AND n > :after
   AND (:state IS NULL OR state = :state)
   AND (:attempt IS NULL OR attempt = :attempt)
   AND (:levels IS NULL OR level IN (SELECT value FROM json_each(:levels)))
 ORDER BY n {order}
 LIMIT :limit
"""


class Said(NamedTuple):
    """One line that an attempt printed, one record that it logged, or a note of ours."""

    n: int  # rises in the order in which lines were stored
    at_ms: int
    generation: int
    state: str
    attempt: int
    epoch: int
    source: str  # "stdout", "stderr", "log" or "note"
    level: str  # of a log record: one of LEVELS; otherwise ""
    text: str


class Wanted(NamedTuple):
    """Which rows to read; None for all."""

    after: int = 0  # only rows with a higher `n`
    state: str | None = None
    attempt: int | None = None
    level: str | None = None  # only log records of at least this level


class Output:
    """
    What attempts have said, on its way into the store.

    Args:
        parcels: At most one an attempt.

    Attributes:
        stored: For each parcel what is in the store then, None if its attempt was fenced;
            true once the transaction was committed.
    """

    def __init__(self, parcels: Sequence[Parcel]) -> None:
        self._parcels = parcels
        self.stored: list[Stored | None] = []

    def write(self, connection: sqlite3.Connection) -> None:
        """Write everything, inside the caller's transaction; may be called again for another."""
        self.stored = [_write(connection, parcel) for parcel in self._parcels]


def read(
    connection: sqlite3.Connection,
    instance: int,
    wanted: Wanted,
    *,
    limit: int,
    newest: bool = False,
) -> list[Said]:
    """Return up to `limit` rows of an instance, the first or the newest, in their order."""
    levels = None
    if wanted.level is not None:
        levels = json.dumps(LEVELS[LEVELS.index(wanted.level) :])
    facts = {**wanted._asdict(), "instance": instance, "levels": levels, "limit": limit}
    rows = connection.execute(_READ.format(order="DESC" if newest else "ASC"), facts).fetchall()
    return [Said(*row) for row in (reversed(rows) if newest else rows)]


def has_any(connection: sqlite3.Connection, instance: int) -> bool:
    """Return whether an instance has printed or logged anything that is kept."""
    sql = "SELECT 1 FROM output WHERE instance = ? LIMIT 1"
    return connection.execute(sql, (instance,)).fetchone() is not None


def _write(connection: sqlite3.Connection, parcel: Parcel) -> Stored | None:
    found = connection.execute(_FENCE, (parcel.instance,)).fetchone()
    if found is None or found[0] != parcel.epoch:
        return None
    whose = (parcel.instance, parcel.generation, parcel.state, parcel.attempt, parcel.epoch)
    _insert(connection, whose, parcel.first)
    stored = _make_room(connection, whose, parcel)
    numbers = _insert(connection, whose, parcel.last)
    sizes = (len(line.text) for line in parcel.last)
    return stored._replace(last=(*stored.last, *zip(numbers, sizes, strict=True)))


def _make_room(connection: sqlite3.Connection, whose: tuple[object, ...], parcel: Parcel) -> Stored:
    """Take back last lines that are no longer the last, and say how many there were."""
    before = parcel.stored
    gone, kept = _divided(parcel)
    skipped_lines = before.skipped_lines + parcel.skipped_lines + len(gone)
    skipped_bytes = before.skipped_bytes + parcel.skipped_bytes + sum(size for _, size in gone)
    if skipped_lines == before.skipped_lines:
        return before
    text = f"… {skipped_lines:,} lines, about {skipped_bytes:,} bytes, are left out here"
    note = before.note
    if note is None and gone:
        note = gone.pop(0)[0]
    if note is None:
        at_ms = parcel.last[0].at_ms if parcel.last else 0
        (note,) = _insert(connection, whose, [Line(at_ms, "note", None, text)])
    else:
        connection.execute(_NOTE, (text, note))
    connection.executemany(_DELETE, [(number,) for number, _ in gone])
    return Stored(tuple(kept), note, skipped_lines, skipped_bytes)


def _divided(parcel: Parcel) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return which of the stored last lines must go for the new ones, and which may stay."""
    stored = list(parcel.stored.last)
    if parcel.skipped_lines:  # newer ones than all of these were left out already
        return stored, []
    lines = len(stored) + len(parcel.last)
    chars = sum(size for _, size in stored) + sum(len(line.text) for line in parcel.last)
    at = 0
    while at < len(stored) and (lines > LAST_LINES_MAX or chars > LAST_CHARS_MAX):
        lines -= 1
        chars -= stored[at][1]
        at += 1
    return stored[:at], stored[at:]


def _insert(
    connection: sqlite3.Connection, whose: tuple[object, ...], lines: Sequence[Line]
) -> range:
    """Write lines and return the numbers of their rows."""
    if not lines:
        return range(0)
    connection.executemany(
        _INSERT,
        [(*whose, line.at_ms, line.source, line.level or "", line.text) for line in lines],
    )
    # Nobody else writes meanwhile, so their numbers follow each other.
    last: int = connection.execute("SELECT last_insert_rowid()").fetchone()[0]
    return range(last - len(lines) + 1, last + 1)
