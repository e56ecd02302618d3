"""
A parameter that a machine declares: its name, its type, and what it is if none is given.

What one instance is given is bound to these by `params.py`.
"""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any, Final, get_args

from statepipe.machine.scalars import ParamType, convert
from statepipe.suggest import did_you_mean
from statepipe.tables import refusal

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

#: Today does not matter when a default is only checked.
_ANY_DAY: Final = dt.date(2000, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """
    A declared parameter.

    Attributes:
        name: Its name, as in `-p name=value`.
        type: What its value is.
        default: Its value if none is given; "today" for a date is the day of creation.
        required: False if it may be left out; without a default it is None then.
            A parameter with a default is never required.
    """

    name: str
    type: ParamType = "text"
    default: Any = None
    required: bool = True

    def __post_init__(self) -> None:
        """Refuse a bad name, an unknown type and a default of another type."""
        if not _NAME.fullmatch(self.name):
            raise refusal(
                f'"{self.name}" is not a name for a parameter',
                next_step="a name is a-z, then a-z, 0-9 or _, at most 64 characters",
            )
        if self.type not in get_args(ParamType):
            raise refusal(
                f"type is {self.type!r}{did_you_mean(str(self.type), get_args(ParamType))}",
                next_step=f"type is one of {', '.join(get_args(ParamType))}",
            )
        if self.default is None:
            return
        object.__setattr__(self, "required", False)
        try:
            convert(self.type, self.default, today=_ANY_DAY)
        except ValueError as error:
            raise refusal(
                f"default {error}", next_step=f"give a default of type {self.type}"
            ) from None
