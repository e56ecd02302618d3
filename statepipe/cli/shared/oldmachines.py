"""
A worker that finds out that a machine has changed since it began, and says so.

    OldMachines     says of each machine, once, that this process drives it as it was
"""

from collections.abc import Callable, Sequence
from typing import Final

from statepipe.clock import Clock
from statepipe.store.questions.outdated import Outdated

#: So often it looks.
LOOK_MS: Final = 5_000


class OldMachines:
    """
    What a worker does after turns of its loop, now and then.

    Args:
        outdated: Asks the store what this process drives as it was.
        warn: Says something, and what to do about it.
        clock: Time.
    """

    def __init__(
        self,
        outdated: Callable[[], Sequence[Outdated]],
        warn: Callable[[str, str], None],
        *,
        clock: Clock,
    ) -> None:
        self._outdated = outdated
        self._warn = warn
        self._clock = clock
        self._due_ms = clock.boot_ms() + LOOK_MS
        self._said: set[str] = set()

    def turned(self) -> None:
        """Look, if it is time to, and say what is new."""
        now_ms = self._clock.boot_ms()
        if now_ms < self._due_ms:
            return
        self._due_ms = now_ms + LOOK_MS
        for each in self._outdated():
            if each.machine not in self._said:
                self._said.add(each.machine)
                self._warn(each.said, each.fix)
