"""
Rejected records: counted by reason, and read back one by one.

Only the newest generation of each state counts: what a rewind undid is rejected again
when it is done again, and would be there twice. Which records were sent through again, and
by which instance: `replays.py`.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from statepipe.io.rejects import RejectEntry
from statepipe.model import Rejects
from statepipe.sqlite import sqlite3
from statepipe.store.lookups.inspection import find_number, scope_of
from statepipe.store.stage.directory import Stage
from statepipe.store.stage.records import decode_records

#: Of `reject r`: only what no rewind has undone.
NEWEST: Final = """
   AND r.generation = (SELECT max(newest.generation)
                         FROM reject newest
                        WHERE newest.instance = r.instance AND newest.state = r.state)
"""

_REASONS = f"""
SELECT d.machine, i.id, r.state, r.reasons,
       (SELECT json_group_array(json(p.reasons)) FROM replayed p WHERE p.reject = r.n)
  FROM reject r
  JOIN instance i ON i.n = r.instance
  JOIN definition d ON d.n = i.definition
 WHERE {{scope}}
{NEWEST}
 ORDER BY r.n
"""  # noqa: S608  (constants of ours)

_ROWS = f"""
SELECT r.n, r.generation, r.state, r.visit, r.number, r.records, r.bytes, r.sha256, r.file,
       r.body, r.reasons, r.arrow_schema
  FROM reject r
 WHERE r.instance = :n
{NEWEST}
 ORDER BY r.n
"""  # noqa: S608  (constants of ours)


_REPLAYED = """
SELECT p.reject, p.id, p.entries
  FROM replayed p
  JOIN reject r ON r.n = p.reject
 WHERE r.instance = :n
"""


_AGAIN = f"""
SELECT i.id, sum(r.records)
  FROM replay p
  JOIN instance i ON i.n = p.instance
  JOIN reject r ON r.instance = i.n
 WHERE p.origin = ?
{NEWEST}
 GROUP BY i.n
 ORDER BY i.n
"""  # noqa: S608  (constants of ours)


class Reason(NamedTuple):
    """How many records were rejected for one reason."""

    machine: str
    state: str
    reason: str
    records: int
    replayed: int  # of these, those that were sent through again
    instances: int
    newest: str  # id of the newest instance that has some


class Row(NamedTuple):
    """The rejects of one batch, not yet read; `replayed` has, by place, who replays them."""

    n: int
    generation: int
    state: str
    visit: int
    batch: int
    rejects: Rejects
    replayed: Mapping[int, str]


class Rejected(NamedTuple):
    """One rejected record; `id` names it in this store, `replayed_by` the instance that has it."""

    id: str
    state: str
    batch: int
    position: int  # the record's place in its input batch, from 0
    rule: str
    path: str  # JSON Pointer
    message: str
    record: Any
    replayed_by: str | None


def reasons(connection: sqlite3.Connection, subject: str | None) -> list[Reason]:
    """
    Return the reasons of one instance, one machine, or everything; the most frequent first.

    Raises:
        NotFound: `subject` is neither an instance nor a machine of this store.
    """
    scope = scope_of(connection, subject)
    rows = connection.execute(_REASONS.format(scope=scope), {"subject": subject})
    records: dict[tuple[str, str, str], int] = defaultdict(int)
    replayed: dict[tuple[str, str, str], int] = defaultdict(int)
    ids: dict[tuple[str, str, str], dict[str, None]] = defaultdict(dict)
    for machine, id_, state, counted, replays in rows:
        for each in json.loads(replays):
            for reason, count in each.items():
                replayed[machine, state, reason] += count
        for reason, count in json.loads(counted).items():
            records[machine, state, reason] += count
            ids[machine, state, reason].pop(id_, None)
            ids[machine, state, reason][id_] = None
    found = [
        Reason(*key, count, replayed[key], len(ids[key]), next(reversed(ids[key])))
        for key, count in records.items()
    ]
    return sorted(found, key=lambda each: (-each.records, each[:3]))


def again(connection: sqlite3.Connection, origin_id: str) -> list[tuple[str, int]]:
    """Return the replays of an instance that rejected some once more, and how many."""
    return [*map(tuple, connection.execute(_AGAIN, (origin_id,)))]


def rows(connection: sqlite3.Connection, instance_id: str) -> list[Row]:
    """
    Return where the rejected records of an instance lie, in the order they were committed.

    Raises:
        NotFound: There is no such instance.
    """
    facts = {"n": find_number(connection, instance_id)}
    replayed: dict[int, dict[int, str]] = defaultdict(dict)
    for reject, id_, entries in connection.execute(_REPLAYED, facts):
        replayed[reject] |= dict.fromkeys(json.loads(entries), id_)
    found = []
    for n, generation, state, visit, batch, *staged, reasons, schema in connection.execute(
        _ROWS, facts
    ):
        records, size, sha256, file, body = staged
        rejects = Rejects(records, size, sha256, file, body, json.loads(reasons), schema)
        found.append(Row(n, generation, state, visit, batch, rejects, replayed[n]))
    return found


def read(rows: Iterable[Row], *, stage: Stage) -> Iterator[Rejected]:
    """
    Yield the records that `rows` refer to; those of one batch are held at a time.

    Raises:
        StagedDataDamaged: A quarantine file is missing or not what was committed.
    """
    for row in rows:
        for at, entry in enumerate(entries_of(row, stage=stage)):
            yield Rejected(
                name_of(row, at),
                row.state,
                row.batch,
                entry["position"],
                entry["rule"],
                entry["path"],
                entry["message"],
                entry["record"],
                row.replayed.get(at),
            )


def entries_of(row: Row, *, stage: Stage) -> list[RejectEntry]:
    """
    Return the rejects of one batch, in order.

    Raises:
        StagedDataDamaged: As `read`.
    """
    entries: list[RejectEntry] = decode_records("msgpack", stage.read(row.rejects))
    return entries


def name_of(row: Row, at: int) -> str:
    """Return what names the reject at a place: a digest, too, since numbers come again."""
    return f"{row.n}.{at}.{row.rejects.sha256[:4].hex()}"
