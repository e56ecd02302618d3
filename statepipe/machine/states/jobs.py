"""
A state whose work is done elsewhere: a job is submitted, and asked about until it has ended.

    Job     the functions that do so, how often, and how long at most
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from statepipe.machine.names import is_function_name
from statepipe.policy import DURATION_MS_MAX
from statepipe.tables import refusal

#: By how it is written; the keys of a machine file.
JOB_KEYS: Final = ("submit", "poll", "cancel", "every", "timeout")

Function = str | Callable[..., object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    An outside job.

    Attributes:
        submit: `submit(task)` begins it and returns its handle, plain data. "module:name", or
            the function itself for a machine built in Python.
        poll: `poll(task, handle)` returns None while it goes on, then what a task returns.
        cancel: `cancel(task, handle)` ends it; None if nobody can.
        every_ms: How long it is left alone between two polls, in milliseconds.
        timeout_ms: How long it may take from its submission, in milliseconds.
    """

    submit: Function
    poll: Function
    cancel: Function | None = None
    every_ms: int = 30_000
    timeout_ms: int = 86_400_000

    def __post_init__(self) -> None:
        """Refuse what names no function, and times that are none."""
        for key, named in self.functions.items():
            if not (is_function_name(named) if isinstance(named, str) else callable(named)):
                raise refusal(
                    f"{key} is {named!r}, which does not name a function",
                    next_step=f'{key} = "module:function"',
                )
        for key, ms in (("every", self.every_ms), ("timeout", self.timeout_ms)):
            if type(ms) is not int or not 0 < ms <= DURATION_MS_MAX:
                raise refusal(
                    f"{key} is {ms!r} ms, outside 1 ms..365 days", next_step=f'{key} = "1h"'
                )

    @property
    def functions(self) -> dict[str, Function]:
        """Its functions by what they do."""
        said = {"submit": self.submit, "poll": self.poll}
        return said if self.cancel is None else {**said, "cancel": self.cancel}
