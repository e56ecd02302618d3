"""
Where something is in a JSON document: `$.data.items`, `$["next page"]`, `$.items[-1].id`.

    Path    a parsed path; `find` looks it up

A small part of JSONPath: names and positions, nothing that could find two things.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, Self

from statepipe.errors import DefinitionError
from statepipe.io.jsontext import Odd

#: What is found where nothing is; None is something that may be there.
MISSING: Final = object()

_STEP: Final = re.compile(r"""\.([^\W\d][\w-]*)|\[(-?\d{1,9})\]|\["([^"]*)"\]|\['([^']*)'\]""")


@dataclass(frozen=True, slots=True)
class Path:
    """Names and positions, from the document's top inwards; none is the document itself."""

    text: str
    _steps: tuple[str | int, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Return the path that `text` writes.

        Raises:
            DefinitionError: If it is none.
        """
        at, steps = 1, list[str | int]()
        is_rooted = type(text) is str and text.startswith("$")
        while is_rooted and (step := _STEP.match(text, at)):
            name, position, double, single = step.groups()
            steps.append(int(position) if position else name or double or single or "")
            at = step.end()
        if not is_rooted or at != len(text):
            hint = ""
            if type(text) is str and not is_rooted and _is_path(f"$.{text}"):
                hint = f'; did you mean "$.{text}"?'
            raise DefinitionError(
                f"{text!r} is no path into a JSON document{hint}",
                meaning="nothing was read",
                next_step='write "$" for the document itself, "$.data.items",'
                ' "$[\\"next page\\"]" or "$.items[-1].id"',
            )
        return cls(text, tuple(steps))

    def find(self, document: Any) -> Any:  # noqa: ANN401  (whatever is there)
        """
        Return what is at the path, `MISSING` if nothing is.

        What is odd on the way is returned itself: nobody can say what is behind it.
        """
        found = document
        for step in self._steps:
            if type(found) is Odd:
                break
            if type(step) is str and type(found) is dict:
                found = found.get(step, MISSING)
            elif type(step) is int and type(found) is list and -len(found) <= step < len(found):
                found = found[step]
            else:
                return MISSING
        return found

    def is_of_last(self, document: Any) -> bool:  # noqa: ANN401  (whatever is there)
        """Return True if the path counts from the end of a list, and there is such an item."""
        for at, step in enumerate(self._steps):
            if type(step) is int and step < 0:
                return Path(self.text, self._steps[: at + 1]).find(document) is not MISSING
        return False


def _is_path(text: str) -> bool:
    """Return True if `text` is written as a path is."""
    try:
        Path.parse(text)
    except DefinitionError:
        return False
    return True
