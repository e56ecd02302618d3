"""
Groups: instances that are the partitions of one whole, and how the whole stands.

    NewGroup, insert    in the transaction that creates its instances
    Group, find         one as it was made
    Summary, summary    how many of its partitions are where, and what they loaded
    summaries           of the newest groups
    keys, members       its partitions
    is_at_work          whether one of them wants to be driven
    is_slice            whether an instance is one, or a copy of one

Nothing here is counted along: what a group has become is what its instances say, and the
schema's trigger writes it down in the transaction that moves the last of them.
"""

import shlex
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from statepipe.errors import BadParameter, InstanceExists, NotFound
from statepipe.model import Status
from statepipe.sqlite import sqlite3
from statepipe.store.lookups.listing import standing_of
from statepipe.store.lookups.lookup import Found
from statepipe.store.lookups.quarantine import NEWEST

#: As the schema says; with a slash and a partition's key it is the id of an instance.
GROUP_CHARS_MAX: Final = 100

_INSERT = """
INSERT INTO instance_group (id, machine, definition, tolerate, tolerated, total, created_at_ms)
VALUES (:id, :machine, :definition, :tolerate, :tolerated, :total, :now_ms)
"""

_GROUP = """
SELECT n, id, machine, status, total, pruned_done, tolerate, tolerated, created_at_ms,
       finished_at_ms
  FROM instance_group
"""

_COUNTS = "SELECT status, count(*) FROM instance WHERE member_of = ? GROUP BY status"

_READY = """
SELECT worker, wake_at_ms IS NOT NULL, count(*)
  FROM instance
 WHERE member_of = ? AND status = 'ready'
 GROUP BY 1, 2
"""

_RECORDS = f"""
SELECT coalesce(sum((SELECT sum(loaded)
                       FROM plan
                      WHERE instance = i.n
                        AND generation = (SELECT max(generation)
                                            FROM plan
                                           WHERE instance = i.n))), 0),
       coalesce(sum((SELECT sum(records) FROM reject r WHERE r.instance = i.n {NEWEST})), 0)
  FROM instance i
 WHERE member_of = ?
"""  # noqa: S608  (constants of ours)

_MEMBERS = """
SELECT i.n, i.id, d.machine, i.definition, i.seq, i.status, i.state, i.failed_state
  FROM instance i
  JOIN definition d ON d.n = i.definition
 WHERE i.member_of = ?
   AND i.status IN ({statuses})
 ORDER BY i.n
"""


class NewGroup(NamedTuple):
    """What is declared of a group that is about to be made."""

    id: str
    tolerate: str  # as it was written: "3", "5%"
    tolerated: int  # the same in partitions


class Group(NamedTuple):
    """
    One group.

    Attributes:
        n: Its number.
        id: Its id.
        machine: The machine of its instances.
        status: "open" until its last partition rests; then "done", "failed" or "cancelled".
        total: How many partitions it was made with, from 1.
        pruned_done: How many of them were done and are pruned.
        tolerate: How many may fail, as declared.
        tolerated: The same as a number of partitions.
        created_at_ms: When it was made.
        finished_at_ms: When it ended, None while it is open.
    """

    n: int
    id: str
    machine: str
    status: str
    total: int
    pruned_done: int
    tolerate: str
    tolerated: int
    created_at_ms: int
    finished_at_ms: int | None


class Summary(NamedTuple):
    """
    How a group stands at one moment.

    Attributes:
        group: The group.
        standings: How many of its partitions are done, failed, running, …; those that were
            pruned are missing here.
        loaded: Records its partitions have put at their destination.
        rejected: Records they have put into quarantine.
    """

    group: Group
    standings: Mapping[str, int]
    loaded: int
    rejected: int

    @property
    def done(self) -> int:
        """How many partitions are done, pruned ones included."""
        return self.group.pruned_done + self.standings.get(Status.DONE, 0)

    @property
    def completeness(self) -> float:
        """Which part of its partitions is done, 0..1."""
        return self.done / self.group.total


def insert(
    connection: sqlite3.Connection,
    new: NewGroup,
    *,
    machine: str,
    definition: int,
    total: int,
    now_ms: int,
) -> int:
    """
    Write a group down, inside the transaction that creates its instances; return its number.

    Raises:
        BadParameter: Its id is empty or too long.
        InstanceExists: There is a group, or an instance, of that id.
    """
    if not 1 <= len(new.id) <= GROUP_CHARS_MAX:
        raise BadParameter(
            f"a group's id has 1 to {GROUP_CHARS_MAX} characters, this one {len(new.id)}",
            meaning="nothing was created or changed",
            next_step="--group ID   # choose a shorter one",
        )
    if connection.execute("SELECT 1 FROM instance WHERE id = ?", (new.id,)).fetchone():
        raise InstanceExists(
            f"there is already an instance {new.id!r} in this store",
            meaning="nothing was created or changed",
            next_step="choose another --group, so that nobody takes one for the other",
        )
    facts = {
        **new._asdict(),
        "machine": machine,
        "definition": definition,
        "total": total,
        "now_ms": now_ms,
    }
    try:
        n: int = connection.execute(f"{_INSERT} RETURNING n", facts).fetchone()[0]
    except sqlite3.IntegrityError as error:
        raise exists(new.id) from error
    return n


def exists(group_id: str) -> InstanceExists:
    """Return the error for a group that is there already."""
    return InstanceExists(
        f"there is already a group {group_id!r} in this store",
        meaning="nothing was created or changed",
        next_step=f"statepipe resume --group {shlex.quote(group_id)}   # goes on with it;"
        " or --if-exists attach|skip, or another --group",
    )


def find(connection: sqlite3.Connection, group_id: str) -> Group | None:
    """Return a group by its id; None if there is none."""
    row = connection.execute(f"{_GROUP} WHERE id = ?", (group_id,)).fetchone()
    return None if row is None else Group(*row)


def known(connection: sqlite3.Connection, group_id: str) -> Group:
    """
    Return a group by its id.

    Raises:
        NotFound: There is none.
    """
    group = find(connection, group_id)
    if group is None:
        raise NotFound(
            f"there is no group {group_id!r} in this store",
            meaning="nothing was changed",
            next_step="statepipe ls --groups   # shows what is there",
        )
    return group


def summary(connection: sqlite3.Connection, group: Group, *, dead: Collection[int]) -> Summary:
    """Return how a group stands; `dead` are the numbers of dead workers."""
    counts: Counter[str] = Counter(dict(connection.execute(_COUNTS, (group.n,)).fetchall()))
    if counts.pop(Status.READY, 0):
        for worker, waits, count in connection.execute(_READY, (group.n,)):
            counts[standing_of(Status.READY, worker, waits=waits, dead=dead)] += count
    loaded, rejected = connection.execute(_RECORDS, (group.n,)).fetchone()
    return Summary(group, counts, loaded, rejected)


def summaries(
    connection: sqlite3.Connection, *, machine: str | None, limit: int, dead: Collection[int]
) -> list[Summary]:
    """Return how the newest groups stand, of one machine or of all, newest first."""
    sql = f"{_GROUP} WHERE :machine IS NULL OR machine = :machine ORDER BY n DESC LIMIT :limit"
    rows = connection.execute(sql, {"machine": machine, "limit": limit}).fetchall()
    return [summary(connection, Group(*row), dead=dead) for row in rows]


def keys(connection: sqlite3.Connection, group: int) -> set[str]:
    """Return the keys of a group's partitions, those that were pruned left out."""
    sql = "SELECT partition FROM instance WHERE member_of = ?"
    return {key for (key,) in connection.execute(sql, (group,))}


def members(connection: sqlite3.Connection, group: int, statuses: Collection[str]) -> list[Found]:
    """Return where a group's partitions of these statuses stand, in their order."""
    listed = ", ".join("?" * len(statuses))
    rows = connection.execute(_MEMBERS.format(statuses=listed), (group, *statuses))
    return [Found(*row) for row in rows]


def is_at_work(connection: sqlite3.Connection, group: int) -> bool:
    """Return True while one of a group's partitions wants to be driven."""
    sql = "SELECT 1 FROM instance WHERE member_of = ? AND status = 'ready' LIMIT 1"
    return connection.execute(sql, (group,)).fetchone() is not None


def is_slice(connection: sqlite3.Connection, instance: int) -> bool:
    """Return True if an instance is a partition of a group, or was made of one."""
    sql = "SELECT partition IS NOT NULL FROM instance WHERE n = ?"
    return bool(connection.execute(sql, (instance,)).fetchone()[0])
