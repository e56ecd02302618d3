"""
Which records of a block a contract is sure to let pass, found by the values of each column.

    Prover      what is known of one contract; remembers values that were fine
    unproved    the places of those that must be looked at one by one

What a contract asks of a field depends on its value alone (`provable` says of which parts
of a schema that is true), so a value that comes a thousand times is judged once, by the
library itself. A proof may be stricter than the schema, never laxer.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Final
from uuid import UUID

from statepipe.io.blocks import Columns
from statepipe.io.coded import Coded, different
from statepipe.io.provable import Plan

#: Asks the library whether a value keeps a schema.
IsValid = Callable[[Any], bool]

#: Values that were fine, remembered for each column; longer ones seldom come again.
REMEMBERED_MAX: Final = 10_000
REMEMBERED_BYTES_MAX: Final = 256

_NULL: Final = type(None)
#: Equal values of one of these types are the same to a schema.
_SEEN_AS: Final[Mapping[type, Callable[[Any], Any]]] = {
    str: str,
    int: int,
    bool: bool,
    float: float,
    date: date.isoformat,
    UUID: str,
}


class Prover:
    """
    Judges columns by what one contract asks of their values.

    Args:
        plans: What proves a record.
        compile_schema: Makes an IsValid of a part of the schema.
    """

    def __init__(self, plans: Sequence[Plan], compile_schema: Callable[[Any], IsValid]) -> None:
        self._plans = plans
        self._compile = compile_schema
        self._asked: dict[tuple[int, str], _Column | None] = {}

    def unproved(self, block: Columns) -> Sequence[int]:
        """Return which records of `block` are not proved clean, in order."""
        everything = range(len(block))
        doubtful: set[int] = set()
        for n, plan in enumerate(self._plans):
            if not plan.required <= set(block.fields):
                return everything
            for name, values in zip(block.fields, block.values, strict=True):
                if n and plan.schema(name) is True:  # the first plan has seen that it is a value
                    continue
                column = self._column(n, plan, name)
                if column is None:
                    return everything
                places = column.unproved(values)
                if len(places) == len(block):
                    return everything
                doubtful.update(places)
        return sorted(doubtful)

    def _column(self, n: int, plan: Plan, name: str) -> "_Column | None":
        if (n, name) not in self._asked:
            self._asked[n, name] = self._column_by(plan.schema(name))
        return self._asked[n, name]

    def _column_by(self, schema: object) -> "_Column | None":
        if not _is_self_contained(schema):
            return None
        try:
            return _Column(self._compile(schema))
        except ValueError:  # in a branch that the draft does not know, and nobody looks into
            return None


class _Column:
    """The values of one field, by their types: which were fine."""

    def __init__(self, is_valid: IsValid) -> None:
        self._is_valid = is_valid
        self._fine: dict[type, set[Any]] = {}

    def unproved(self, values: Sequence[Any]) -> Sequence[int]:
        """Return the places of values that are not surely fine."""
        looked_at = different(values)
        kinds = set(map(type, looked_at))
        some = kinds - {_NULL}
        if len(some) > 1 or not some <= _SEEN_AS.keys():
            return range(len(values))
        strange = self._strange(_NULL, {None}) if _NULL in kinds else set()
        if some:
            strange |= self._strange(some.pop(), set(looked_at) - {None})
        if not strange:
            return ()
        if isinstance(values, Coded):
            return values.where([value in strange for value in looked_at])
        return [at for at, value in enumerate(values) if value in strange]

    def _strange(self, kind: type, values: set[Any]) -> set[Any]:
        fine = self._fine.setdefault(kind, set())
        new = values - fine
        strange = {value for value in new if not self._is_fine(kind, value)}
        if len(fine) < REMEMBERED_MAX:
            fine.update(
                value for value in new - strange if sys.getsizeof(value) <= REMEMBERED_BYTES_MAX
            )
        return strange

    def _is_fine(self, kind: type, value: Any) -> bool:  # noqa: ANN401  (a value of a record)
        if kind is float and not math.isfinite(value):
            return False
        seen_as = _SEEN_AS.get(kind)
        try:
            return self._is_valid(value if seen_as is None else seen_as(value))
        except UnicodeEncodeError:  # half a surrogate pair
            return False


def _is_self_contained(schema: object) -> bool:
    """Return True if nothing in `schema` refers to what is outside of it."""
    if isinstance(schema, Mapping):
        return all(
            (not key.startswith("$") or key == "$comment") and _is_self_contained(part)
            for key, part in schema.items()
        )
    if isinstance(schema, list):
        return all(map(_is_self_contained, schema))
    return True
