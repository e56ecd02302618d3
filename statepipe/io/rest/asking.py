"""
What a way of paging may be asked with; all else is refused before anything is read.

    check_number    a whole number
    check_way       `ByPage(…)` and the others, not what they are called
    refused         the error
"""

from typing import Final

from statepipe.errors import DefinitionError

#: What each way of paging has.
_PARTS: Final = ("first", "place", "following", "empty_max")


def check_number(name: str, value: object, remedy: str) -> None:
    """
    Refuse what is not counted on from.

    Raises:
        DefinitionError: If `value` is no whole number.
    """
    if type(value) is not int:
        raise refused(f"{name} is {value!r}, not a whole number", remedy)


def check_way(pages: object) -> None:
    """
    Refuse what is no way of paging, a class of one included.

    Raises:
        DefinitionError: With what was given.
    """
    if isinstance(pages, type) or not all(hasattr(pages, part) for part in _PARTS):
        given = pages.__name__ if isinstance(pages, type) else repr(pages)
        raise refused(
            f"pages is {given}, no way of paging",
            "pages=ByPage(), ByOffset(), ByCursor() or ByLink()",
        )


def refused(message: str, remedy: str) -> DefinitionError:
    """Return the error, with what to write."""
    return DefinitionError(message, meaning="nothing was read", next_step=remedy)
