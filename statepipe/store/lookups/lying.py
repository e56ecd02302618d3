"""
What lies in the stage: counted by stay, and read back record by record.

    held        how many batches, records and bytes each stay of some instances has there
    references  where the batches of an instance lie
    read        their records

Of an instance that is done only raw data lies there; of all others whatever they staged.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from statepipe.io.rows import iter_rows
from statepipe.model import Staged
from statepipe.sqlite import sqlite3
from statepipe.store.lookups.inspection import find_number, scope_of
from statepipe.store.stage.directory import Stage
from statepipe.store.stage.records import decode_records

_HELD = """
SELECT i.id, d.machine, i.status, b.state, b.generation, b.visit, count(*), sum(b.records),
       sum(b.bytes)
  FROM batch b
  JOIN instance i ON i.n = b.instance
  JOIN definition d ON d.n = i.definition
 WHERE {scope}
 GROUP BY b.instance, b.state, b.generation, b.visit
 ORDER BY b.instance DESC, min(b.epoch), b.generation, b.visit
"""

_REFERENCES = """
SELECT state, visit, number, records, bytes, sha256, format, file, body, cursor, read
  FROM batch
 WHERE instance = :n
   AND state = :state
   AND generation = (SELECT max(generation) FROM batch WHERE instance = :n AND state = :state)
 ORDER BY visit, number
"""


class Held(NamedTuple):
    """What one stay of an instance has in the stage."""

    id: str
    machine: str
    status: str
    state: str
    generation: int
    visit: int
    batches: int
    records: int
    bytes: int


class Reference(NamedTuple):
    """One batch, not yet read."""

    state: str
    visit: int
    staged: Staged


class Lying(NamedTuple):
    """One staged record."""

    state: str
    visit: int
    batch: int
    position: int  # its place in the batch, from 0
    record: Any


def held(connection: sqlite3.Connection, subject: str | None) -> list[Held]:
    """
    Return what lies in the stage of one instance, one machine, or all; newest instances first.

    Raises:
        NotFound: `subject` is neither an instance nor a machine of this store.
    """
    sql = _HELD.format(scope=scope_of(connection, subject))
    found = connection.execute(sql, {"subject": subject})
    return [Held(*row) for row in found]


def references(connection: sqlite3.Connection, instance_id: str, state: str) -> list[Reference]:
    """
    Return where the batches lie that `state` has staged in its newest generation, in order.

    Raises:
        NotFound: There is no such instance.
    """
    n = find_number(connection, instance_id)
    return [
        Reference(state, visit, Staged(*row, None))  # type: ignore[call-arg]  # nine columns, nine fields
        for state, visit, *row in connection.execute(_REFERENCES, {"n": n, "state": state})
    ]


def read(found: Iterable[Reference], *, stage: Stage) -> Iterator[Lying]:
    """
    Yield the records that `found` refers to; those of one batch are held at a time.

    Raises:
        StagedDataDamaged: A batch is missing or not what was committed.
        DataError: One is a table, and pyarrow is not installed.
    """
    for state, visit, staged in found:
        payload = stage.read(staged)
        rows = iter_rows(decode_records(staged.format, payload)) if payload else ()
        every = (row for part in rows for row in part)
        for at, row in enumerate(every):
            yield Lying(state, visit, staged.number, at, row)
