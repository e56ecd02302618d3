"""
Which values are plain data, and the path of the one that is not.

    is_plain    fast: are these, and all they contain, of exactly the plain types
    refusal     slow: the error that names the place, `$.rows[3].price`, and the reason
"""

import datetime as dt
import re
from collections.abc import Collection, Iterator
from decimal import Decimal
from itertools import chain
from typing import Any, Final, NamedTuple
from uuid import UUID

from statepipe.errors import ValueRefused

#: Containers in containers, at most; more is a cycle or a mistake.
DEPTH_MAX: Final = 100

_CONTAINERS: Final = frozenset({list, dict, tuple, set})
#: Plain values that hold no others, and that nobody can change.
LEAVES: Final = frozenset({
    type(None), bool, int, float, str, bytes,
    dt.datetime, dt.date, dt.time, dt.timedelta, Decimal, UUID,
})  # fmt: skip
_PLAIN: Final = LEAVES | _CONTAINERS
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,59}")


def is_plain(values: Collection[Any], *, depth_max: int = DEPTH_MAX) -> bool:
    """
    Return whether `values` and all they contain are of exactly the plain types.

    Goes down level by level, at the speed of C where the leaves are. Shared
    containers are visited once a level, so a cycle ends at `depth_max`.
    """
    level = values
    for _ in range(depth_max + 1):
        kinds = set(map(type, level))
        if kinds <= LEAVES:
            return True
        if not kinds <= _PLAIN:
            return False
        level = list(chain.from_iterable(map(_children, _containers(level))))
    return False


def refusal(value: object, cause: Exception | None = None, *, root: str = "$") -> ValueRefused:
    """Return the error that names the first thing in `value` that cannot be kept."""
    found = _find_refused(value, root)
    path, why = found or (root, f"cannot be written ({cause!r})")
    return ValueRefused(
        f"{path} {why}",
        meaning="nothing was written; only plain data crosses a checkpoint",
        next_step="convert it first; None, bool, int, float, str, bytes, list, dict, tuple,"
        " set, date, time, datetime with offset, timedelta, Decimal and UUID can be kept",
    )


def has_offset(moment: dt.datetime | dt.time) -> bool:
    """Return whether `moment` has a UTC offset of its own."""
    try:
        return moment.utcoffset() is not None
    except Exception:  # noqa: BLE001  (a tzinfo is other people's code; a failing one has none)
        return False


class _Place(NamedTuple):
    value: Any
    parent: "_Place | None"
    piece: str  # how the path goes on here: ".rows", "[3]"


def _find_refused(value: object, root: str) -> tuple[str, str] | None:
    level = [_Place(value, None, root)]
    for _ in range(DEPTH_MAX + 1):
        for place in level:
            objection = _objection(place.value)
            if objection:
                return _path(place), objection
        unique = {id(p.value): p for p in level if type(p.value) in _CONTAINERS}
        level = list(chain.from_iterable(map(_places, unique.values())))
        if not level:
            return None
    return _path(level[0])[:200], f"is nested more than {DEPTH_MAX} deep, or contains itself"


def _places(place: _Place) -> Iterator[_Place]:
    value = place.value
    if type(value) is dict:
        for key, child in value.items():
            piece = _key_piece(key)
            yield _Place(key, place, f"{piece} (the key)")
            yield _Place(child, place, piece)
    elif type(value) is set:
        yield from (_Place(child, place, "{}") for child in value)
    else:
        yield from (_Place(child, place, f"[{number}]") for number, child in enumerate(value))


def _key_piece(key: object) -> str:
    if type(key) is str and _NAME.fullmatch(key):
        return f".{key}"
    if type(key) in LEAVES:
        return f"[{ascii(key)[:60]}]"
    return f"[{type(key).__qualname__}]"


def _path(place: _Place) -> str:
    pieces = []
    here: _Place | None = place
    while here is not None:
        pieces.append(here.piece)
        here = here.parent
    return "".join(reversed(pieces))


def _objection(value: Any) -> str | None:  # noqa: ANN401  (that is the question)
    kind = type(value)
    if kind not in _PLAIN:
        return f"is of type {kind.__module__}.{kind.__qualname__}, which is not plain data"
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            return "is a str with a lone surrogate, which is no Unicode text"
    if kind is dt.datetime and not has_offset(value):
        return "is a datetime without an offset; .replace(tzinfo=datetime.UTC) gives it one"
    if kind is dt.time and value.tzinfo is not None and not has_offset(value):
        return "is a time in a zone without a fixed offset"
    return None


def _containers(level: Collection[Any]) -> list[Any]:
    return list({id(v): v for v in level if type(v) in _CONTAINERS}.values())


def _children(container: Any) -> Any:  # noqa: ANN401  (a dict, list, tuple or set)
    return chain(container, container.values()) if type(container) is dict else container
