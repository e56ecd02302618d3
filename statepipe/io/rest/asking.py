"""
What a way of paging may be made with; all else is refused before anything is read.

    check_number    a whole number
    refused         the error
"""

from statepipe.errors import DefinitionError


def check_number(name: str, value: object, remedy: str) -> None:
    """
    Refuse what is not counted on from.

    Raises:
        DefinitionError: If `value` is no whole number.
    """
    if type(value) is not int:
        raise refused(f"{name} is {value!r}, not a whole number", remedy)


def refused(message: str, remedy: str) -> DefinitionError:
    """Return the error, with what to write."""
    return DefinitionError(message, meaning="nothing was read", next_step=remedy)
