"""
What of a JSON Schema can be proved column by column, without looking at a record.

    plans_of    a schema -> plans that a record must keep all; None if nothing can be proved
    Plan.rule   what is asked of a column by its name; Plan.schema: in the schema's words
    Rule        type, values, bounds, lengths, pattern, format; nothing else

A proof may be stricter than the schema, never laxer: what is not proved clean is judged
record by record, so that the answer is the same and only the time differs. Every keyword
that is not read here makes the whole part of the schema unprovable.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

#: Says nothing about which records are clean.
_ANNOTATIONS: Final = frozenset(
    {
        "title",
        "description",
        "$comment",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
    }
)
_RECORD: Final = frozenset(
    {
        *("type", "required", "properties", "additionalProperties"),
        *("allOf", "if", "then", "else"),
    }
)
#: Not in a part: one with a draft of its own would mean other things by the same words.
_ROOT: Final = _RECORD | {"$schema", "$id"}
#: In draft 4, 1.0 is no integer and a bound is said in another way.
_DRAFTS: Final = re.compile(
    r"https?://json-schema\.org/(draft-0[67]|draft/20(19-09|20-12))/schema#?"
)

_BOUNDS: Final = {
    "minimum": ">=",
    "maximum": "<=",
    "exclusiveMinimum": ">",
    "exclusiveMaximum": "<",
}
_LENGTHS: Final = {"minLength": ">=", "maxLength": "<="}
_RULE: Final = frozenset({"type", "enum", "const", "pattern", "format", *_BOUNDS, *_LENGTHS})

# The 29th of February is left to whoever knows leap years.
_DATE: Final = (
    r"\d{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])"
    r"|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
)
_TIME: Final = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_FORMATS: Final = {"date": f"^{_DATE}$", "date-time": f"^{_DATE}T{_TIME}$"}

# Patterns are written for ECMA 262 and proved by RE2. What is built of these parts alone
# means the same to both, or less to RE2.
_ESCAPED: Final = r"\\[\\^$.*+?()\[\]{}|/\-]"
_ITEM: Final = rf"(?:{_ESCAPED}|[^\\\[\]^&~\-])"
_CLASS: Final = rf"\[(?:\^|(?!\^))(?:{_ITEM}(?:-{_ITEM})?)+\]"
_WORDS: Final = rf"\[(?:\\[dw]|{_ITEM}(?:-{_ITEM})?)+\]"
_QUANTIFIER: Final = r"(?:[*+?]|\{\d{1,3}(?:,\d{0,3})?\})\??"
_PART: Final = re.compile(
    rf"{_CLASS}|{_WORDS}|{_ESCAPED}|\\[dwtnr]|\(\?:|\((?!\?)|[)|^$.]|{_QUANTIFIER}"
    r"|[^\\\[\](){}|^$.*+?]",
    re.DOTALL,
)
#: What a dot stands for in ECMA 262, said to RE2.
_DOT: Final = r"[^\n\r\x{2028}\x{2029}]"


class Rule(NamedTuple):
    """
    What is asked of each value of a column.

    Attributes:
        types: Names of JSON types, or None for any.
        values: The values there may be, or None for any.
        bounds: Comparisons that a number must pass.
        lengths: Comparisons that the number of characters of a text must pass.
        patterns: What a text must match somewhere, as RE2 reads it.
        format: "date", "date-time" or None.
    """

    types: frozenset[str] | None = None
    values: tuple[Any, ...] | None = None
    bounds: tuple[tuple[str, float], ...] = ()
    lengths: tuple[tuple[str, float], ...] = ()
    patterns: tuple[str, ...] = ()
    format: str | None = None

    @property
    def nullable(self) -> bool:
        """True if null is fine."""
        by_value = self.values is None or any(each is None for each in self.values)
        return by_value and (self.types is None or "null" in self.types)


class Plan(NamedTuple):
    """What is asked of a table; a rule of None cannot be proved."""

    required: frozenset[str]
    rules: Mapping[str, Rule | None]
    others: Rule | None  # of columns that have none of their own
    schemas: Mapping[str, Any]  # the same, as the schema says it
    other_schema: Any

    def schema(self, name: str) -> Any:  # noqa: ANN401  (a schema: True, False, or a table)
        """Return what the schema says of the column called `name`."""
        return self.schemas.get(name, self.other_schema)

    def rule(self, name: str) -> Rule | None:
        """Return what is asked of the column called `name`."""
        return self.rules.get(name, self.others)


def plans_of(schema: object) -> tuple[Plan, ...] | None:
    """
    Return what proves a record by `schema`, which is a valid one; None if nothing does.

    Whatever `if` says of a record, it is clean if it keeps both `then` and `else`.
    """
    return _plans_of(schema, _ROOT)


def _plans_of(schema: object, keywords: frozenset[str]) -> tuple[Plan, ...] | None:
    if schema is True:
        return (Plan(frozenset(), {}, Rule(), {}, True),)  # noqa: FBT003  (a schema)
    if not isinstance(schema, dict) or not _known(schema, keywords):
        return None
    plans = [_plan_of(schema)]
    branches = [schema[key] for key in ("then", "else") if "if" in schema and key in schema]
    for each in (*schema.get("allOf", ()), *branches):
        plans += _plans_of(each, _RECORD) or [None]
    return None if None in plans else tuple(plan for plan in plans if plan is not None)


def _plan_of(schema: Mapping[str, Any]) -> Plan | None:
    if "$schema" in schema and not _DRAFTS.fullmatch(schema["$schema"]):
        return None
    if "object" not in _types(schema.get("type", "object")):
        return None
    schemas = schema.get("properties", {})
    other_schema = schema.get("additionalProperties", True)
    rules = {name: rule_of(part) for name, part in schemas.items()}
    required = frozenset(schema.get("required", ()))
    return Plan(required, rules, rule_of(other_schema), schemas, other_schema)


def rule_of(schema: object) -> Rule | None:
    """Return what `schema` asks of one value; None if that cannot be proved."""
    if schema is True:
        return Rule()
    if not isinstance(schema, dict) or not _known(schema, _RULE):
        return None
    if "enum" in schema and "const" in schema:
        return None
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    bounds = [(sign, schema[key]) for key, sign in _BOUNDS.items() if key in schema]
    lengths = [(sign, schema[key]) for key, sign in _LENGTHS.items() if key in schema]
    pattern = re2_of(schema.get("pattern", ""))
    if pattern is None or schema.get("format", "date") not in _FORMATS:
        return None
    if not all(isinstance(n, int) or math.isfinite(n) for _, n in (*bounds, *lengths)):
        return None
    shape = _FORMATS.get(schema.get("format", ""))
    return Rule(
        types=_types(schema["type"]) if "type" in schema else None,
        values=None if values is None else tuple(values),
        bounds=tuple(bounds),
        lengths=tuple(lengths),
        patterns=tuple(each for each in (pattern, shape) if each),
        format=schema.get("format"),
    )


def re2_of(pattern: str) -> str | None:
    """Return `pattern` for RE2, which then matches no more than it should; None if unsure."""
    parts = []
    at = 0
    while at < len(pattern):
        found = _PART.match(pattern, at)
        if found is None:
            return None
        parts.append(_DOT if found[0] == "." else found[0])
        at = found.end()
    return "".join(parts)


def _known(schema: Mapping[str, Any], keywords: frozenset[str]) -> bool:
    return all(key in keywords or key in _ANNOTATIONS for key in schema)


def _types(said: str | list[str]) -> frozenset[str]:
    return frozenset([said] if isinstance(said, str) else said)
