"""
Rejected records: counted by reason, and read back one by one.

Only the newest generation of each state counts: what a rewind undid is rejected again
when it is done again, and would be there twice.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from statepipe.errors import NotFound
from statepipe.model import Rejects
from statepipe.sqlite import sqlite3
from statepipe.store.inspection import find_number
from statepipe.store.records import decode_records
from statepipe.store.stage import Stage

_CURRENT = """
   AND r.generation = (SELECT max(newest.generation)
                         FROM reject newest
                        WHERE newest.instance = r.instance AND newest.state = r.state)
"""

_REASONS = f"""
SELECT d.machine, i.id, r.state, r.reasons
  FROM reject r
  JOIN instance i ON i.n = r.instance
  JOIN definition d ON d.n = i.definition
 WHERE {{scope}}
{_CURRENT}
 ORDER BY r.n
"""  # noqa: S608  (constants of ours)

_ROWS = f"""
SELECT r.state, r.visit, r.number, r.records, r.bytes, r.sha256, r.file, r.body, r.reasons
  FROM reject r
 WHERE r.instance = :n
{_CURRENT}
 ORDER BY r.n
"""  # noqa: S608  (constants of ours)


class Reason(NamedTuple):
    """How many records were rejected for one reason."""

    machine: str
    state: str
    reason: str
    records: int
    instances: int
    newest: str  # id of the newest instance that has some


class Row(NamedTuple):
    """The rejects of one batch, not yet read."""

    state: str
    visit: int
    batch: int
    rejects: Rejects


class Rejected(NamedTuple):
    """One rejected record."""

    state: str
    batch: int
    position: int  # the record's place in its input batch, from 0
    rule: str
    path: str  # JSON Pointer
    message: str
    record: Any


def reasons(connection: sqlite3.Connection, subject: str | None) -> list[Reason]:
    """
    Return the reasons of one instance, one machine, or everything; the most frequent first.

    Raises:
        NotFound: `subject` is neither an instance nor a machine of this store.
    """
    scope = {
        "instance": "i.id = :subject",
        "machine": "d.machine = :subject",
        "all": ":subject IS NULL",
    }[_kind(connection, subject)]
    rows = connection.execute(_REASONS.format(scope=scope), {"subject": subject})
    records: dict[tuple[str, str, str], int] = defaultdict(int)
    ids: dict[tuple[str, str, str], dict[str, None]] = defaultdict(dict)
    for machine, id_, state, counted in rows:
        for reason, count in json.loads(counted).items():
            records[machine, state, reason] += count
            ids[machine, state, reason].pop(id_, None)
            ids[machine, state, reason][id_] = None
    found = [
        Reason(*key, count, len(ids[key]), next(reversed(ids[key])))
        for key, count in records.items()
    ]
    return sorted(found, key=lambda each: (-each.records, each[:3]))


def rows(connection: sqlite3.Connection, instance_id: str) -> list[Row]:
    """
    Return where the rejected records of an instance lie, in the order they were committed.

    Raises:
        NotFound: There is no such instance.
    """
    n = find_number(connection, instance_id)
    return [
        Row(state, visit, batch, Rejects(records, size, sha256, file, body, json.loads(reasons)))
        for state, visit, batch, records, size, sha256, file, body, reasons in connection.execute(
            _ROWS, {"n": n}
        )
    ]


def read(rows: Iterable[Row], *, stage: Stage, limit: int) -> list[Rejected]:
    """
    Return the first `limit` of the records that `rows` refer to.

    Raises:
        StagedDataDamaged: A quarantine file is missing or not what was committed.
    """
    found: list[Rejected] = []
    for row in rows:
        if len(found) >= limit:
            break
        found += [
            Rejected(
                row.state,
                row.batch,
                entry["position"],
                entry["rule"],
                entry["path"],
                entry["message"],
                entry["record"],
            )
            for entry in decode_records("msgpack", stage.read(row.rejects))
        ]
    return found[:limit]


def _kind(connection: sqlite3.Connection, subject: str | None) -> str:
    if subject is None:
        return "all"
    if connection.execute("SELECT 1 FROM instance WHERE id = ?", (subject,)).fetchone():
        return "instance"
    if connection.execute("SELECT 1 FROM definition WHERE machine = ?", (subject,)).fetchone():
        return "machine"
    raise NotFound(
        f"there is neither an instance nor a machine {subject!r} in this store",
        meaning="nothing was changed",
        next_step="statepipe ls --all   # shows what is there; --store names another store",
    )
