"""
Limits that a source is given.

    refuse_below_one    one of them is none
"""

from dataclasses import fields
from typing import Any

from statepipe.errors import DefinitionError


def refuse_below_one(limits: Any) -> None:  # noqa: ANN401  (a dataclass of integers)
    """
    Refuse limits that nothing could keep.

    Raises:
        DefinitionError: If one of them is below 1.
    """
    for field in fields(limits):
        value = getattr(limits, field.name)
        if value < 1:
            raise DefinitionError(
                f"{field.name} is {value}, below 1",
                meaning="nothing was read",
                next_step=f"{type(limits).__name__}({field.name}={field.default})",
            )
