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

from statepipe.said import Line, Parcel, Stored
from statepipe.sqlite import sqlite3

#: Of the last lines of an attempt, as many stay in the store.
LAST_LINES_MAX: Final = 500
LAST_CHARS_MAX: Final = 128 * 1024

#: Levels of log records, the least important first.
LEVELS: Final = ("debug", "info", "warning", "error", "critical")

# Each statement takes all rows at once, as JSON: between two statements, and between two
# rows of one `executemany`, busy threads of tasks take the interpreter away from us.
_EPOCHS = """
SELECT json_group_array(json_array(n, epoch))
  FROM instance
 WHERE n IN (SELECT value FROM json_each(?))
"""

_INSERT = """
INSERT INTO output (instance, generation, state, attempt, epoch, at_ms, source, level, text)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
       json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
       json_extract(value, '$[6]'), json_extract(value, '$[7]'), json_extract(value, '$[8]')
  FROM json_each(?)
 ORDER BY key
"""

_NOTE = """
UPDATE output
   SET source = 'note', level = '', text = json_extract(new.value, '$[1]')
  FROM json_each(?) new
 WHERE output.n = json_extract(new.value, '$[0]')
"""

_DELETE = "DELETE FROM output WHERE n IN (SELECT value FROM json_each(?))"

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
        instances = json.dumps([parcel.instance for parcel in self._parcels])
        row = connection.execute(_EPOCHS, (instances,)).fetchone()
        epochs = dict(json.loads(row[0]))
        plans = [
            _Plan(parcel) if epochs.get(parcel.instance) == parcel.epoch else None
            for parcel in self._parcels
        ]
        live = [plan for plan in plans if plan is not None]
        new = [row for plan in live for row in plan.rows]
        if new:
            connection.execute(_INSERT, (json.dumps(new),))
        # Nobody else writes meanwhile, so the numbers of the new rows follow each other.
        last = connection.execute("SELECT last_insert_rowid()").fetchone()[0]
        number = last - len(new) + 1
        for plan in live:
            plan.numbered(number)
            number += len(plan.rows)
        notes = [(plan.note, plan.text) for plan in live if plan.text and plan.note is not None]
        if notes:
            connection.execute(_NOTE, (json.dumps(notes),))
        gone = [n for plan in live for n in plan.gone]
        if gone:
            connection.execute(_DELETE, (json.dumps(gone),))
        self.stored = [None if plan is None else plan.stored() for plan in plans]


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


class _Plan:
    """
    What becomes of one parcel.

    Attributes:
        rows: The new rows.
        gone: Numbers of rows that are no longer among the last lines.
        note: The row that says what was left out; None if nothing was, so far.
        text: What it says now, "" if that is as it was.
    """

    def __init__(self, parcel: Parcel) -> None:
        self._parcel = parcel
        before = parcel.stored
        gone, self._kept = _divided(parcel)
        self._skipped_lines = before.skipped_lines + parcel.skipped_lines + len(gone)
        self._skipped_bytes = (
            before.skipped_bytes + parcel.skipped_bytes + sum(size for _, size in gone)
        )
        self.gone = [n for n, _ in gone]
        self.note = before.note
        self.text = ""
        lines = list(parcel.first)
        if self._skipped_lines > before.skipped_lines:
            self.text = (
                f"… {self._skipped_lines:,} lines, about {self._skipped_bytes:,} bytes,"
                " are left out here"
            )
            if self.note is None and self.gone:
                self.note = self.gone.pop(0)
            if self.note is None:
                at_ms = parcel.last[0].at_ms if parcel.last else 0
                lines.append(Line(at_ms, "note", None, self.text))
        self._note_at = len(lines) - 1  # where it is if it is new
        whose = (parcel.instance, parcel.generation, parcel.state, parcel.attempt, parcel.epoch)
        self.rows = [
            (*whose, line.at_ms, line.source, line.level or "", line.text)
            for line in (*lines, *parcel.last)
        ]

    def numbered(self, first: int) -> None:
        """Take note of the number that the first of the new rows got."""
        if self.text and self.note is None:
            self.note = first + self._note_at
            self.text = ""  # it says so already
        begin = first + self._note_at + 1
        sizes = (len(line.text) for line in self._parcel.last)
        self._kept += [(begin + at, size) for at, size in enumerate(sizes)]

    def stored(self) -> Stored:
        """Return what the store has then."""
        return Stored(tuple(self._kept), self.note, self._skipped_lines, self._skipped_bytes)


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
