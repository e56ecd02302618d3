"""
Time as an input: the wall clock people read, and the boot clock that leases and timers trust.

The wall clock may jump either way, so nothing but a wait until a moment, which it alone
can tell, is ever decided by it while the machine stays up (R10 of docs/reliability.md). The
boot clock counts through suspend and belongs to one boot, which `boot_id` names. It is the
machine's, for processes of all time namespaces: what one has armed, or promised to renew, is
read by the others.
"""

import time
from pathlib import Path
from typing import Final, Protocol

#: Stands for a boot where a timer is set by the wall clock: a wait until a moment. No boot is
#: called so, and it sorts after all of them.
WALL: Final = "wall"

_TIMENS_OFFSETS: Final = Path("/proc/self/timens_offsets")


class Clock(Protocol):
    """What the engine may know about time. All values are integers, their units in the names."""

    @property
    def boot_id(self) -> str:
        """Name of this boot; another boot's `boot_ms` cannot be compared with ours."""

    def now_ms(self) -> int:
        """Wall clock, UTC, since 1970."""

    def boot_ms(self) -> int:
        """CLOCK_BOOTTIME: since boot, suspend included, never set back."""

    def boot_us(self) -> int:
        """Return the same in microseconds, for what is over in less than a millisecond."""


class SystemClock:
    """The clock of this machine."""

    def __init__(self) -> None:
        self.boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        self._ahead_ns = _ahead_ns()

    def now_ms(self) -> int:
        """Wall clock, UTC, since 1970."""
        return time.time_ns() // 1_000_000

    def boot_ms(self) -> int:
        """CLOCK_BOOTTIME: since boot, suspend included, never set back."""
        return self._boot_ns() // 1_000_000

    def boot_us(self) -> int:
        """CLOCK_BOOTTIME in microseconds."""
        return self._boot_ns() // 1_000

    def _boot_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - self._ahead_ns


def _ahead_ns() -> int:
    """Return by how much our time namespace sets CLOCK_BOOTTIME forward (time_namespaces(7))."""
    try:
        lines = _TIMENS_OFFSETS.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:  # the kernel has none
        return 0
    for line in lines:
        clock, seconds, nanoseconds = line.split()
        if clock in ("boottime", str(time.CLOCK_BOOTTIME)):
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return 0
