"""
A state that waits: for some event, a dataset, a duration, or until a moment; always with an end.

    Wait            what it waits for, and how long at most
    Wait.key_of     which key of an event it is for, of one instance
    refuse_misfit   a wait whose events, and the transitions of its state, do not match
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from statepipe.filling import filled, has_braces, params_in, said
from statepipe.machine.names import check_names, check_once, check_text
from statepipe.machine.states.datasets import Dataset, in_utc
from statepipe.machine.states.until import Until
from statepipe.model import CANCEL, ERROR, OK, TIMEOUT
from statepipe.policy import DURATION_MS_MAX
from statepipe.suggest import did_you_mean
from statepipe.tables import refusal

#: Events that no one can send: the engine raises them itself.
OURS: Final = (OK, ERROR, TIMEOUT, CANCEL)


#: The event of a callback that names no other.
CALLBACK: Final = "callback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """
    Nothing runs: an instance rests here until an event comes, or its time.

    Attributes:
        events: Names of the events it waits for; () if it waits for a duration.
        ms: How long it waits at most, in milliseconds, or exactly, if for no event; 0 with `until`.
        until: The moment until which it waits at most, or exactly, if for no event; or None.
        key: Text with parameters in it, such as "{params.day}": an event that is emitted with
            that key is for it as well; "" if it is only for what is sent to the instance.
        dataset: Another machine's data that it waits for instead, of which `key` says what.

    Without an event in that time the state ends with `timeout`; without any to wait for,
    with `ok`. When the dataset is there it ends with `ok`.
    """

    events: tuple[str, ...] = ()
    ms: int = 0
    until: Until | None = None
    key: str = ""
    dataset: Dataset | None = None

    def __post_init__(self) -> None:
        """Refuse events that nobody can send, one twice, and a time that is none."""
        check_names("event", self.events)
        check_once("event", list(self.events))
        if ours := [event for event in self.events if event in OURS]:
            raise refusal(
                f'"{ours[0]}" cannot be waited for: it is no event that somebody sends',
                next_step='wait for a name of your own, for example "approved"',
            )
        key = "timeout" if self.events or self.dataset else "for"
        if self.until is not None:
            if self.ms:
                raise refusal("until is its own end", next_step=f"remove {key}")
        elif type(self.ms) is not int or not 0 < self.ms <= DURATION_MS_MAX:
            raise refusal(
                f"{key} is {self.ms!r} ms, outside 1 ms..365 days", next_step=f'{key} = "2d"'
            )

        if self.dataset and (self.events or not self.key):
            raise refusal(
                "waits for a dataset, and for events as well or for none of its keys",
                next_step="give each a state of its own",
            )
        if self.key:
            check_text("key", self.key)
            if has_braces(self.key) or not (self.events or self.dataset):
                raise refusal(
                    f"key is {self.key!r}, not the key of an event with parameters in it",
                    next_step='wait = { event = …, key = "{params.day}", timeout = "2d" }',
                )

    @property
    def params(self) -> tuple[str, ...]:
        """The parameters that its key and its moment name."""
        return (*params_in(self.key), *(self.until.params if self.until else ()))

    def key_of(self, params: Mapping[str, Any]) -> str:
        """Return the key with an instance's parameters in it."""
        return filled(self.key, params, as_text=in_utc if self.dataset else said)

    @property
    def raises(self) -> tuple[str, ...]:
        """What it can end with when nothing goes wrong, its own events first."""
        if self.dataset:
            return (OK, TIMEOUT)
        return (*self.events, TIMEOUT) if self.events else (OK,)


def refuse_misfit(state: str, wait: Wait, *, on: Collection[str]) -> None:
    """
    Refuse a state whose wait has an event that leads nowhere, or that leads where nothing comes.

    Args:
        state: Its name.
        wait: What it waits for.
        on: The events that its transitions name.

    Raises:
        DefinitionError: It is such a state.
    """
    for event in wait.events or (OK,):
        if event not in on:
            raise refusal(
                f'state "{state}" waits, and its event "{event}" has no target',
                next_step=f'on.{event} = "the next state"',
            )
    possible = (*wait.raises, ERROR, TIMEOUT)
    for event in on:
        if event not in possible:
            raise refusal(
                f'on.{event} of "{state}" is never taken: the wait is not for it'
                f"{did_you_mean(event, wait.events)}",
                next_step=f'wait = {{ event = ["{event}", …], timeout = "2d" }}, or remove it',
            )
