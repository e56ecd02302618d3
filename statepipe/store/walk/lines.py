"""
The lines that instances stand in: all of one priority, machine and state, by an index.

    Line        what one line is of
    Kind        a way to be ready, and the index that has its lines
    lines       the lines that there are, the highest priority first

From line to line is one step, however long they are: what is of other machines, or in states of
other queues, costs no more than that, and no line is hidden behind another one.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from statepipe.sqlite import sqlite3

_LINE = """
SELECT priority, definition, state
  FROM instance INDEXED BY {by_index}
 WHERE {where} AND {which}
 ORDER BY priority DESC, definition DESC, state DESC
 LIMIT 1
"""
# The next one in three steps: SQLite looks for (priority, definition, state) < (?, ?, ?) from the
# end of the line that is left, and reads all of it to find that none of it is less.
_FIRST = "1"
_FOLLOWING: Final = (
    "priority = :priority AND definition = :definition AND state < :state",
    "priority = :priority AND definition < :definition",
    "priority < :priority",
)

_OF_LINE = "priority = :priority AND definition = :definition AND state = :state"
_READY = """
SELECT n, {since}, priority, definition, {order}, concurrency_key
  FROM instance {by}
 WHERE {where} AND {of}
   AND {due}
 ORDER BY {order}
 LIMIT :limit
"""
_NEXT = """
SELECT {at}
  FROM instance {by}
 WHERE {where} AND {of}
 ORDER BY {order}
 LIMIT 1
"""
_COUNT = """
SELECT count(*)
  FROM (SELECT 1 FROM instance INDEXED BY {by_index} WHERE {where} AND {of} LIMIT :most)
"""


class Line(NamedTuple):
    """What one line is of."""

    priority: int
    definition: int
    state: str


class Kind(NamedTuple):
    """
    A way to be ready, as SQL.

    Attributes:
        by_index: Has the lines: priority, definition, state, `order`, after what `where` binds.
        where: What all of the kind have, as the index says it.
        order: The column by which they stand in a line.
        since: Since when one is ready, or due.
        due: The condition of those that may be claimed now.
        at: When, by this boot's clock, one is due.
    """

    by_index: str
    where: str
    order: str
    since: str
    due: str = "1"
    at: str = "NULL"

    @property
    def line_queries(self) -> tuple[str, ...]:
        """Ask for the first line; and for the next one, each if the one before finds none."""
        return tuple(_filled(_LINE, self, None, which) for which in (_FIRST, *_FOLLOWING))

    @property
    def how_many(self) -> str:
        """Return the query of how many stand in one line, `most` at most."""
        return _filled(_COUNT, self, None)

    def ready(self, scope: str | None) -> str:
        """Return the query of those that may be claimed: of one line, or that `scope` names."""
        return _filled(_READY, self, scope)

    def next(self, scope: str | None) -> str:
        """Return the query of when the next one is due: of one line, or that `scope` names."""
        return _filled(_NEXT, self, scope)


@lru_cache(maxsize=128)
def _filled(sql: str, kind: Kind, scope: str | None, which: str = "") -> str:
    """Fill in a query; kept, since each is asked for with every look."""
    parts = {**kind._asdict(), "by": f"INDEXED BY {kind.by_index}", "of": _OF_LINE}
    if scope is not None:
        # The plus keeps SQLite from reading all that wait for the sake of the order: those that
        # are named are few, and are found by what names them.
        where = kind.where.replace("wake_boot_id =", "+wake_boot_id =")
        parts |= {"by": "", "where": where, "of": f"status = 'ready'{scope}"}
    return sql.format(**parts, which=which)


def lines(connection: sqlite3.Connection, kind: Kind, facts: Mapping[str, Any]) -> Iterator[Line]:
    """Yield the lines of a kind, the highest priority first; `facts` is what its `where` binds."""
    first, *following = kind.line_queries
    row = connection.execute(first, facts).fetchone()
    while row is not None:
        line = Line(*row)
        yield line
        after = {**facts, **line._asdict()}
        found = (connection.execute(sql, after).fetchone() for sql in following)
        row = next((each for each in found if each is not None), None)
