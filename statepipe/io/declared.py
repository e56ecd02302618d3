"""
The columns that a contract says a table has.

    read_declared     of the contract at a path
    Declared          the columns, and whether a table that lacks some gets them
    Declared.meet     what there is, and what is to be made, of one table

    in the schema                                 is
    "type": "integer", "boolean"                  integer, boolean
    "type": "number"                              number; decimal if "multipleOf" has a fraction
    "type": "string"                              text
    …with "format": "date", "date-time",          date, datetime,
    "time", "uuid"                                time, uuid
    "type": "object", "array"                     json
    "enum", "const" without "type"                what the values are
    several types beside "null", or none          any

A property that is required and cannot be null is NOT NULL in a table that is made, never in a
column that is added: rows that are there have no value. What a column is in one kind of
database, and which values it holds, is the matter of its destination.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from statepipe.errors import DataError, DefinitionError
from statepipe.io.contract import Contract
from statepipe.io.fitting import alike
from statepipe.io.table import quote

#: What a destination knows of one column.
Column = TypeVar("Column")

#: References of a schema that are followed one from another; more of them are a circle.
_DEPTH_MAX: Final = 20

_FORMATS: Final = {"date": "date", "date-time": "datetime", "time": "time", "uuid": "uuid"}
_TYPES: Final = {"integer": "integer", "boolean": "boolean", "object": "json", "array": "json"}
_OF_VALUES: Final = {bool: "boolean", int: "integer", float: "number", str: "text"}
_NUMBERS: Final = ("integer", "number", "decimal")  # each holds those before it

#: What a key can be.
_KEYS: Final = frozenset(_FORMATS.values()) | {"integer", "decimal", "text", "boolean"}


class Field(NamedTuple):
    """
    One property of a contract.

    Attributes:
        name: Its name, and the column's.
        shape: What its values are: "integer", "number", "decimal", "text", "boolean", "date",
            "datetime", "time", "uuid", "json" or "any".
        required: True if each record has a value that is not null.
    """

    name: str
    shape: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Declared:
    """
    The columns of a table, by contract.

    Attributes:
        contract: The file of the contract, for errors.
        fields: Its properties.
        adds: True if a table that lacks some of them gets them; otherwise it is refused.
    """

    contract: str
    fields: tuple[Field, ...]
    adds: bool

    def meet(
        self,
        table: Mapping[str, Column] | None,
        *,
        name: str,
        make: Callable[[Field], Column],
        holds: Callable[[Column, Field], bool],
    ) -> tuple[dict[str, Column], dict[str, Column]]:
        """
        Return the columns that the table will have, and those of them to be added to it.

        Args:
            table: The columns that it has; None if it is to be made.
            name: The table, for errors.
            make: The column for a field.
            holds: Is the column one for the values of the field?

        Raises:
            DataError: If the contract contradicts the table.
        """
        if table is None:
            return {field.name: make(field) for field in self.fields}, {}
        for field in self.fields:
            if field.name in table and not holds(table[field.name], field):
                self._refuse(
                    name,
                    f"{field.name!a} is of type {field.shape} in the one, and its column in the"
                    " other holds no such values",
                    "correct the contract, or the type of the column; then resume",
                )
        lacking = self.lacking(table, make=make)
        if lacking and not self.adds:
            first = next(iter(lacking))
            reason = f"it has {first!a}, and the table has no such column"
            next_step = (
                f'say columns = "add" in the load, or ALTER TABLE … ADD COLUMN {quote(first)};'
                " then resume"
            )
            if other := alike(first, table):
                reason += f"; it has {other!a}, which differs in case only"
                next_step = f"call the property {other!a} in the contract; then resume"
            self._refuse(name, reason, next_step)
        return {**table, **lacking}, lacking

    def lacking(
        self, table: Iterable[str], *, make: Callable[[Field], Column]
    ) -> dict[str, Column]:
        """Return the columns that a table with these ones lacks; NULL is in each of them."""
        known = set(table)
        return {
            field.name: make(field._replace(required=False))
            for field in self.fields
            if field.name not in known
        }

    def _refuse(self, table: str, reason: str, next_step: str) -> None:
        raise DataError(
            f"contract {self.contract} contradicts table {table!r}: {reason}",
            meaning="nothing of this batch was loaded",
            next_step=next_step,
        )


def read_declared(path: Path, *, key: Iterable[str], adds: bool) -> Declared:
    """
    Return the columns that the contract at `path` declares.

    Args:
        path: A JSON Schema.
        key: The columns of the key, which must be among them.
        adds: True if a table that lacks some gets them.

    Raises:
        DefinitionError: If it is no contract, or no table can be made from it.
    """
    schema = Contract.load(path).schema
    fields = _fields_of(schema)
    shapes = {field.name: field.shape for field in fields}
    problem = ""
    if not fields:
        problem = "names no properties, and a table has columns"
    for column in key:
        if column not in shapes:
            problem = problem or f"has no property {column!a}, which is in the key of the load"
        elif shapes[column] not in _KEYS:
            problem = problem or f"says that {column!a}, which is in the key, is {shapes[column]}"
    if problem:
        raise DefinitionError(
            f"contract {path} {problem}",
            meaning="nothing was run",
            next_step=f"mend {path} or the load, then statepipe check",
        )
    return Declared(path.name, fields, adds)


def _fields_of(schema: Any) -> tuple[Field, ...]:  # noqa: ANN401  (any JSON)
    properties: dict[str, Any] = {}
    required: set[str] = set()
    for part in _parts(schema, schema, _DEPTH_MAX):
        properties = {**part.get("properties", {}), **properties}
        required.update(part.get("required", ()))
    fields = []
    for name, wanted in properties.items():
        if wanted is False:
            continue  # no record has it
        found = _shapes(wanted, schema, _DEPTH_MAX)
        shape = _one_of(found - {"null"})
        is_required = name in required and "null" not in found and shape != "any"
        fields.append(Field(name, shape, is_required))
    return tuple(fields)


def _parts(part: Any, schema: Any, depth: int) -> Iterator[dict[str, Any]]:  # noqa: ANN401  (of a library, or plain data)
    """Yield what must hold of one value: the part itself, what it refers to, all of `allOf`."""
    if not isinstance(part, dict) or depth == 0:
        return
    yield part
    if "$ref" in part:
        yield from _parts(_referred(part["$ref"], schema), schema, depth - 1)
    for each in part.get("allOf", ()):
        yield from _parts(each, schema, depth - 1)


def _referred(reference: str, schema: Any) -> Any:  # noqa: ANN401  (of a library, or plain data)
    found = schema
    for step in reference.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _shapes(part: Any, schema: Any, depth: int) -> set[str]:  # noqa: ANN401  (of a library, or plain data)
    """Return what a value may be, "null" among it; what is said first counts."""
    for each in _parts(part, schema, depth):
        if found := _shapes_here(each, schema, depth):
            return found
    return {"any"}


def _shapes_here(part: dict[str, Any], schema: Any, depth: int) -> set[str]:  # noqa: ANN401  (of a library, or plain data)
    if "type" in part:
        kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
        return {_shape_of(kind, part) for kind in kinds}
    values = part.get("enum", [part["const"]] if "const" in part else [])
    if values:
        return {"null" if each is None else _OF_VALUES.get(type(each), "json") for each in values}
    choices = part.get("anyOf", part.get("oneOf", ()))
    return {shape for each in choices for shape in _shapes(each, schema, depth - 1)}


def _shape_of(kind: str, part: dict[str, Any]) -> str:
    if kind == "string":
        return _FORMATS.get(part.get("format", ""), "text")
    if kind == "number":
        step = part.get("multipleOf", 1)
        return "number" if step == int(step) else "decimal"
    return _TYPES.get(kind, kind)


def _one_of(shapes: set[str]) -> str:
    if len(shapes) == 1:
        return next(iter(shapes))
    if shapes and shapes <= set(_NUMBERS):
        return max(shapes, key=_NUMBERS.index)
    return "text" if shapes and shapes <= {"text", *_FORMATS.values()} else "any"
