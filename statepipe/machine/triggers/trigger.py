"""
A trigger of a machine: it starts an instance for each occasion of what it listens to.

    Trigger         its name, what it listens to, the parameters of what it starts
    refuse_unfit    triggers whose parameters are not those of their machine
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from statepipe.machine.names import check_name, check_once
from statepipe.machine.parameter import Param
from statepipe.machine.scalars import convert
from statepipe.machine.triggers.listening import Listens
from statepipe.machine.triggers.places import MISSING, filled, places_of
from statepipe.suggest import did_you_mean
from statepipe.tables import refusal

TRIGGERS_MAX: Final = 100

#: Today does not matter when a value is only checked.
_ANY_DAY: Final = dt.date(2000, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """
    What starts an instance by itself.

    Attributes:
        name: Its name, one of its machine's.
        on: What it listens to.
        params: The parameters of what it starts; texts may have places in them, such as
            "{event.key}", that each occasion fills in.
    """

    name: str
    on: Listens
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a bad name, and places that its occasions do not have."""
        check_name("trigger", self.name)
        object.__setattr__(self, "params", MappingProxyType(dict(self.params)))
        for key, value in self.params.items():
            places = places_of(value)
            if places is None:
                raise refusal(
                    f"params.{key} is {value!r}, which has a brace too many",
                    next_step=f'params.{key} = "{{event.key}}", or a text without braces',
                )
            for place in places:
                if (error := self.on.place_error(place)) is not None:
                    raise refusal(
                        f"params.{key}: {error}", next_step="name one of these, or no place"
                    )

    def names(self, place: str) -> bool:
        """Return True if a parameter has `place`, or one that begins so, in its text."""
        places = (each for value in self.params.values() for each in places_of(value) or ())
        return any(each.startswith(place) for each in places)

    def given(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return the parameters of what one occasion starts, before they are bound.

        One that names what the occasion does not have is left out, to get its default.
        """
        values = {key: filled(value, facts) for key, value in self.params.items()}
        return {key: value for key, value in values.items() if value is not MISSING}


def refuse_unfit(triggers: Sequence[Trigger], params: Sequence[Param]) -> None:
    """
    Refuse triggers that a machine with these parameters cannot have.

    Raises:
        DefinitionError: One is there twice; one gives a parameter that is not declared or of
            another type, or lacks one that every instance needs.
    """
    if len(triggers) > TRIGGERS_MAX:
        raise refusal(f"more than {TRIGGERS_MAX} triggers", next_step="split the machine")
    check_once("trigger", [each.name for each in triggers])
    declared = {param.name: param for param in params}
    for trigger in triggers:
        where = f"triggers.{trigger.name}.params"
        for key, value in trigger.params.items():
            if key not in declared:
                raise refusal(
                    f'{where}: there is no parameter "{key}"{did_you_mean(key, declared)}',
                    next_step=f"the parameters are {', '.join(declared) or 'none'}",
                )
            if not places_of(value):
                _refuse_misfit(where, declared[key], value)
        for param in params:
            if param.required and param.name not in trigger.params:
                raise refusal(
                    f'{where}: parameter "{param.name}" is missing, and every instance needs it',
                    next_step=f"params = {{ {param.name} = … }}, or give it a default",
                )


def _refuse_misfit(where: str, param: Param, value: object) -> None:
    try:
        convert(param.type, value, today=_ANY_DAY)
    except ValueError as error:
        raise refusal(
            f"{where}.{param.name} {error}", next_step=f"{param.name} = …   # type {param.type}"
        ) from None
