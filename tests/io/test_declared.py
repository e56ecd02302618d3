"""
What columns a contract declares: types, formats, what is required, and what is no table.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import DefinitionError
from statepipe.io.declared import Declared, read_declared


def declared(folder: Path, schema: Any, *, key: tuple[str, ...] = ()) -> Declared:  # noqa: ANN401  (whatever is passed on)
    """Return what the schema declares, as a file."""
    path = folder / "row@2.json"
    path.write_text(json.dumps(schema), encoding="utf-8")
    return read_declared(path, key=key, adds=False)


@pytest.mark.parametrize(
    ("wanted", "shape"),
    [
        ({"type": "integer", "minimum": 1}, "integer"),
        ({"type": "number"}, "number"),
        ({"type": "number", "multipleOf": 2}, "number"),
        ({"type": "number", "multipleOf": 0.01}, "decimal"),
        ({"type": "string", "maxLength": 3}, "text"),
        ({"type": "string", "format": "date"}, "date"),
        ({"type": "string", "format": "date-time"}, "datetime"),
        ({"type": "string", "format": "time"}, "time"),
        ({"type": "string", "format": "uuid"}, "uuid"),
        ({"type": "string", "format": "email"}, "text"),
        ({"type": "boolean"}, "boolean"),
        ({"type": "array", "items": {"type": "integer"}}, "json"),
        ({"type": "object"}, "json"),
        ({"type": ["integer", "number"]}, "number"),
        ({"anyOf": [{"type": "integer"}, {"type": "number", "multipleOf": 0.1}]}, "decimal"),
        ({"type": "string", "enum": ["a", "b"]}, "text"),
        ({"enum": ["a", "b"]}, "text"),
        ({"const": 1}, "integer"),
        ({"enum": [1, 2.5]}, "number"),
        ({"enum": [[1], {}]}, "json"),
        ({"$ref": "#/$defs/money"}, "decimal"),
        ({"$ref": "#/$defs/cents"}, "decimal"),
        ({"minimum": 1, "allOf": [{"$ref": "#/$defs/money"}]}, "decimal"),
        ({"anyOf": [{"type": "string", "format": "date"}, {"type": "string"}]}, "text"),
    ],
)
def test_a_type_and_its_format_tell_the_column(
    tmp_path: Path, wanted: dict[str, Any], shape: str
) -> None:
    """Also through references; required and with null beside it, it is nullable again."""
    schema = {
        "$defs": {
            "money": {"type": "number", "multipleOf": 0.01},
            "cents": {"$ref": "#/$defs/money"},
        },
        "properties": {"x": wanted, "y": wanted, "z": {"oneOf": [{"type": "null"}, wanted]}},
        "required": ["x", "z"],
    }

    assert declared(tmp_path, schema).fields == (
        ("x", shape, True),
        ("y", shape, False),
        ("z", shape, False),
    )


@pytest.mark.parametrize(
    "wanted",
    [
        True,
        {},
        {"minimum": 3},
        {"type": ["integer", "string"]},
        {"enum": [1, "a"]},
        {"type": "null"},
        {"$ref": "#/$defs/circle"},
    ],
)
def test_what_can_be_several_things_may_be_anything(
    tmp_path: Path,
    wanted: Any,  # noqa: ANN401  (whatever is passed on)
) -> None:
    """And null: a column for it takes whatever the contract lets pass."""
    schema = {
        "$defs": {"circle": {"$ref": "#/$defs/circle"}},
        "properties": {"x": wanted},
        "required": ["x"],
    }

    (field,) = declared(tmp_path, schema).fields

    assert field == ("x", "any", False)


def test_properties_come_from_every_part_and_one_that_is_forbidden_is_none(tmp_path: Path) -> None:
    """`allOf` and references of the whole are looked into; the order is the contract's."""
    schema = {
        "$defs": {"base": {"properties": {"id": {"type": "integer"}}, "required": ["id"]}},
        "allOf": [{"$ref": "#/$defs/base"}],
        "properties": {"name": {"type": "string"}, "secret": False},
    }

    found = declared(tmp_path, schema)

    assert set(found.fields) == {("id", "integer", True), ("name", "text", False)}
    assert found.contract == "row@2.json"


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (True, "names no properties"),
        ({"type": "object"}, "names no properties"),
        ({"properties": {"x": {"type": "integer"}}}, "has no property 'id', which is in the key"),
        ({"properties": {"id": {"type": "array"}}}, "'id', which is in the key, is json"),
        ({"properties": {"id": {"type": "number"}}}, "'id', which is in the key, is number"),
        ({"properties": {"id": True}}, "'id', which is in the key, is any"),
        ({"properties": 3}, "is not a valid JSON Schema"),
    ],
)
def test_a_contract_from_which_no_table_can_be_made_is_refused(
    tmp_path: Path,
    schema: Any,  # noqa: ANN401  (whatever is passed on)
    said: str,
) -> None:
    """Before anything is connected to: `statepipe check` says so."""
    with pytest.raises(DefinitionError, match=said):
        declared(tmp_path, schema, key=("id",))
