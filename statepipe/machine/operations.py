"""
What a guard computes: each function takes compiled parts and returns the compiled whole.

A compiled part is called with the facts and returns a value. Kinds are told apart
more strictly than Python does: true is not 1, and a number is no text.
"""

import datetime as dt
import math
import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from statepipe.suggest import did_you_mean

Facts = Mapping[str, Any]
Part = Callable[[Facts], Any]

#: Beyond it arithmetic is refused: a product of products could grow without end.
NUMBER_MAX: Final = 2**63

COMPARISONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_KINDS: Final[tuple[tuple[type | tuple[type, ...], str], ...]] = (
    (bool, "true or false"),  # before numbers: a bool is an int to Python
    ((int, float, Decimal), "a number"),
    (str, "text"),
    (type(None), "null"),
    (dt.datetime, "a datetime"),  # before dates: a datetime is a date to Python
    (dt.date, "a date"),
    (dt.time, "a time"),
    (dt.timedelta, "a duration"),
    ((list, tuple), "a list"),
    ((set, frozenset), "a set"),
    (dict, "a table"),
)
_ORDERED: Final = frozenset({"a number", "text", "a datetime", "a date", "a time", "a duration"})


class Unfit(Exception):
    """A fact is missing or of the wrong kind; the guard says it together with its own text."""


def kind_name(value: object) -> str:
    """Return the word a guard has for what `value` is, such as "a number"."""
    for types, name in _KINDS:
        if isinstance(value, types):
            return name
    return type(value).__name__


def constant(value: object) -> Part:
    """A literal."""
    return lambda _facts: value


def looked_up(root: str, path: list[str]) -> Part:
    """A fact by name, then by one key after the other."""

    def look_up(facts: Facts) -> Any:  # noqa: ANN401 - a fact is any plain value
        # Not `in`: facts may be worked out when asked for, and would be twice.
        try:
            value, seen = facts[root], root
        except KeyError:
            raise Unfit(f'there is no "{root}" here') from None
        for key in path:
            if not isinstance(value, Mapping):
                raise Unfit(f'"{seen}" is {kind_name(value)} and has no "{key}"')
            if key not in value:
                raise Unfit(f'"{seen}" has no "{key}"{did_you_mean(key, map(str, value))}')
            value, seen = value[key], f"{seen}.{key}"
        return value

    return look_up


def truth(value: object, word: str) -> bool:
    """
    Return `value` if it is true or false.

    Raises:
        Unfit: If it is anything else; nothing is true by being non-empty.
    """
    if value is True or value is False:
        return value
    raise Unfit(f'"{word}" wants true or false, not {kind_name(value)}')


def both(left: Part, right: Part) -> Part:
    """`and`; the right side is not looked at if the left is false."""
    return lambda facts: truth(left(facts), "and") and truth(right(facts), "and")


def either(left: Part, right: Part) -> Part:
    """`or`; the right side is not looked at if the left is true."""
    return lambda facts: truth(left(facts), "or") or truth(right(facts), "or")


def compared(sign: str, left: Part, right: Part) -> Part:
    """A comparison, membership included."""
    if sign == "==":
        return lambda facts: _equal(left(facts), right(facts))
    if sign == "!=":
        return lambda facts: not _equal(left(facts), right(facts))
    if sign == "in":
        return lambda facts: _contains(right(facts), left(facts))
    if sign == "not in":
        return lambda facts: not _contains(right(facts), left(facts))
    compare = COMPARISONS[sign]

    def ordered(facts: Facts) -> bool:
        a, b = left(facts), right(facts)
        if kind_name(a) != kind_name(b) or kind_name(a) not in _ORDERED:
            raise Unfit(f'"{sign}" cannot compare {kind_name(a)} with {kind_name(b)}')
        return bool(compare(a, b))

    return ordered


def _equal(a: object, b: object) -> bool:
    if a is None or b is None:
        return a is b
    if kind_name(a) != kind_name(b):
        raise Unfit(f"{kind_name(a)} is never equal to {kind_name(b)}")
    return bool(a == b)


def _contains(whole: object, part: object) -> bool:
    if isinstance(whole, str) and isinstance(part, str):
        return part in whole
    if isinstance(whole, Mapping):
        return part in whole
    if isinstance(whole, list | tuple | set | frozenset):
        return any(kind_name(item) == kind_name(part) and item == part for item in whole)
    raise Unfit(f'"in" cannot look for {kind_name(part)} in {kind_name(whole)}')


def computed(sign: str, left: Part, right: Part) -> Part:
    """Arithmetic on numbers, with a bounded answer."""
    compute = _ARITHMETIC[sign]

    def compute_both(facts: Facts) -> Any:  # noqa: ANN401 - int, float or Decimal
        a, b = left(facts), right(facts)
        if kind_name(a) != "a number" or kind_name(b) != "a number":
            raise Unfit(f'"{sign}" cannot compute with {kind_name(a)} and {kind_name(b)}')
        answer = compute(a, b)
        if not math.isfinite(answer) or abs(answer) > NUMBER_MAX:
            raise Unfit(f'"{sign}" gives a number that is too large')
        return answer

    return compute_both
