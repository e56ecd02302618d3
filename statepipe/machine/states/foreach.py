"""
The list that a fan-out works on: one that an earlier task of its graph returned.

    Foreach.of      "result.files" or "results.TASK.files", taken apart
    Foreach.items   the list itself, in the results of the needs
    ELEMENTS_MAX    how many elements a list may have
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from statepipe.tables import refusal

ELEMENTS_MAX: Final = 10_000

_PATH: Final = re.compile(r"results?(\.[\w-]+)*")
_EXAMPLES: Final = 'foreach = "result.files" with one need, "results.TASK.files" with several'


class Foreach(NamedTuple):
    """
    Where the list is.

    Attributes:
        need: The task in whose result it is.
        path: The keys that lead to it there; () if the result itself is the list.
    """

    need: str
    path: tuple[str, ...]

    @classmethod
    def of(cls, text: object, *, needs: Sequence[str]) -> "Foreach":
        """
        Return what `text` says.

        Args:
            text: As written.
            needs: The tasks that are needed.

        Raises:
            DefinitionError: It says nothing of the kind, or names what is not needed.
        """
        if not isinstance(text, str) or not _PATH.fullmatch(text):
            raise refusal(f"foreach is {text!r}, not the place of a list", next_step=_EXAMPLES)
        word, *keys = text.split(".")
        if not needs:
            raise refusal(
                "foreach takes its list from the result of a task, and none is needed",
                next_step='needs = ["the task that returns the list"]',
            )
        if word == "result":
            if len(needs) > 1:
                raise refusal(
                    f"foreach is {text!r}, and there are {len(needs)} needs",
                    next_step=f'foreach = "results.{needs[0]}.…"',
                )
            return cls(needs[0], tuple(keys))
        if not keys or keys[0] not in needs:
            raise refusal(
                f"foreach is {text!r}, which is in the result of no task that is needed",
                next_step=f"its needs are {', '.join(needs)}; {_EXAMPLES}",
            )
        return cls(keys[0], tuple(keys[1:]))

    def items(self, results: Mapping[str, Any]) -> Sequence[Any]:
        """
        Return the list.

        Args:
            results: The results of the needs that have one, by task.

        Raises:
            ValueError: There is no list at that place, or one of more than ELEMENTS_MAX; the
                message says what is.
        """
        found: Any = results.get(self.need)
        said = f"the result of {self.need!r}"
        for key in self.path:
            if not isinstance(found, Mapping) or key not in found:
                raise ValueError(f"{said} has no {key!r} to take a list from")
            found, said = found[key], f"{said}.{key}"
        if not isinstance(found, list | tuple):
            raise ValueError(  # noqa: TRY004  (one kind for all that is no list of elements)
                f"{said} is {type(found).__name__}, not a list of elements"
            )
        if len(found) > ELEMENTS_MAX:
            raise ValueError(f"{said} has {len(found):,} elements, more than {ELEMENTS_MAX:,}")
        return found
