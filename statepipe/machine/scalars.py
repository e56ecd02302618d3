"""
The types a parameter may have, and how a value becomes one of them.

Text is read as the declared type, wherever it comes from; JSON only if it is `Unread`
(`-p day=2013-02-04`), because any other text is a JSON value already. A value that has a
type (`-p day:=…`, Python, TOML) is checked, never silently changed. An int is taken
for a float, since nobody writes 3.0; nothing else is converted.
"""

import datetime as dt
import json
import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from statepipe.units import TooFineError, exactly

ParamType = Literal["text", "int", "float", "bool", "date", "datetime", "json"]

#: As a default of a `date`: the day the instance was created.
TODAY: Final = "today"

_DEPTH_MAX: Final = 50
_TRUE: Final = frozenset({"true", "yes", "1"})
_FALSE: Final = frozenset({"false", "no", "0"})


class Unread(str):
    """Text that a person typed for a value; what it means depends on the declared type."""

    __slots__ = ()


def convert(kind: ParamType, value: object, *, today: dt.date) -> Any:  # noqa: ANN401 - any plain value
    """
    Return `value` as a value of `kind`.

    Args:
        kind: The declared type.
        value: Text, or a value of that type.
        today: What the date "today" stands for.

    Raises:
        ValueError: If `value` is not one; the message says what is wanted.
    """
    if kind == "date" and value == TODAY:
        return today
    return _READERS[kind](value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _unfit(value, "text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode (a lone surrogate)") from None
    return str(value)


def _int(value: object) -> int:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            raise _unfit(value, "a whole number") from None
    if type(value) is not int:
        raise _unfit(value, "a whole number")
    return value


def _float(value: object) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise _unfit(value, "a number")
        number = float(value)
    except (ValueError, OverflowError):
        raise _unfit(value, "a number") from None
    if not math.isfinite(number):
        raise ValueError(f"is {number}; it must be finite")
    return number


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise _unfit(value, "true or false")


def _date(value: object) -> dt.date:
    if isinstance(value, str):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            raise _unfit(value, 'a date such as "2013-02-04"') from None
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        raise _unfit(value, 'a date such as "2013-02-04"')
    return value


def _datetime(value: object) -> dt.datetime:
    wanted = 'a moment with its offset, such as "2013-02-04T10:00:00Z"'
    moment = value
    if isinstance(value, str):
        try:
            moment = exactly(value, dt.datetime)
        except TooFineError:
            raise _unfit(value, "a moment with at most six digits of a second") from None
        except ValueError:
            raise _unfit(value, wanted) from None
    if not isinstance(moment, dt.datetime) or moment.tzinfo is None:
        raise _unfit(value, wanted)
    return moment


def _json(value: object) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, Unread):
        try:
            value = json.loads(value, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"is not JSON: {error}") from None
    _check_json(value, depth=0)
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_json(value: object, *, depth: int) -> None:
    if depth > _DEPTH_MAX:
        raise ValueError(f"is nested deeper than {_DEPTH_MAX}")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise _unfit(key, "text, as a key of JSON must be")
            _check_json(item, depth=depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_json(item, depth=depth + 1)
    elif isinstance(value, str):
        _text(value)
    elif isinstance(value, float):
        _float(value)
    elif value is not None and not isinstance(value, bool | int):
        raise _unfit(value, "a JSON value")


def _unfit(value: object, wanted: str) -> ValueError:
    return ValueError(f"is {reprlib.repr(value)}, not {wanted}")


_READERS: Final[dict[ParamType, Callable[[object], Any]]] = {
    "text": _text,
    "int": _int,
    "float": _float,
    "bool": _bool,
    "date": _date,
    "datetime": _datetime,
    "json": _json,
}
