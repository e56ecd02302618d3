"""
The destination's own record of which batches it has, and of who may still load.

    _statepipe_epoch     the highest epoch seen of each instance: the fence
    _statepipe_ledger    one row per loaded batch, with the verdict on its rejects

Both are kept per checkpoint store, so two stores may load into one destination.
Every function runs in the caller's transaction on `execute`, its connection's own. All
statements but those that make the tables are of the SQL that our databases share; a
parameter is a question mark.
"""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from statepipe.errors import Fenced, LedgerMismatch
from statepipe.io.fitting import Why
from statepipe.io.loads import Landed, LedgerRow, LoadBatch
from statepipe.io.rejects import RejectEntry, rejected
from statepipe.io.rows import Records, is_table, record_at

#: `Connection.execute`, typed here because only the destination may know the library.
Execute = Callable[[str, Sequence[Any]], Any]


class Dialect(NamedTuple):
    """How a database spells the columns of a ledger, and what ends its CREATE TABLE."""

    text: str
    integer: str  # 64 bits, signed
    blob: str
    end: str


SQLITE: Final = Dialect("TEXT", "INTEGER", "BLOB", "STRICT, WITHOUT ROWID")
POSTGRES: Final = Dialect("text", "bigint", "bytea", "")
DUCKDB: Final = Dialect("VARCHAR", "BIGINT", "BLOB", "")

_CREATE_EPOCH: Final = """
CREATE TABLE IF NOT EXISTS _statepipe_epoch (
  store    {text}    NOT NULL,
  instance {text}    NOT NULL,
  epoch    {integer} NOT NULL CHECK (epoch >= 1),
  PRIMARY KEY (store, instance)
) {end}
"""

# `rejects` is a JSON list of [position, rule, path, message]; the records themselves
# are in the staged batch, which `digest` names.
_CREATE_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS _statepipe_ledger (
  store      {text}    NOT NULL,
  instance   {text}    NOT NULL,
  generation {integer} NOT NULL CHECK (generation >= 1),
  state      {text}    NOT NULL,
  visit      {integer} NOT NULL CHECK (visit >= 1),
  table_name {text}    NOT NULL,
  batch      {integer} NOT NULL CHECK (batch >= 0),
  records    {integer} NOT NULL CHECK (records >= 0),
  rejected   {integer} NOT NULL CHECK (rejected >= 0),
  digest     {blob}    NOT NULL,
  epoch      {integer} NOT NULL CHECK (epoch >= 1),
  rejects    {text}    NOT NULL,
  PRIMARY KEY (store, instance, generation, state, visit, table_name, batch)
) {end}
"""

_FENCE: Final = """
INSERT INTO _statepipe_epoch AS stored (store, instance, epoch)
VALUES (?, ?, ?)
    ON CONFLICT (store, instance) DO UPDATE
   SET epoch = excluded.epoch
 WHERE stored.epoch <= excluded.epoch
"""

_HIGHEST_EPOCH: Final = "SELECT epoch FROM _statepipe_epoch WHERE store = ? AND instance = ?"

_STAY: Final = "store = ? AND instance = ? AND generation = ? AND state = ? AND visit = ?"

_IDENTITY: Final = f"{_STAY} AND table_name = ? AND batch = ?"

_ENTER: Final = """
INSERT INTO _statepipe_ledger
       (store, instance, generation, state, visit, table_name, batch,
        records, rejected, digest, epoch, rejects)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, '[]')
    ON CONFLICT DO NOTHING
"""

_SETTLE: Final = f"""
UPDATE _statepipe_ledger
   SET records  = ?,
       rejected = ?,
       rejects  = ?
 WHERE {_IDENTITY}
"""  # noqa: S608  (made of constants)

_FIND: Final = f"""
SELECT records, rejected, digest, rejects
  FROM _statepipe_ledger
 WHERE {_IDENTITY}
"""  # noqa: S608  (made of constants)

_DROP: Final = f"DELETE FROM _statepipe_ledger WHERE {_IDENTITY}"  # noqa: S608  (made of constants)

#: What a person may do, so that a stay is loaded again.
_FORGET: Final = "DELETE FROM _statepipe_ledger WHERE"

_WHOSE: Final = """
SELECT store, instance, state
  FROM _statepipe_ledger
 WHERE generation = ? AND visit = ? AND batch = ? AND table_name = ? AND records > 0
"""

_EARLIER: Final = """
SELECT max(generation), sum(records)
  FROM _statepipe_ledger
 WHERE store = ? AND instance = ? AND generation < ? AND state = ? AND visit = ?
   AND table_name = ? AND records > 0
"""

_LIST: Final = f"""
SELECT batch, records, rejected, digest, epoch
  FROM _statepipe_ledger
 WHERE {_STAY} AND table_name = ?
 ORDER BY batch
"""  # noqa: S608  (made of constants)


def create(execute: Execute, dialect: Dialect) -> None:
    """Make the two tables if they are not there."""
    for sql in (_CREATE_EPOCH, _CREATE_LEDGER):
        execute(sql.format(**dialect._asdict()), ())


def fence(execute: Execute, batch: LoadBatch) -> None:
    """
    Raise the stored epoch of the batch's instance to the batch's.

    Raises:
        Fenced: If a higher one is stored: the instance was taken over.
    """
    if execute(_FENCE, (batch.store_id, batch.instance, batch.epoch)).rowcount == 1:
        return
    instance = shlex.quote(batch.instance)
    (highest,) = execute(_HIGHEST_EPOCH, (batch.store_id, batch.instance)).fetchone()
    raise Fenced(
        f"instance {batch.instance!r} was taken over: this load has epoch {batch.epoch},"
        f" the destination has seen {highest}",
        meaning=f"batch {batch.number} was not loaded by this process: whoever took the instance"
        " over loads it, or nobody did, and a backup of the store was restored",
        next_step=f"statepipe inspect {instance}   # if nobody drives it: statepipe resume"
        f" {instance}, again until its epoch is past {highest}",
    )


def enter(execute: Execute, batch: LoadBatch, *, table: str, records: int) -> bool:
    """Put the batch into the ledger, as wholly loaded; False if it is there already."""
    facts = (*_identity(batch, table), records, batch.digest, batch.epoch)
    return bool(execute(_ENTER, facts).rowcount == 1)


def settle(
    execute: Execute, batch: LoadBatch, *, table: str, records: int, rejects: Mapping[int, Why]
) -> None:
    """Correct the ledger row that `enter` made: some records were rejected after all."""
    verdict = json.dumps([[position, *why] for position, why in sorted(rejects.items())])
    execute(_SETTLE, (records, len(rejects), verdict, *_identity(batch, table)))


def find(execute: Execute, batch: LoadBatch, *, table: str) -> Landed | None:
    """
    Return what the ledger has of the batch, or None.

    Raises:
        LedgerMismatch: If it has another batch under this identity.
    """
    row = execute(_FIND, _identity(batch, table)).fetchone()
    if row is None:
        return None
    records, rejected_count, digest, verdict = row
    count = count_records(batch.records)
    if digest != batch.digest or records + rejected_count != count:
        raise LedgerMismatch(
            f"batch {batch.number} of instance {batch.instance!r} is another one in the ledger"
            f" of table {table!r}: {records + rejected_count} records with digest"
            f" {digest.hex()[:12]} there, {count} with {batch.digest.hex()[:12]} planned",
            meaning="nothing was loaded; what is in the destination does not follow this plan",
            next_step=f"look at the destination's ledger rows of instance {batch.instance!r}:"
            " another store, or another version of the data, loaded them",
        )
    entries = json.loads(verdict)
    rejects = {position: (rule, path, message) for position, rule, path, message in entries}
    return Landed(records, entries_of(batch.records, rejects), already=True)


def refuse_appended(execute: Execute, batch: LoadBatch, *, table: str) -> None:
    """
    Refuse a batch of a stay that has appended already, in a generation before this one.

    A rewind is refused once the store knows of batches that were appended. But one may land
    without an answer, because the process or the connection dies; then only the ledger knows.

    Raises:
        LedgerMismatch: If there are such rows.
    """
    earlier = (batch.store_id, batch.instance, batch.generation, batch.state, batch.visit, table)
    ((generation, records),) = execute(_EARLIER, earlier).fetchall()
    if generation is not None:
        raise LedgerMismatch(
            f"{records} records of instance {batch.instance!r} were appended to table {table!r} in"
            f" generation {generation}, and nobody had heard of it when it was rewound: loading"
            " again would double them",
            meaning="nothing was loaded; the rows stay as they are",
            next_step=f"delete these rows by hand, and those of the instance's generation"
            f" {generation} in _statepipe_ledger; then resume",
        )


def drop(execute: Execute, batch: LoadBatch, *, table: str) -> None:
    """Take back the row of a batch that was lost, so that it is loaded again."""
    execute(_DROP, _identity(batch, table))


def whose(
    execute: Execute, generation: int, visit: int, number: int, *, table: str
) -> list[tuple[str, str, str]]:
    """Return store, instance and state of each batch with these numbers that loaded records."""
    return [*map(tuple, execute(_WHOSE, (generation, visit, number, table)).fetchall())]


def has_loaded(execute: Execute, batch: LoadBatch, *, table: str) -> bool:
    """Return True if another batch of the same stay has put records into the table."""
    stay = (batch.store_id, batch.instance, batch.generation, batch.state, batch.visit)
    found = rows(execute, stay, table=table)
    return any(row.records for row in found if row.number != batch.number)


def refuse_dropped(execute: Execute, batch: LoadBatch, *, table: str, key: Sequence[str]) -> None:
    """
    Refuse to make a table anew that batches of the same stay were loaded into.

    Raises:
        LedgerMismatch: If it was dropped meanwhile; the new one would lack their rows.
    """
    if not has_loaded(execute, batch, table=table):
        return
    instance, state = shlex.quote(batch.instance), shlex.quote(batch.state)
    # Who appended is not rewound: only the ledger could tell that there is nothing to double.
    whose = {"store": batch.store_id, "instance": batch.instance, "table_name": table}
    where = " AND ".join(f"{name} = {_literal(value)}" for name, value in whose.items())
    again = f"statepipe rewind {instance} --to {state}" if key else f"{_FORGET} {where}"
    raise LedgerMismatch(
        f"table {table!r} was dropped while instance {batch.instance!r} was being loaded into it",
        meaning="nothing was loaded; what the ledger has of it is not in a table any more",
        next_step=f"put the table back, then: statepipe resume {instance}   # or load all of it"
        f" again: {again}, then resume",
    )


def refuse_missing(file: Path, batch: LoadBatch, *, table: str, name: str) -> None:
    """
    Refuse to make the `file` of a ledger anew that had batches of the same stay.

    Waits for the batch's turn first if it is not there: whoever loads the first batch makes it.

    Raises:
        LedgerMismatch: See `refuse_removed`.
    """
    if batch.begun and not file.exists():
        batch.turn()
        if not file.exists():
            refuse_removed(batch, table=table, name=name)


def refuse_removed(batch: LoadBatch, *, table: str, name: str) -> NoReturn:
    """
    Refuse to make a ledger anew that had batches of the same stay.

    Raises:
        LedgerMismatch: Always; nobody can say any more which batches are in the table.
    """
    instance, state = shlex.quote(batch.instance), shlex.quote(batch.state)
    again = f"or load all of it again: statepipe rewind {instance} --to {state}, then resume"
    if batch.appends:
        again = "or delete its rows by hand, then start another instance of its machine"
    raise LedgerMismatch(
        f"{name} has no ledger, although batches of instance {batch.instance!r} were loaded into"
        f" table {table!r}",
        meaning="nothing was loaded; it was removed, or they went to another place, and nobody can"
        " say which batches are here",
        next_step=f"put the ledger back as it was, then: statepipe resume {instance}   # {again}",
    )


def rows(execute: Execute, stay: Sequence[str | int], *, table: str) -> list[LedgerRow]:
    """Return the rows of one stay (store, instance, generation, state, visit), by batch."""
    return [LedgerRow(*row) for row in execute(_LIST, (*stay, table)).fetchall()]


def count_records(records: Records) -> int:
    """Return how many records there are, whatever holds them."""
    return int(records.num_rows) if is_table(records) else len(records)


def entries_of(records: Records, rejects: Mapping[int, Why]) -> list[RejectEntry]:
    """Return the entries of the records at the rejected positions, by position."""
    return [
        rejected(
            record_at(records, position),
            position=position,
            rule=rule,
            path=path,
            message=message,
        )
        for position, (rule, path, message) in sorted(rejects.items())
    ]


def _identity(batch: LoadBatch, table: str) -> tuple[str | int, ...]:
    stay = (batch.store_id, batch.instance, batch.generation, batch.state, batch.visit)
    return (*stay, table, batch.number)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
