"""
When the loop looks at the store again: for ready instances, for wishes, to renew its lease.

All by the boot clock. Looking costs a query or two, so it is done now and then, at once if
there is a reason, and never later than the next instance that waits for its time.
"""

from typing import Final

from statepipe.clock import WALL, Clock
from statepipe.model import Detail

#: How often the store is asked for ready instances, dead workers and wishes.
POLL_MS: Final = 200

#: How often, whether another process has written: some microseconds, and then it is asked at once.
GLANCE_MS: Final = 50


class Agenda:
    """
    What one loop has to look at, and when.

    Attributes:
        next_timer_ms: When the next waiting instance is due; None if none waits.
        saw_all: True if the last look left nothing ready behind.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._look_at_ms = self._renew_at_ms = self._glance_at_ms = 0
        self.next_timer_ms: int | None = None
        self.saw_all = False

    @property
    def is_due(self) -> bool:
        """True if it is time to look."""
        return self._clock.boot_ms() >= self._look_at_ms

    def glances(self) -> bool:
        """Return True if it is time for a glance, which is then noted."""
        now_ms = self._clock.boot_ms()
        if now_ms < self._glance_at_ms:
            return False
        self._glance_at_ms = now_ms + GLANCE_MS
        return True

    def look_later(self) -> None:
        """Note that the loop looks now."""
        self._look_at_ms = self._clock.boot_ms() + POLL_MS

    def look_at_once(self) -> None:
        """Look with the next turn."""
        self._look_at_ms = 0

    def look_again(self) -> None:
        """Look with the next turn, which may find what was not there the last time."""
        self.saw_all = False
        self.look_at_once()

    def forget_timers(self) -> None:
        """Begin a look: what it finds is told by `wake_at` and `saw_all`."""
        self.next_timer_ms = None
        self.saw_all = False

    def wake_at(self, wake_ms: int | None) -> None:
        """Look no later than at `wake_ms`, if an instance waits until then."""
        if wake_ms is not None:
            self.next_timer_ms = min(self.next_timer_ms or wake_ms, wake_ms)
            self._look_at_ms = min(self._look_at_ms, wake_ms)

    def rests(self, detail: Detail | None) -> None:
        """Look no later than when an instance that was put to rest is due, if it ever is."""
        if detail is not None and detail.wake_boot_ms is not None:
            wake_ms = detail.wake_boot_ms
            if detail.wake_boot_id == WALL:
                wake_ms += self._clock.boot_ms() - self._clock.now_ms()
            self.wake_at(wake_ms)

    def renews(self, *, lease_ms: int) -> bool:
        """Return True if the lease is to be renewed now, as it is three times in `lease_ms`."""
        now_ms = self._clock.boot_ms()
        if now_ms < self._renew_at_ms:
            return False
        self._renew_at_ms = now_ms + lease_ms // 3
        return True

    def patience_ms(self, other_ms: int | None) -> int:
        """Return how long to wait without being late, be it for `other_ms`, in milliseconds."""
        soonest = min(self._look_at_ms, self._glance_at_ms)
        soonest = soonest if other_ms is None else min(soonest, other_ms)
        return max(0, soonest - self._clock.boot_ms())
