"""
The timers of instances that rest: which are due, and when the next one is.

    THIS_BOOT, BY_WALL, OTHER_BOOT     the instances whose time has come, by who says so
    NEXT        when, by this boot's clock, the next one is due
    moment      what the queries bind: now, by all clocks

Each goes by the index of timers. What stands in braces limits them to a scope.
"""

from typing import Any

from statepipe.clock import WALL, Clock

THIS_BOOT = """
SELECT n, wake_at_ms FROM instance
 WHERE wake_boot_id = :boot_id AND wake_boot_ms <= :boot_ms{scope}
 LIMIT :limit
"""
BY_WALL = """
SELECT n, wake_at_ms FROM instance
 WHERE wake_boot_id = :wall AND wake_boot_ms <= :now_ms{scope}
 LIMIT :limit
"""
OTHER_BOOT = """
SELECT n, wake_at_ms FROM instance
 WHERE (wake_boot_id < :boot_id OR wake_boot_id > :boot_id AND wake_boot_id < :wall)
   AND (wake_at_ms <= :now_ms OR wake_delay_ms <= :boot_ms){scope}
 LIMIT :limit
"""
NEXT = """
SELECT min(due)
  FROM (SELECT min(wake_boot_ms) AS due FROM instance WHERE wake_boot_id = :boot_id{scope}
         UNION ALL
        SELECT :boot_ms + max(0, min(wake_boot_ms) - :now_ms)
          FROM instance
         WHERE wake_boot_id = :wall{scope}
         UNION ALL
        SELECT :boot_ms + max(0, min(min(wake_at_ms - :now_ms, wake_delay_ms - :boot_ms)))
          FROM instance
         WHERE (wake_boot_id < :boot_id OR wake_boot_id > :boot_id AND wake_boot_id < :wall){scope})
"""


def moment(clock: Clock) -> dict[str, Any]:
    """Return now, for the queries."""
    boot = {"boot_id": clock.boot_id, "boot_ms": clock.boot_ms()}
    return {**boot, "now_ms": clock.now_ms(), "wall": WALL}
