"""
When an attempt has taken too long: its timeout, its heartbeat, the machine's deadline.

All by the boot clock, so that setting the wall clock neither kills nor spares anybody.
"""

import heapq
from collections.abc import Iterator
from itertools import count
from typing import Final

from statepipe.clock import Clock
from statepipe.errors import TaskTimeout
from statepipe.model import ERROR, TIMEOUT
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.driving.endings import Ended, Failure
from statepipe.runtime.program import unknown_state
from statepipe.units import format_duration

#: How many are watched, at least, before those that are over are looked for.
_TIDY_MIN: Final = 1_024


class Deadlines:
    """The attempts under way, by when they must have ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, int, Drive]] = []
        # Parts attempts that are due at the same moment; drives cannot be compared.
        self._order = count()
        self._tidy_above = _TIDY_MIN

    def claimed(self, drive: Drive) -> None:
        """
        Work out when the instance must have ended, if its machine has a deadline.

        The deadline spans processes and boots, so the wall clock has to be asked; once,
        now, so that setting it later neither ends nor spares an instance under way.
        """
        deadline_ms = drive.program.deadline_ms
        if deadline_ms is not None and drive.part.work != "cancel":  # what is late is cleaned, too
            left_ms = drive.created_at_ms + deadline_ms - self._clock.now_ms()
            drive.ends_boot_ms = self._clock.boot_ms() + left_ms

    def watch(self, drive: Drive) -> None:
        """Keep an eye on the attempt that has just begun."""
        watched = (self._due_ms(drive), next(self._order), drive.attempt_id, drive)
        heapq.heappush(self._heap, watched)
        if len(self._heap) > self._tidy_above:
            # One that takes long may hold up the clearing of thousands behind it.
            self._heap = [each for each in self._heap if not self._is_over(each)]
            heapq.heapify(self._heap)
            self._tidy_above = max(_TIDY_MIN, 2 * len(self._heap))

    def next_ms(self) -> int | None:
        """Return when, by the boot clock, the next attempt may be overdue."""
        while self._heap and self._is_over(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def overdue(self) -> Iterator[tuple[Drive, TaskTimeout]]:
        """Yield every attempt whose time is up, and why; each once."""
        now_ms = self._clock.boot_ms()
        while (due_ms := self.next_ms()) is not None and due_ms <= now_ms:
            _, _, _, drive = heapq.heappop(self._heap)
            if self._due_ms(drive) > now_ms:  # it was heard of since
                self.watch(drive)
            else:
                yield drive, TaskTimeout(self._reason(drive, now_ms))

    def refusal(self, drive: Drive) -> Ended | None:
        """Return why the instance may not begin another attempt, None if it may."""
        if drive.part.work == "unknown":
            message = unknown_state(drive.program.name, drive.state, drive.id)
            return _failed(ERROR, Failure(("DefinitionChanged",), message))
        if drive.lost and drive.lost >= drive.part.policy.max_lost:
            message = f"the process that drove it died {drive.lost} times in a row without progress"
            return _failed(ERROR, Failure(("WorkerLost", "TaskError", "Exception"), message))
        if drive.ends_boot_ms is not None and self._clock.boot_ms() >= drive.ends_boot_ms:
            names = ("DeadlineExceeded", "TaskError", "Exception")
            return _failed(TIMEOUT, Failure(names, self._deadline_text(drive)))
        return None

    def _due_ms(self, drive: Drive) -> int:
        policy = drive.part.policy
        due_ms = drive.began_boot_ms + policy.timeout_ms
        if policy.heartbeat_ms is not None:
            due_ms = min(due_ms, drive.heard_boot_ms + policy.heartbeat_ms)
        if drive.ends_boot_ms is not None:
            due_ms = min(due_ms, drive.ends_boot_ms)
        return due_ms

    def _reason(self, drive: Drive, now_ms: int) -> str:
        policy = drive.part.policy
        if now_ms >= drive.began_boot_ms + policy.timeout_ms:
            return f"the attempt took longer than {format_duration(policy.timeout_ms)}"
        if policy.heartbeat_ms and now_ms >= drive.heard_boot_ms + policy.heartbeat_ms:
            return f"no heartbeat for {format_duration(policy.heartbeat_ms)}"
        return self._deadline_text(drive)

    def _deadline_text(self, drive: Drive) -> str:
        deadline_ms = drive.program.deadline_ms
        assert deadline_ms is not None
        return f"the instance took longer than its deadline of {format_duration(deadline_ms)}"

    def _is_over(self, watched: tuple[int, int, int, Drive]) -> bool:
        _, _, attempt_id, drive = watched
        return drive.attempt_id != attempt_id or drive.future is None


def _failed(event: str, failure: Failure) -> Ended:
    return Ended(event, None, produced=False, records=None, rejected=None, failure=failure)
