"""
Whose turn it is of those that this process drives and that wait for one kind of executor.

    Turns.put, Turns.hurry    at the end of its machine's line, or before all others
    Turns.first, Turns.take   whose turn it is; the same, taken out
    Turns.forget              not at all

As in `store.walk.ready`: the higher priority first, always; among equals machines take turns,
however long their lines are; within a machine, in the order they came.
"""

from collections import deque

from statepipe.runtime.driving.drive import Drive


class Turns:
    """A line for each priority and machine, and those that go before all of them."""

    def __init__(self) -> None:
        self._hurried: deque[Drive] = deque()
        self._lines: dict[tuple[int, int], deque[Drive]] = {}
        # By priority, the machines that have a line; the first is next.
        self._machines: dict[int, deque[int]] = {}
        self._highest: int | None = None

    def __bool__(self) -> bool:
        return self._highest is not None or bool(self._hurried)

    def put(self, drive: Drive) -> None:
        """Let `drive` wait at the end of its line."""
        priority, machine = key = (drive.priority, drive.program.definition)
        line = self._lines.get(key)
        if line is not None:
            line.append(drive)
            return
        self._lines[key] = deque([drive])
        self._machines.setdefault(priority, deque()).append(machine)
        if self._highest is None or priority > self._highest:
            self._highest = priority

    def hurry(self, drive: Drive) -> None:
        """Let `drive` go before all others, the last to come first."""
        self._hurried.appendleft(drive)

    @property
    def first(self) -> Drive:
        """Whose turn it is; there must be one."""
        if self._hurried:
            return self._hurried[0]
        assert self._highest is not None, "nobody waits"
        return self._lines[self._highest, self._machines[self._highest][0]][0]

    def take(self) -> Drive:
        """Take out whose turn it is; the next is of another machine, if one has a line."""
        if self._hurried:
            return self._hurried.popleft()
        assert self._highest is not None, "nobody waits"
        machines = self._machines[self._highest]
        key = (self._highest, machines[0])
        line = self._lines[key]
        drive = line.popleft()
        if line:
            machines.rotate(-1)
        else:
            self._end(key)
        return drive

    def forget(self, drive: Drive) -> bool:
        """Take `drive` out, wherever it waits; return whether it did."""
        if drive in self._hurried:
            self._hurried.remove(drive)
            return True
        key = (drive.priority, drive.program.definition)
        line = self._lines.get(key)
        if line is None or drive not in line:
            return False
        line.remove(drive)
        if not line:
            self._end(key)
        return True

    def _end(self, key: tuple[int, int]) -> None:
        """Forget a line that nobody waits in."""
        del self._lines[key]
        priority, machine = key
        machines = self._machines[priority]
        machines.remove(machine)
        if not machines:
            del self._machines[priority]
            self._highest = max(self._machines, default=None)
