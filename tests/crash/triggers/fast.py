"""
A clock whose wall runs faster than time: minutes pass in moments, the same in every process.

    FastClock   the wall of this machine, from a moment on so many times as fast
"""

from typing import Final

from statepipe.clock import SystemClock

#: A minute in a tenth of a second.
SPEED: Final = 600


class FastClock(SystemClock):
    """
    The boot clock is the machine's own.

    Args:
        began_ms: When, by the boot clock, the wall began to run.
    """

    def __init__(self, began_ms: int) -> None:
        super().__init__()
        self._began_ms = began_ms

    def now_ms(self) -> int:
        """Wall clock: 2026-06-01, and so many times as much later."""
        return 1_780_272_000_000 + SPEED * (self.boot_ms() - self._began_ms)
