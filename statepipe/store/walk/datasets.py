"""
Data that is there: partitions that are done, groups that are, watermarks that were reached.

    record      a partition is done, a watermark reached; inside the commit that ends an instance
    withdraw    it is to be done again; inside the transaction that rewinds its instance
    awaited     the one that a state waits for
    told        what people call it
    found       what is there of what a wait is for: of a partition, a group or a watermark

What a wait is for is named by its kind and machine, "partition:flights_by_hour", and a key.
The store's own triggers wake who rests for it, in the transaction that makes it so.
"""

from collections.abc import Mapping
from typing import Any

from statepipe.model import Attachment, Change
from statepipe.sqlite import sqlite3
from statepipe.store.walk.watermarks import advance, has_reached, newest

# One that replays rejects has the parameters of a partition, and is none. What is done again
# moves to the end, so that whoever has read up to here sees it.
_RECORD = """
INSERT INTO dataset (kind, machine, key, value, instance, params, done_at_ms)
SELECT 'partition', :machine, :key, :value, id, params, :at_ms
  FROM instance
 WHERE n = :n AND NOT EXISTS (SELECT 1 FROM replay WHERE instance = :n)
    ON CONFLICT (kind, machine, key) DO UPDATE
   SET n          = (SELECT max(n) FROM dataset) + 1,
       value      = excluded.value,
       instance   = excluded.instance,
       params     = excluded.params,
       done_at_ms = excluded.done_at_ms,
       times      = times + 1,
       is_there   = 1
"""

_NAME = "SELECT id FROM instance WHERE n = ?"

_WITHDRAW = "UPDATE dataset SET is_there = 0 WHERE instance = ?"

_THERE = """
SELECT key, instance
  FROM dataset
 WHERE kind = :kind AND machine = :machine AND key = :key AND is_there
 UNION ALL
SELECT key, instance
  FROM dataset
 WHERE machine = :machine AND value = :key AND value <> key AND kind = :kind AND is_there
"""


def record(connection: sqlite3.Connection, change: Change, attachment: Attachment) -> None:
    """Write down what is there by the end of an instance: its partition, and how far it came."""
    for reached in attachment.reached:
        (name,) = connection.execute(_NAME, (change.n,)).fetchone()
        advance(connection, change.machine, reached, instance=name, at_ms=change.at_ms)
    if attachment.delivers is not None:
        key, value = attachment.delivers
        facts = {"machine": change.machine, "n": change.n, "at_ms": change.at_ms}
        connection.execute(_RECORD, {**facts, "key": key, "value": value})


def withdraw(connection: sqlite3.Connection, instance_id: str) -> None:
    """Write down that the partition an instance had done is not there, until it is done again."""
    connection.execute(_WITHDRAW, (instance_id,))


def is_name(event: str) -> bool:
    """Return whether this is the name of a dataset; events are called otherwise."""
    return ":" in event


def awaited(form: Mapping[str, Any], state: str) -> str | None:
    """Return the name of the dataset that a state waits for; None if it waits for none."""
    name: str | None = form.get("states", {}).get(state, {}).get("task", {}).get("dataset")
    return name


def told(name: str, key: str) -> str:
    """Return what people call dataset `name` with `key`."""
    kind, _, machine = name.partition(":")
    return f"{kind} {key} of {machine}"


def found(connection: sqlite3.Connection, name: str, key: str) -> dict[str, Any] | None:
    """Return what is there of dataset `name` with `key`, plain data; None if it is not there."""
    kind, _, machine = name.partition(":")
    if kind == "watermark":
        marks = newest(connection, machine)
        there = marks and all(has_reached(mark, key) for mark in marks)
        return {"watermark": marks[0] if len(marks) == 1 else marks} if there else None
    facts = {"kind": kind, "machine": machine, "key": key}
    row = connection.execute(_THERE, facts).fetchone()
    if row is None:
        return None
    return {kind: row[0], **({} if row[1] is None else {"instance": row[1]})}
