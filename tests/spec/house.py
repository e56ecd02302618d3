"""
A machine whose processes start, die and start again: a store, an owned clock, two places for them.

    House       what schedules with processes share: who is there, what is under way
    answered    what a command answers, or the kind of error it raises
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from statepipe.errors import Busy, Refused
from statepipe.machine.definition import Machine
from statepipe.runtime.driving.inbox import Question
from statepipe.runtime.program import Program
from statepipe.store import liveness
from statepipe.store.file.connection import Store
from statepipe.store.file.opening import open_store
from statepipe.testing import ManualClock
from tests.spec.playing import STORE, with_empty_store
from tests.spec.processes import Play, Process, Scene

SLOTS = st.integers(0, 1)
PICK = st.integers(0, 7)


class House(RuleBasedStateMachine):
    """Two places for processes on one store, and a connection of the people who steer."""

    def __init__(self, *machines: Machine) -> None:
        super().__init__()
        self._folder = with_empty_store()
        self.scene = Scene(Path(self._folder.name), machines)
        self.clock = ManualClock()
        self.pids: dict[int, int] = {}
        self._patches: list[Any] = [
            mock.patch.object(liveness, "pid_started", self.pids.get),
            mock.patch.object(liveness, "pid_space", partial(str, "here")),
            # The test is the task, and no thread of its own could wait for an answer.
            mock.patch.object(Question, "wait", lambda question: question),
        ]
        for patch in self._patches:
            patch.start()
        self.slots: list[Process | None] = [None, None]
        self.cli: Store | None = None

    def boot(self, slot: int) -> Process:
        """Return the process there; start one if there is none."""
        process = self.slots[slot]
        if process is None:
            pid = 1_000 + len(self.pids)
            self.pids[pid] = pid
            process = self.slots[slot] = Process(self.scene, self.clock, pid=pid)
            path = Path(self._folder.name) / STORE
            self.cli = self.cli or open_store(path, create=False, clock=self.clock)
        return process

    def bury(self, slot: int) -> None:
        """Throw a process away, if one is there."""
        process, self.slots[slot] = self.slots[slot], None
        if process is not None:
            process.vanish()
            del self.pids[process.pid]
            self.pids[-process.pid] = 0  # so that no number is given twice

    @property
    def people(self) -> Store:
        """The connection of people, who come after the first process."""
        assert self.cli is not None, "nobody made a store yet"
        return self.cli

    def _programs(self) -> list[Program]:
        return self.scene.programs(self.people)

    def pick(self, slot: int, pick: int, *, state: str | None = None) -> Play | None:
        """Return one of the attempts under way in a process."""
        process = self.slots[slot]
        plays = [] if process is None else process.plays
        able = [p for p in plays if p.can_go_on and state in (None, p.call["state"])]
        return able[pick % len(able)] if able else None

    def close(self) -> None:
        """Leave nothing behind."""
        for slot in range(len(self.slots)):
            self.bury(slot)
        if self.cli is not None:
            self.cli.close()
        for patch in self._patches:
            patch.stop()
        self._folder.cleanup()


def answered(command: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (as it is)
    """Return what a command answers, or the kind of error it raises."""
    try:
        return command(*args, **kwargs)
    except (Busy, Refused) as error:
        return type(error)
