"""
For tests, ours and yours: a clock to own, and the checks that must hold of every store.

    ManualClock     time that moves when told
    violations      what in a store breaks the promises, [] if nothing does
"""

from pathlib import Path

from statepipe.store.care import checks
from statepipe.store.file.opening import open_reader

__all__ = ["ManualClock", "violations"]


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

    def boot_us(self) -> int:
        """Since boot, in microseconds."""
        return self._boot_ms * 1_000

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
        return checks.violations(connection)
    finally:
        connection.close()
