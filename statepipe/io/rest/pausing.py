"""
A pause within a request, which a redirect asks for: the page is to be had there, but later.

    keep    return once it is over
"""

import threading
from collections.abc import Callable
from typing import Final

from statepipe.clock import Clock
from statepipe.errors import Throttled

#: How soon it is noticed that the attempt is to stop, in seconds.
_NOTICES_S: Final = 0.05


def keep(
    pause_s: float, *, what: str, ends_ms: int, clock: Clock, stop: Callable[[], None]
) -> None:
    """
    Wait for `pause_s` seconds.

    Args:
        pause_s: How long.
        what: The request, for the error.
        ends_ms: When the page must be there, by the boot clock of `clock`.
        clock: The time.
        stop: Called again and again; raises TaskCancelled if the attempt was asked to stop.

    Raises:
        Throttled: If the page could not be there in time. The pause then is one between two
            attempts, which is kept over a crash; the next begins with the first address.
    """
    over_ms = clock.boot_ms() + round(pause_s * 1_000)
    if over_ms >= ends_ms:
        raise Throttled(
            f"{what}: it leads on, and asks for a pause of {pause_s:g} s first, longer than"
            " HttpLimits(total_ms=…) lets it take",
            retry_after=pause_s,
        )
    waiting = threading.Event()
    while True:
        stop()
        left_ms = over_ms - clock.boot_ms()
        if left_ms <= 0:
            return
        waiting.wait(min(left_ms / 1_000, _NOTICES_S))
