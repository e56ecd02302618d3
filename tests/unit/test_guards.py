"""The guard language: what it means, what it refuses, and that nothing gets past it."""

import contextlib
import datetime as dt
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statepipe.errors import DefinitionError, GuardError
from statepipe.machine.guards import DEPTH_MAX, LENGTH_MAX, Guard

FACTS: dict[str, Any] = {
    "result": {
        "rows": 17,
        "bad": 0,
        "kind": "full",
        "ratio": 0.5,
        "price": Decimal("1.10"),
        "empty": None,
        "ok": True,
        "tags": ["a", "b"],
        "ids": {1, 2},
        "day": dt.date(2013, 2, 4),
        "at": dt.datetime(2013, 2, 4, tzinfo=dt.UTC),
        "nan": math.nan,
        "huge": 10**30,
        "raw": b"",
        "in": 1,
        "deep": {"er": {"est": 3}},
    },
    "params": {"limit": 10, "dry_run": False},
    "visit": 2,
    "attempt": 1,
    "records": 100,
    "rejected": 4,
}


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("result.rows > 0", True),
        ("result.rows>0", True),
        ("result.rows == 17 and result.bad == 0", True),
        ("result.rows < 0 or result.kind == 'full'", True),
        ('result.kind == "full"', True),
        ("not result.ok", False),
        ("not not result.ok", True),
        ("not result.ok or result.ok", True),
        ("result.ok", True),
        ("true", True),
        ("false or true and false", False),
        ("(false or true) and true", True),
        ("rejected / records < 0.05", True),
        ("rejected * 100 >= 5 * records", False),
        ("1 + 2 * 3 == 7", True),
        ("(1 + 2) * 3 == 9", True),
        ("10 - 2 - 3 == 5", True),
        ("-rejected < 0", True),
        ("- -1 == 1", True),
        ("2.5e1 == 25", True),
        ("result.price == 1.10 or true", True),
        ("result.price > 1", True),
        ("result.empty == null", True),
        ("result.rows != null", True),
        ('"a" in result.tags', True),
        ('"c" not in result.tags', True),
        ("1 in result.tags", False),
        ("true in [1]", False),
        ('"rows" in result', True),
        ('"nothing" in result', False),
        ('"nothing" in result and result.nothing > 0', False),
        ('"ul" in result.kind', True),
        ('result.kind in ["full", "delta"]', True),
        ("2 in result.ids", True),
        ("attempt in []", False),
        ("result.deep.er.est == 3", True),
        ("result.in == 1", True),
        ("result.tags == ['a', 'b']", True),
        ("result.nan == result.nan", False),
        ("result.day == result.day", True),
        ("result.day <= result.day", True),
        ("visit < 3 and attempt == 1 and not params.dry_run", True),
        ('"" == ""', True),
        ("  true  ", True),
    ],
)
def test_a_guard_means_what_it_says(text: str, held: bool) -> None:  # noqa: FBT001 - a table of cases
    """Precedence as in Python; `and` and `or` stop as soon as the answer is known."""
    assert Guard(text)(FACTS) is held


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("result.row > 0", '"result" has no "row"; did you mean "rows"?'),
        ("result.rows.x > 0", '"result.rows" is a number and has no "x"'),
        ('result.rows == "17"', "a number is never equal to text"),
        ("result.ok == 1", "true or false is never equal to a number"),
        ("result.day == result.at", "a date is never equal to a datetime"),
        ("result.kind > 3", '">" cannot compare text with a number'),
        ("result.empty < 3", '"<" cannot compare null with a number'),
        ("result.tags < result.tags", '"<" cannot compare a list with a list'),
        ("result.rows", "it gives a number, not true or false"),
        ("null", "it gives null, not true or false"),
        ("result.rows and true", '"and" wants true or false, not a number'),
        ("false or result.kind", '"or" wants true or false, not text'),
        ("not result.tags", '"not" wants true or false, not a list'),
        ("1 / result.bad > 0", "division by zero"),
        ("result.kind + 1 == 2", '"+" cannot compute with text and a number'),
        ("result.ok + 1 == 2", '"+" cannot compute with true or false and a number'),
        ("result.huge * 2 > 0", '"*" gives a number that is too large'),
        ("result.nan + 1 > 0", '"+" gives a number that is too large'),
        ("3 in result.rows", '"in" cannot look for a number in a number'),
        ("3 in result.kind", '"in" cannot look for a number in text'),
        ("result.price + 0.5 > 0", "unsupported operand type(s) for +"),
        ("result.tags in params", "unhashable type"),
        ("result.raw > 1", '">" cannot compare bytes with a number'),
    ],
)
def test_what_cannot_be_decided_is_an_error_and_no_false(text: str, why: str) -> None:
    """The error has the guard's own text, so that its author finds it."""
    with pytest.raises(GuardError) as refusal:
        Guard(text)(FACTS)

    assert refusal.value.message.startswith(f"guard `{text}` cannot be decided: {why}")
    assert refusal.value.meaning
    assert refusal.value.next_step


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "column 1: expected a value, found the end"),
        ("result.rows >", "column 14: expected a value, found the end"),
        ("result.rows > > 1", 'column 15: expected a value, found ">"'),
        ("result.rows = 1", 'column 13: a single "="; equality is "=="'),
        ("results.rows > 0", 'column 1: unknown name "results"; did you mean "result"?'),
        ("visits > 1", 'column 1: unknown name "visits"; did you mean "visit"?'),
        ("True", 'column 1: unknown name "True"; did you mean "true"?'),
        ("attempt > 0 && true", 'column 13: "&" is not known; write and, or, not'),
        ("!true", 'column 1: "!" is not known; write and, or, not'),
        ("1 < attempt < 3", "column 13: comparisons do not chain; write a < b and b < c"),
        ("(true", 'column 6: expected ")", found the end'),
        ("true)", 'column 5: expected the end, found ")"'),
        ("attempt not 3", 'column 13: expected "in" after "not", found "3"'),
        ("attempt in [1 2]", 'column 15: expected "," or "]", found "2"'),
        ("attempt in [1", 'column 14: expected "," or "]", found the end'),
        ('result.kind == "full', "column 16: this text is never closed"),
        (r'result.kind == "a\"b"', "column 16: a text with a backslash is not supported"),
        ("attempt == 9223372036854775808", "column 12: 9223372036854775808 is too large"),
        ("attempt < 1e999", "column 11: 1e999 is too large"),
        ("3attempts > 1", 'column 1: "3attempts " is not understood'),
        ("attempt > 1.2.3", 'column 11: "1.2.3" is not understood'),
        ("result.rows(1)", 'column 12: expected the end, found "("'),
        ("result['rows']", 'column 7: expected the end, found "["'),
        ("lambda: 1", 'column 7: ": 1" is not understood'),
        ("attempt ** 2 == 1", 'column 10: expected a value, found "*"'),
        ("__import__ == 1", 'column 1: unknown name "__import__"'),
        ("result. rows > 1", 'column 7: ". rows > 1" is not understood'),
        ("a" * (LENGTH_MAX + 1), "column 1: it has 501 characters, more than 500"),
        ("(" * (DEPTH_MAX + 1) + "true", f"nested deeper than {DEPTH_MAX}"),
        ("not " * 100 + "true", f"nested deeper than {DEPTH_MAX}"),
        ("-" * 400 + "1 > 0", f"nested deeper than {DEPTH_MAX}"),
        ("[" * 200, f"nested deeper than {DEPTH_MAX}"),
    ],
)
def test_what_is_no_guard_is_refused_with_its_column(text: str, said: str) -> None:
    """The machine is refused when it is loaded, long before the guard would be asked."""
    with pytest.raises(DefinitionError) as refusal:
        Guard(text)

    assert said in refusal.value.message


def test_a_guard_reaches_nothing_but_its_facts() -> None:
    """Names go through tables only: no attribute of a Python object can be named."""
    with pytest.raises(GuardError, match='"result" is text and has no "__class__"'):
        Guard("result.__class__ == 1")({"result": "text"})


def test_a_guard_of_the_greatest_length_is_decided() -> None:
    """A chain as long as the limit allows does not exhaust the stack."""
    chain = "1" + "+1" * ((LENGTH_MAX - 8) // 2) + " > 0"

    assert Guard(chain)(FACTS) is True


@settings(max_examples=300)
@given(text=st.text(max_size=60))
def test_any_text_is_a_guard_or_is_refused(text: str) -> None:
    """Parsing ends in a Guard or a DefinitionError, whatever it is given."""
    try:
        guard = Guard(text)
    except DefinitionError:
        return
    answered(guard)


@settings(max_examples=400)
@given(
    words=st.lists(
        st.sampled_from(
            [
                "result.rows",
                "result.kind",
                "result.tags",
                "params.limit",
                "attempt",
                "visit",
                "true",
                "false",
                "null",
                "1",
                "2.5",
                "'a'",
                "==",
                "!=",
                "<",
                ">=",
                "in",
                "not",
                "and",
                "or",
                "+",
                "-",
                "*",
                "/",
                "(",
                ")",
                "[",
                "]",
                ",",
            ]
        ),
        max_size=14,
    )
)
def test_any_guard_is_true_or_false_or_a_guard_error(words: list[str]) -> None:
    """Evaluation raises nothing else, whatever the facts are compared with."""
    try:
        guard = Guard(" ".join(words))
    except DefinitionError:
        return
    answered(guard)


@given(a=st.integers(-99, 99), b=st.integers(-99, 99), c=st.integers(1, 99))
def test_arithmetic_and_comparison_are_pythons(a: int, b: int, c: int) -> None:
    """On numbers the answers are those Python gives."""
    facts = {"result": {"a": a, "b": b, "c": c}}

    assert Guard("result.a + result.b * result.c > result.a - result.b / result.c")(facts) is (
        a + b * c > a - b / c
    )
    assert Guard("result.a < result.b or not result.a <= result.c and result.b != result.c")(
        facts
    ) is (a < b or (not a <= c and b != c))


def answered(guard: Guard) -> None:
    """Ask `guard`; it may refuse, but only in its own way."""
    with contextlib.suppress(GuardError):
        assert guard(FACTS) in (True, False)
