"""
The flag that says "stop": raised by an executor, read by the task that runs.

    enter     called by an executor before it runs a call in this thread
    current   the flag of the call that runs in this thread

The flag is an object, not a question to the thread, so that a task may hand it to
threads of its own. A worker process has one flag, which its SIGTERM handler raises.
"""

import threading
from typing import Protocol


class Flag(Protocol):
    """
    Whether the call was asked to stop.

    Attributes:
        raised: True from then on.
        own_process: True if the call has a process to itself, which `sys.exit` may end.
    """

    raised: bool
    own_process: bool


class PlainFlag:
    """A flag that somebody raises by setting it."""

    __slots__ = ("own_process", "raised")

    def __init__(self, *, own_process: bool = False) -> None:
        self.raised = False
        self.own_process = own_process


class _Here(threading.local):
    # A class attribute is the default of every thread that has not entered a call.
    flag: Flag = PlainFlag()


_here = _Here()


def enter(flag: Flag) -> None:
    """Make `flag` the one that `current` returns in this thread from now on."""
    _here.flag = flag


def current() -> Flag:
    """Return the flag of the call that runs in this thread; one never raised if none does."""
    return _here.flag
