"""
Plain data as JSON shows it, and what a person made of that as plain data again.

    jsonable    plain data as JSON can say it, for people and programs to read
    mended      a value that was shown so and edited, with the types that JSON does not have

What was not edited comes back as the very value it was, whatever its type: a Decimal, bytes,
a moment, NaN. Text in the place of a value that was shown as text is read as what that was;
all else is what JSON says.
"""

import base64
import datetime as dt
import math
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID

from statepipe.io.rejects import pointer
from statepipe.units import TooFineError, exactly


class UnreadableError(ValueError):
    """An edited value that cannot be of the type it had; says where."""


def jsonable(value: Any) -> Any:  # noqa: ANN401  (plain data in, JSON data out)
    """Return plain data as JSON can say it: moments in ISO 8601, bytes in base64, sets as lists."""
    if isinstance(value, Mapping):
        return {str(jsonable(key)): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    return _scalar(value)


def mended(original: Any, edited: Any, *, path: tuple[str | int, ...] = ()) -> Any:  # noqa: ANN401  (plain data)
    """
    Return what a person made of `original` when `jsonable` of it was edited.

    Args:
        original: Plain data.
        edited: JSON data.
        path: Where in a record it is, for the error.

    Raises:
        UnreadableError: A text cannot be of the type of the value it stands for.
    """
    if _is_same(jsonable(original), edited):
        return original
    if type(original) is dict and type(edited) is dict:
        return _mended_dict(original, edited, path)
    if type(original) is set and type(edited) is list:
        return _mended_set(original, edited, path)
    if type(original) in (list, tuple) and type(edited) is list:
        items = [
            mended(original[at], item, path=(*path, at)) if at < len(original) else item
            for at, item in enumerate(edited)
        ]
        return type(original)(items)
    read = _READ.get((type(original), type(edited)))
    if read is None:
        return edited
    try:
        return read(edited)
    except TooFineError as error:
        raise UnreadableError(f"{pointer(path) or '/'}: {error}") from error
    except (ValueError, OverflowError, InvalidOperation) as error:
        said = str(edited)[:80]
        raise UnreadableError(
            f"{pointer(path) or '/'} was a {type(original).__name__}, and {said!r} is none"
        ) from error


def _mended_dict(
    original: dict[Any, Any], edited: dict[str, Any], path: tuple[str | int, ...]
) -> dict[Any, Any]:
    keys = {str(jsonable(key)): key for key in original}
    if len(keys) != len(original):
        raise UnreadableError(f"{pointer(path) or '/'} has two keys that JSON shows alike")
    made = {}
    for name, item in edited.items():
        if name in keys:
            made[keys[name]] = mended(original[keys[name]], item, path=(*path, name))
        else:
            made[name] = item
    return made


def _mended_set(original: set[Any], edited: list[Any], path: tuple[str | int, ...]) -> set[Any]:
    # In another process the same set may be shown in another order.
    shown = [(jsonable(item), item) for item in original]
    try:
        return {
            next((item for as_json, item in shown if _is_same(as_json, each)), each)
            for each in edited
        }
    except TypeError as error:
        raise UnreadableError(f"{pointer(path) or '/'} was a set, which holds no lists") from error


def _is_same(shown: Any, edited: Any) -> bool:  # noqa: ANN401  (JSON data)
    """Return whether two JSON values are the same; 1 and 1.0 are, and 1 and true are not."""
    if isinstance(shown, dict):
        return (
            isinstance(edited, dict)
            and shown.keys() == edited.keys()
            and all(_is_same(item, edited[name]) for name, item in shown.items())
        )
    if isinstance(shown, list):
        return (
            isinstance(edited, list)
            and len(shown) == len(edited)
            and all(map(_is_same, shown, edited))
        )
    if isinstance(shown, bool) or isinstance(edited, bool):
        return shown is edited
    same: bool = shown == edited
    return same


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _moment(text: str) -> dt.datetime:
    moment: dt.datetime = exactly(text, dt.datetime)
    if moment.utcoffset() is None:
        raise ValueError("it has no offset")
    return moment


def _time(text: str) -> dt.time:
    time: dt.time = exactly(text, dt.time)
    return time


def _duration(seconds: float) -> dt.timedelta:
    duration = dt.timedelta(seconds=seconds)
    if duration.total_seconds() != seconds:
        raise TooFineError(f"{seconds} has finer parts of a second than can be kept")
    return duration


#: By the type of a value, and that of JSON which stands for it: how it is read.
_READ: Final[Mapping[tuple[type, type], Callable[[Any], Any]]] = {
    (bytes, str): _bytes,
    (dt.datetime, str): _moment,
    (dt.date, str): dt.date.fromisoformat,
    (dt.time, str): _time,
    (dt.timedelta, int): _duration,
    (dt.timedelta, float): _duration,
    (Decimal, str): Decimal,
    (UUID, str): UUID,
}


def _scalar(value: Any) -> Any:  # noqa: ANN401  (plain data in, JSON data out)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    return value.total_seconds() if isinstance(value, dt.timedelta) else str(value)
