"""
For tests, ours and yours: a clock to own, and the checks that must hold of every store.

    ManualClock     time that moves when told
    violations      what in a store breaks the promises, [] if nothing does
"""

from pathlib import Path

from statepipe.sqlite import sqlite3
from statepipe.store.connection import open_reader

__all__ = ["ManualClock", "violations"]

# Each query returns one text a violation (reliability.md, R2 and R5).
_CHECKS = (
    """
SELECT 'instance ' || i.id || ': journal seq has gaps or twins'
  FROM instance i
 WHERE i.seq <> (SELECT max(seq) FROM journal WHERE instance = i.n)
    OR i.seq <> (SELECT count(*) FROM journal WHERE instance = i.n)
""",
    """
SELECT 'instance ' || i.id || ': seq ' || b.seq || ' leaves ' || b.source
       || ' but the instance was in ' || a.target
  FROM journal a
  JOIN journal b ON b.instance = a.instance AND b.seq = a.seq + 1
  JOIN instance i ON i.n = a.instance
 WHERE a.target <> b.source
""",
    """
SELECT 'instance ' || i.id || ': rests in ' || i.state || ' but its journal ends in ' || j.target
  FROM instance i
  JOIN journal j ON j.instance = i.n AND j.seq = i.seq
 WHERE j.target <> i.state
""",
    """
SELECT 'instance ' || i.id || ': epoch or generation falls at seq ' || b.seq
  FROM journal a
  JOIN journal b ON b.instance = a.instance AND b.seq = a.seq + 1
  JOIN instance i ON i.n = a.instance
 WHERE b.epoch < a.epoch OR b.generation < a.generation
""",
    """
SELECT 'batches of ' || i.id || ' in ' || b.state || ' have gaps'
  FROM batch b
  JOIN instance i ON i.n = b.instance
 GROUP BY b.instance, b.generation, b.state, b.visit, b.task
HAVING max(b.number) + 1 <> count(*)
""",
    """
SELECT 'counter ' || machine || ': ' || source || ' --' || event || '-> ' || target || ' is '
       || coalesce(taken, 'absent') || ', the journal says ' || coalesce(seen, 0)
  FROM (SELECT d.machine, j.source, j.event, j.target, count(*) AS seen
          FROM journal j
          JOIN instance i ON i.n = j.instance
          JOIN definition d ON d.n = i.definition
         WHERE j.kind IN ('create', 'move', 'cancel', 'resume', 'rewind')
           AND (j.kind IN ('create', 'move', 'rewind') OR j.source <> j.target)
         GROUP BY 1, 2, 3, 4)
  FULL JOIN transition_count USING (machine, source, event, target)
 WHERE taken IS NOT seen
""",
)


class ManualClock:
    """A clock that stands still until told to move. Both clocks are milliseconds."""

    def __init__(self, *, now_ms: int = 1_700_000_000_000, boot_ms: int = 1_000_000) -> None:
        self.boot_id = "boot-1"
        self._now_ms = now_ms
        self._boot_ms = boot_ms

    def now_ms(self) -> int:
        """Wall clock, UTC, since 1970."""
        return self._now_ms

    def boot_ms(self) -> int:
        """Since boot."""
        return self._boot_ms

    def advance(self, ms: int) -> None:
        """Let `ms` pass on both clocks."""
        self._now_ms += ms
        self._boot_ms += ms

    def set_wall(self, ms: int) -> None:
        """Set the wall clock, as a person or NTP would."""
        self._now_ms = ms

    def reboot(self, *, down_ms: int = 60_000) -> None:
        """Switch the machine off for `down_ms` and on again."""
        self._now_ms += down_ms
        self._boot_ms = 1_000
        self.boot_id += "+"


def violations(store: Path) -> list[str]:
    """Return everything in the store's rows that breaks a promise; [] if nothing does."""
    connection = open_reader(store)
    try:
        found = [row[0] for sql in _CHECKS for row in _rows(connection, sql)]
    finally:
        connection.close()
    return found


def _rows(connection: sqlite3.Connection, sql: str) -> list[tuple[str]]:
    return connection.execute(sql).fetchall()
