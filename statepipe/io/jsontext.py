"""
JSON as data may be trusted with: what Python's parser would take in silence is refused.

    parse_object      one JSON object, whole or not at all (a line of a file)
    parse_document    one document of many records; each odd one can be told and shown alone

Refused are NaN and infinities, numbers that a float (or a Decimal) cannot hold, a key twice in one
object, half a surrogate pair, and what is nested deeper than `DEPTH_MAX`. An integer may
have as many digits as Python reads.
"""

import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn

from statepipe.io.rows import Value
from statepipe.model import Record

#: Deepest nesting of a JSON value that a staged record can hold with room to spare.
DEPTH_MAX: Final = 64

_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


class MalformedError(ValueError):
    """What cannot be used, with the reason."""


class _OddError(ValueError):
    """Something in a document is odd; it is parsed again to find out where."""


@dataclass(frozen=True, slots=True)
class Odd:
    """Stands where a document has something that is not data; `text` is what it has."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """
    A parsed document.

    Attributes:
        value: Its content; an `Odd` wherever it is odd.
    """

    value: Value
    _is_odd: bool
    _has_surrogates: bool

    def why_refused(self, item: Value) -> str | None:
        """Return why `item` of the document cannot be a record; None if it can."""
        if self._is_odd and (odd := next(_odd_in(item), None)) is not None:
            return odd.reason
        if type(item) is not dict:
            return "not a JSON object"
        try:
            _check_depth(item)
            if self._has_surrogates:
                _check_surrogates(item)
        except MalformedError as error:
            return str(error)
        return None


def parse_object(text: str, *, decimals: bool = False) -> Record:
    """
    Return the object that `text` is.

    Args:
        text: One JSON object.
        decimals: As for `parse_document`.

    Raises:
        MalformedError: If it is not one, or is odd.
    """
    try:
        record = (_EXACT_DECODER if decimals else _DECODER).decode(text)
    except json.JSONDecodeError as error:
        blank = not text.strip()
        raise MalformedError("the line is blank" if blank else f"not JSON: {error}") from error
    except RecursionError as error:
        raise MalformedError(f"nested deeper than {DEPTH_MAX}") from error
    except _OddError as error:
        raise MalformedError(str(error)) from error
    except ValueError as error:
        raise MalformedError(_too_long()) from error
    if type(record) is not dict:
        raise MalformedError("not a JSON object")
    if text.count("[") + text.count("{") > DEPTH_MAX:
        _check_depth(record)
    # Only an escape can bring half a surrogate pair into text that was UTF-8.
    if "\\u" in text:
        _check_surrogates(record)
    return record


def parse_document(text: str, *, decimals: bool = False) -> Document:
    """
    Return `text` parsed.

    Args:
        text: One JSON document.
        decimals: Numbers with a point or an exponent become Decimal, every digit kept,
            instead of the nearest float.

    Raises:
        MalformedError: If it is not JSON, or is cut.
        RecursionError: If it is nested too deep to be read at all.
    """
    is_odd = False
    try:
        try:
            value = (_EXACT_DECODER if decimals else _DECODER).decode(text)
        except json.JSONDecodeError:
            raise
        except ValueError:
            is_odd = True
            value = (_EXACT_MARKER if decimals else _MARKER).decode(text)
    except json.JSONDecodeError as error:
        raise MalformedError(f"not JSON: {error}") from error
    return Document(value, is_odd, _SURROGATE.search(text) is not None)


def text_of(item: Value) -> str:
    """Return `item` of a document as JSON, ASCII alone, what is odd in it as it was there."""
    if type(item) is Odd:
        return item.text
    if type(item) is dict:
        inner = ", ".join(f"{json.dumps(name)}: {text_of(each)}" for name, each in item.items())
        return f"{{{inner}}}"
    if type(item) is list:
        return f"[{', '.join(map(text_of, item))}]"
    return str(item) if type(item) is Decimal else json.dumps(item)


def _odd_in(item: Value) -> Iterator[Odd]:
    waiting = [item]
    while waiting:
        each = waiting.pop()
        if type(each) is Odd:
            yield each
        elif type(each) is dict:
            waiting.extend(each.values())
        elif type(each) is list:
            waiting.extend(each)


def _check_depth(value: Value) -> None:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            inner
            for item in level
            for inner in (item.values() if type(item) is dict else item)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return
    raise MalformedError(f"nested deeper than {DEPTH_MAX}")


def _check_surrogates(record: Record) -> None:
    try:
        json.dumps(record, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        raise MalformedError("holds half a surrogate pair") from error


def _pairs(pairs: list[tuple[str, Any]]) -> Record:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise _OddError(_twice(pairs))
    return record


def _twice(pairs: list[tuple[str, Any]]) -> str:
    names = [name for name, _ in pairs]
    twice = next(name for name in names if names.count(name) > 1)
    return f"the key {twice[:80]!a} is there twice"


def _constant(name: str) -> NoReturn:
    raise _OddError(f"{name} is not JSON")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _OddError(f"{text[:80]} is beyond what a float holds")
    return number


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise _OddError(f"{text[:80]} is beyond what a Decimal holds") from None


def _marked_pairs(pairs: list[tuple[str, Any]]) -> Record | Odd:
    record = dict(pairs)
    if len(record) == len(pairs):
        return record
    inner = ", ".join(f"{json.dumps(name)}: {text_of(each)}" for name, each in pairs)
    return Odd(_twice(pairs), f"{{{inner}}}")


def _marked_constant(name: str) -> Odd:
    return Odd(f"{name} is not JSON", name)


def _marked_float(text: str) -> float | Odd:
    try:
        return _float(text)
    except _OddError as error:
        return Odd(str(error), text)


def _marked_decimal(text: str) -> Decimal | Odd:
    try:
        return _decimal(text)
    except _OddError as error:
        return Odd(str(error), text)


def _marked_int(text: str) -> int | Odd:
    try:
        return int(text)
    except ValueError:
        return Odd(_too_long(), text)


def _too_long() -> str:
    # Python reads no more, unless its environment says so: it would take quadratic time.
    return f"an integer has more than {sys.get_int_max_str_digits():,} digits"


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float
)
_MARKER: Final = json.JSONDecoder(
    object_pairs_hook=_marked_pairs,
    parse_constant=_marked_constant,
    parse_float=_marked_float,
    parse_int=_marked_int,
)
_EXACT_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_decimal
)
_EXACT_MARKER: Final = json.JSONDecoder(
    object_pairs_hook=_marked_pairs,
    parse_constant=_marked_constant,
    parse_float=_marked_decimal,
    parse_int=_marked_int,
)
