"""
The timers of instances that rest: which are due, and when the next one is.

    THIS_BOOT, BY_WALL          the instances whose time has come, by the clock they go by
    PASSED, DELAYED             those that another boot has armed: when the wall clock has passed
                                them, and at most one delay after start-up
    NEXT_…                      when, by this boot's clock, the next one of each kind is due
    other_boots                 the boots whose timers have not rung yet
    moment                      what the queries bind: now, by all clocks

Each goes by an index. What stands in braces limits them to a scope.
"""

from collections.abc import Iterator
from typing import Any

from statepipe.clock import WALL, Clock
from statepipe.sqlite import sqlite3

THIS_BOOT = """
SELECT n, wake_at_ms, priority, definition
  FROM instance
 WHERE wake_boot_id = :boot_id AND wake_boot_ms <= :boot_ms{scope}
 ORDER BY wake_boot_ms
 LIMIT :limit
"""
BY_WALL = """
SELECT n, wake_at_ms, priority, definition
  FROM instance
 WHERE wake_boot_id = :wall AND wake_boot_ms <= :now_ms{scope}
 ORDER BY wake_boot_ms
 LIMIT :limit
"""
PASSED = """
SELECT n, wake_at_ms, priority, definition
  FROM instance
 WHERE wake_boot_id = :other AND wake_at_ms <= :now_ms{scope}
 ORDER BY wake_at_ms
 LIMIT :limit
"""
DELAYED = """
SELECT n, wake_at_ms, priority, definition
  FROM instance
 WHERE wake_boot_id = :other AND wake_delay_ms <= :boot_ms AND wake_at_ms > :now_ms{scope}
 ORDER BY wake_delay_ms
 LIMIT :limit
"""

NEXT_HERE = """
SELECT wake_boot_ms
  FROM instance
 WHERE wake_boot_id = :boot_id{scope}
 ORDER BY wake_boot_ms
 LIMIT 1
"""
NEXT_BY_WALL = """
SELECT :boot_ms + max(0, wake_boot_ms - :now_ms)
  FROM instance
 WHERE wake_boot_id = :wall{scope}
 ORDER BY wake_boot_ms
 LIMIT 1
"""
NEXT_PASSED = """
SELECT :boot_ms + max(0, wake_at_ms - :now_ms)
  FROM instance
 WHERE wake_boot_id = :other{scope}
 ORDER BY wake_at_ms
 LIMIT 1
"""
NEXT_DELAYED = """
SELECT max(:boot_ms, wake_delay_ms)
  FROM instance
 WHERE wake_boot_id = :other{scope}
 ORDER BY wake_delay_ms
 LIMIT 1
"""

_OTHER_BOOT = "SELECT min(wake_boot_id) FROM instance WHERE wake_boot_id > ?"


def other_boots(connection: sqlite3.Connection, boot_id: str) -> Iterator[str]:
    """Yield the boots, but for this one, whose timers have not rung yet."""
    other = ""
    while (other := connection.execute(_OTHER_BOOT, (other,)).fetchone()[0]) is not None:
        if other not in (boot_id, WALL):
            yield other


def moment(clock: Clock) -> dict[str, Any]:
    """Return now, for the queries."""
    boot = {"boot_id": clock.boot_id, "boot_ms": clock.boot_ms()}
    return {**boot, "now_ms": clock.now_ms(), "wall": WALL}
