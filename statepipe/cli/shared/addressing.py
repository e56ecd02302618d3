"""
What to type next, with the options that say which store was meant.

    Address             --env, --store and --config, those that were given
    addressed           a text whose commands have them
    addressed_lines     the same of lines that an answer consists of: only of what leads on

Typed as it stands it reaches the store that the answer is about: the store of the folder may
have an instance of the same id.
"""

import re
import shlex
from typing import Final

#: Each option that was given, and its value.
Address = tuple[tuple[str, str], ...]

#: A command as far as it goes: up to its comment, to a full stop of a kind, or to the next one.
_CALL: Final = r"(?<![\w./-])statepipe(?= (?:--|(?!as )[a-z]))((?:(?! #|;| statepipe ).)*)"
#: Where a line says what leads on; the rest of it may be anybody's words.
_LEADS_ON: Final = r"(?m)(^ *(?:next|fix):? +|   next: )(.*)$"


def addressed(text: str, address: Address) -> str:
    """Return `text` with `address` in each command that has no option of that name already."""
    if not address:
        return text

    def typed(call: re.Match[str]) -> str:
        words = call[1].split()
        if "--help" in words:  # that is about no store
            return call[0]
        given = [
            f" {option} {shlex.quote(value)}" for option, value in address if option not in words
        ]
        return f"statepipe{''.join(given)}{call[1]}"

    return re.sub(_CALL, typed, text)


def addressed_lines(text: str, address: Address) -> str:
    """Return `text` with `address` in the commands that follow a `next` or a `fix`."""
    if not address:
        return text
    return re.sub(_LEADS_ON, lambda found: found[1] + addressed(found[2], address), text)
