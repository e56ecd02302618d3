"""
The timers of instances that rest: which are due, and when the next one is.

    THIS_BOOT, BY_WALL          those that this boot has armed, and those set by the wall clock
    PASSED, DELAYED             those that another boot has armed: due when the wall clock has
                                passed them, and at most one delay after start-up
    kinds                       what there is of all that, each with the boot to bind
    moment                      what the queries bind: now, by all clocks
"""

from collections.abc import Iterator
from typing import Any, Final

from statepipe.clock import WALL, Clock
from statepipe.sqlite import sqlite3
from statepipe.store.walk.lines import Kind

_OF_BOOT = "wake_boot_id = :boot"

THIS_BOOT: Final = Kind(
    by_index="instance_timer_turn",
    where=_OF_BOOT,
    order="wake_boot_ms",
    since="wake_at_ms",
    due="wake_boot_ms <= :boot_ms",
    at="wake_boot_ms",
)
BY_WALL: Final = THIS_BOOT._replace(
    due="wake_boot_ms <= :now_ms",
    at=":boot_ms + max(0, wake_boot_ms - :now_ms)",
)
PASSED: Final = Kind(
    by_index="instance_timer_wall",
    where=_OF_BOOT,
    order="wake_at_ms",
    since="wake_at_ms",
    due="wake_at_ms <= :now_ms",
    at=":boot_ms + max(0, wake_at_ms - :now_ms)",
)
DELAYED: Final = Kind(
    by_index="instance_timer_delay",
    where=_OF_BOOT,
    order="wake_delay_ms",
    since="wake_at_ms",
    due="wake_delay_ms <= :boot_ms AND wake_at_ms > :now_ms",
    at="max(:boot_ms, wake_delay_ms)",
)

_OTHER_BOOT = "SELECT min(wake_boot_id) FROM instance WHERE wake_boot_id > ?"


def kinds(connection: sqlite3.Connection, boot_id: str) -> Iterator[tuple[Kind, str]]:
    """Yield the kinds of timers that there may be, each with the boot that `where` binds."""
    yield THIS_BOOT, boot_id
    yield BY_WALL, WALL
    other = ""
    while (other := connection.execute(_OTHER_BOOT, (other,)).fetchone()[0]) is not None:
        if other not in (boot_id, WALL):
            yield PASSED, other
            yield DELAYED, other


def moment(clock: Clock) -> dict[str, Any]:
    """Return now, for the queries."""
    return {"boot_id": clock.boot_id, "boot_ms": clock.boot_ms(), "now_ms": clock.now_ms()}
