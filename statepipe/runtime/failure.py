"""
An exception as plain data, and back: what crosses between a task and its driver.

    describe    any exception -> names, message, traceback; never fails, whatever the exception
    rebuild     names and message -> an exception of the nearest class that both sides know
    known_names one name -> the names of its bases as well, if the class is known here

Exceptions are not pickled: half of them do not survive it, and unpickling runs code.
"""

import builtins
import math
import traceback
from collections.abc import Sequence
from itertools import dropwhile
from pathlib import Path
from typing import Any, Final

from statepipe import errors
from statepipe.errors import StatepipeError, TaskError, Throttled
from statepipe.observe import redact

#: Where files of our own lie.
_OURS: Final = f"{Path(__file__).parents[1]}/"

NAMES_MAX: Final = 32
MESSAGE_CHARS_MAX: Final = 4_000
TRACEBACK_CHARS_MAX: Final = 16_000
RETRY_AFTER_MS_MAX: Final = 366 * 86_400_000


def describe(error: BaseException) -> dict[str, Any]:
    """
    Return `error` as plain data.

    Returns:
        names: class names, most derived first, without object and BaseException;
        message; traceback; retry_after_ms (of Throttled, else None). All bounded.
    """
    return {
        "names": names_of(error),
        "message": message_of(error),
        "traceback": _traceback_of(error),
        "retry_after_ms": _retry_after_ms(error),
    }


def names_of(error: BaseException) -> list[str]:
    """Return the names of its classes, most derived first, without object and BaseException."""
    names = [kind.__name__ for kind in type(error).__mro__ if kind not in {object, BaseException}]
    # `raise BaseException()` would leave nothing to match a policy with.
    return [clean(name, chars_max=200) for name in names[:NAMES_MAX]] or ["BaseException"]


def message_of(error: BaseException) -> str:
    """
    Return its text without secrets; a note that it cannot be printed, if it cannot.

    An error of ours goes on, on lines of their own, with what it means and what to do next:
    tables show the first line only, `inspect` all of them.
    """
    try:
        text = str(error)
        if isinstance(error, StatepipeError):
            step = f"next: {error.next_step}" if error.next_step else ""
            text = "\n".join(line for line in (text, error.meaning, step) if line)
    except BaseException as second:  # noqa: BLE001 the author's __str__ may raise anything
        return f"(an exception that cannot be printed: its __str__ raised {type(second).__name__})"
    more = len(text) - MESSAGE_CHARS_MAX
    shown = _unicode(redact.beginning(text, chars_max=MESSAGE_CHARS_MAX))
    return shown if more <= 0 else f"{shown}… ({more:,} more characters)"


def clean(text: str, *, chars_max: int) -> str:
    """Return `text` with its end cut to the limit, and what is no Unicode written as escapes."""
    if len(text) > chars_max:
        text = f"{text[:chars_max]}… ({len(text) - chars_max:,} more characters)"
    return _unicode(text)


def rebuild(names: Sequence[str], message: str) -> BaseException:
    """
    Return an exception for what was described as `names` and `message`.

    It is of the most derived class that is an error of ours or a builtin and can be
    made from a message alone; its text is `message` either way.
    """
    for name in names:
        kind = getattr(errors, name, None) or getattr(builtins, name, None)
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            continue
        try:
            error = kind(message)
            plain = str(error) == message
        except Exception:  # noqa: BLE001, S112 UnicodeError and others want more than a message
            continue
        # A generic class stands for one that is known here by name only: say that name.
        if plain and (name == names[0] or kind not in {Exception, RuntimeError}):
            return error
    return TaskError(f"{names[0]}: {message}" if names else message)


def known_names(name: str) -> list[str] | None:
    """Return the names of a class and its bases, as `names_of`; None unless ours or a builtin."""
    kind = getattr(errors, name, None) or getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        return None
    return [each.__name__ for each in kind.__mro__ if each not in {object, BaseException}]


def _traceback_of(error: BaseException) -> str:
    try:
        told = traceback.TracebackException.from_exception(error)
        _forget_us(told)
        text = "".join(told.format())
    except BaseException as second:  # noqa: BLE001 the author's exception may break the formatting
        return f"(no traceback: formatting it raised {type(second).__name__})"
    # The end names the cause.
    more = len(text) - TRACEBACK_CHARS_MAX
    shown = _unicode(redact.end(text, chars_max=TRACEBACK_CHARS_MAX))
    return shown if more <= 0 else f"… ({more:,} characters)\n{shown}"


def _forget_us(told: traceback.TracebackException) -> None:
    """Leave out the frames by which we came to the author's code, if it came to that."""
    each: traceback.TracebackException | None = told
    while each is not None:
        frames = list(each.stack)
        theirs = dropwhile(lambda frame: frame.filename.startswith(_OURS), frames)
        each.stack = traceback.StackSummary.from_list(list(theirs) or frames)
        each = each.__cause__ or each.__context__


def _unicode(text: str) -> str:
    """Return `text` with what is no Unicode written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _retry_after_ms(error: BaseException) -> int | None:
    if not isinstance(error, Throttled):
        return None
    seconds = error.retry_after
    if not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds < 0:
        return None
    return min(round(seconds * 1000), RETRY_AFTER_MS_MAX)
