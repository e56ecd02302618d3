"""
Rows about the shapes of sources: what was last accepted, and what drifted.

    accepted        of one source
    accept          after a batch; inside the commit of the batch
    insert_drifts   what was found; inside the commit that tells it
"""

import json
from collections.abc import Mapping
from typing import Any

from statepipe.drift import KINDS, Drift, Seen, Shape
from statepipe.drift import accept as accepted_with
from statepipe.model import Change
from statepipe.sqlite import sqlite3

_ACCEPTED = "SELECT body FROM shape WHERE machine = ? AND state = ?"

_ACCEPT = """
INSERT INTO shape (machine, state, body, at_ms)
VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET body = excluded.body, at_ms = excluded.at_ms
"""

# What may drift from now on is counted from 0, so that the first drift is an increase.
_ZERO = """
INSERT INTO counter (metric, machine, state, label, value)
VALUES ('drift', ?, ?, ?, 0)
    ON CONFLICT DO NOTHING
"""

_DRIFT = """
INSERT INTO drift (instance, seq, at_ms, state, kind, column_name, was, now, action)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def accepted(connection: sqlite3.Connection, machine: str, state: str) -> dict[str, Any] | None:
    """Return the shape last accepted of a source, as plain data; None if none ever was."""
    row = connection.execute(_ACCEPTED, (machine, state)).fetchone()
    return None if row is None else json.loads(row[0])


def accept(
    connection: sqlite3.Connection, machine: str, state: str, seen: Seen, *, at_ms: int
) -> None:
    """Accept what a batch of a source was like, inside the caller's transaction."""
    if not seen.shape["records"]:
        return
    # Read again: another instance of the machine may have accepted one meanwhile.
    before = accepted(connection, machine, state)
    after = accepted_with(_read(before), Shape.read(seen.shape), seen.drifts)
    connection.execute(_ACCEPT, (machine, state, json.dumps(after.plain()), at_ms))
    if before is None:
        connection.executemany(_ZERO, [(machine, state, kind) for kind in KINDS])


def insert_drifts(
    connection: sqlite3.Connection, change: Change, drifts: tuple[Drift, ...]
) -> None:
    """Write down what drifted, by the journal row of `change`, inside its transaction."""
    where = (change.n, change.seq + 1, change.at_ms, change.source)
    connection.executemany(_DRIFT, [(*where, *drift) for drift in drifts])


def _read(plain: Mapping[str, Any] | None) -> Shape | None:
    return None if plain is None else Shape.read(plain)
