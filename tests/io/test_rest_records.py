"""
The items of a page: each is a record, exactly, or a reject with its reason and its text (R7).
"""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from statepipe.errors import DefinitionError, Fatal
from statepipe.io.jsontext import MalformedError, parse_document, text_of
from statepipe.io.rest.paths import MISSING, Path
from statepipe.io.rest.source import ASIDE_CHARS_MAX, read_rest
from statepipe.model import Record
from statepipe.store.codec import decode, encode
from tests.io.reading import task
from tests.io.web import Reply, serving

Rejects = list[tuple[Record, str]]


def page(text: str, **more: Any) -> tuple[list[Record], Rejects]:  # noqa: ANN401  (arguments of read_rest)
    """Return records and rejects of an API whose one answer has `text` as its items."""
    body = f'{{"took": NaN, "items": [{text}]}}'.encode()
    with serving(lambda _: Reply(body=body)) as web:
        source = task()
        batches = list(read_rest(source, web.url, records="$.items", **more))
    return [record for batch in batches for record in batch.records], source._rejects


ODD: list[tuple[str, str]] = [
    ("7", "not a JSON object"),
    ("null", "not a JSON object"),
    ("[1]", "not a JSON object"),
    ('{"a": NaN}', "NaN is not JSON"),
    ('{"a": [{"b": -Infinity}]}', "-Infinity is not JSON"),
    ('{"a": 1e999}', "beyond what a float holds"),
    ('{"a": 1, "b": {"c": 1, "c": "x"}}', "the key 'c' is there twice"),
    ('{"a": NaN, "a": "\\ud800"}', "the key 'a' is there twice"),
    ('{"a": "\\ud800"}', "half a surrogate pair"),
    ('{"\\uDFFF": 1}', "half a surrogate pair"),
    ('{"a": ' + "[" * 65 + "]" * 65 + "}", "nested deeper than 64"),
    ('{"a": ' + "9" * 5_000 + "}", "an integer has more than 4,300 digits"),
]


@pytest.mark.parametrize(("text", "reason"), ODD, ids=[f"{i}" for i, _ in enumerate(ODD)])
def test_an_odd_item_is_rejected_with_its_text_and_its_neighbours_are_kept(
    text: str, reason: str
) -> None:
    """One item does not make a page useless; what is odd outside of the items is nobody's."""
    records, rejects = page(f'{{"n": 1}}, {text}, {{"n": 2, "text": "\\u00e9\\ud83d\\ude00"}}')

    assert records == [{"n": 1}, {"n": 2, "text": "é\U0001f600"}]
    ((aside, why),) = rejects
    assert reason in why
    assert (aside["page"], aside["item"]) == (1, 1)
    assert aside["text"].lower() == text.lower()
    assert decode(encode(aside)) == aside


def test_a_long_item_is_cut() -> None:
    """Quarantine is not a place for megabytes."""
    records, ((aside, _),) = page(json.dumps("x" * 100_000))

    assert records == []
    assert len(aside["text"]) == ASIDE_CHARS_MAX
    assert aside["cut_from_chars"] == 100_002


def test_values_come_back_exactly() -> None:
    """Big integers, small floats, minus zero, nesting up to the bound, any text."""
    deep: Any = []
    for _ in range(62):
        deep = [deep]
    values = [2**200, -(2**63), -0.0, 1e-320, 0.1, "é\U0001f600\0", {"x": [{}]}, deep, True, None]

    records, rejects = page(", ".join(json.dumps({"v": value}) for value in values))

    assert [repr(record["v"]) for record in records] == [repr(value) for value in values]
    assert rejects == []
    assert decode(encode(records)) == records


def test_decimals_keep_every_digit_if_they_are_asked_for() -> None:
    """An amount of money has more digits than a float holds; integers stay integers."""
    beyond = f"1e{'9' * 30}"
    numbers = ["12345678901234567890.123", "1.10", "1E+999", "7", "NaN", beyond]
    text = ", ".join(f'{{"v": {number}}}' for number in numbers)

    floats, _ = page(text)
    records, rejects = page(text, decimals=True)

    assert floats[0]["v"] == 12345678901234567890.123
    assert [repr(record["v"]) for record in records] == [
        "Decimal('12345678901234567890.123')",
        "Decimal('1.10')",
        "Decimal('1E+999')",
        "7",
    ]
    assert [reason for _, reason in rejects] == [
        "NaN is not JSON",
        f"{beyond} is beyond what a Decimal holds",
    ]
    assert decode(encode(records)) == records


def test_an_item_that_is_too_deep_to_be_written_again_is_rejected_all_the_same() -> None:
    """How deep that is depends on Python; the reason is kept in any case."""
    records, ((aside, reason),) = page('{"n": 1}, ' + "[" * 700 + "NaN" + "]" * 700)

    assert records == [{"n": 1}]
    assert reason == "NaN is not JSON"
    assert aside["text"].startswith(("[[[[", "(nested too deep"))


def test_a_page_that_is_nested_beyond_reading_is_fatal() -> None:
    """By a stated rule: no retry can mend it, and it would come back for ever."""
    with pytest.raises(Fatal, match="nested too deep"):
        page("[" * 200_000 + "]" * 200_000)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_whatever_is_parsed_is_a_record_or_has_a_reason_and_a_text(value: Any) -> None:  # noqa: ANN401  (whatever is passed on)
    """No value breaks the parser; what it calls a record can be checkpointed."""
    text = json.dumps({"items": [value, {"v": value}]})
    for decimals in (False, True):
        document = parse_document(text, decimals=decimals)
        for item in document.value["items"]:
            if document.why_refused(item) is None:
                assert decode(encode(item)) == item
            assert text_of(item).isascii()


def test_a_document_that_is_cut_is_malformed_wherever_it_is_cut() -> None:
    """Also if it has something odd in it."""
    whole = '{"items": [{"n": NaN, "a": [1.5, "\\u00e9"]}, {"n": 10, "n": 11}]}'
    for at in range(len(whole)):
        with pytest.raises(MalformedError, match="not JSON"):
            parse_document(whole[:at])

    document = parse_document(whole)
    assert [document.why_refused(item) for item in document.value["items"]] == [
        "NaN is not JSON",
        "the key 'n' is there twice",
    ]


DOCUMENT: Any = {"a": {"b c": [{"id": 1}, {"id": None}]}, "9": 9, "_x-y": "z", "": 0}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$", DOCUMENT),
        ("$.a", DOCUMENT["a"]),
        ('$.a["b c"][0].id', 1),
        ("$['a']['b c'][-1].id", None),
        ('$["9"]', 9),
        ("$._x-y", "z"),
        ('$[""]', 0),
        ("$.b", MISSING),
        ("$.a[0]", MISSING),
        ('$.a["b c"][2]', MISSING),
        ('$.a["b c"][-3]', MISSING),
        ('$.a["b c"].id', MISSING),
        ("$[0]", MISSING),
    ],
)
def test_a_path_finds_one_thing_or_says_that_it_is_missing(text: str, found: object) -> None:
    """None is something that may be there."""
    assert Path.parse(text).find(DOCUMENT) is found


@pytest.mark.parametrize(
    "text", ["", "a", "a.b", "$a", "$.", "$..a", "$[", "$[a]", "$.a b", "$[*]"]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    """With an example of one."""
    with pytest.raises(DefinitionError, match="no path") as refusal:
        Path.parse(text)

    assert "$.data.items" in refusal.value.next_step


def test_numbers_of_decimals_are_not_touched_by_the_text() -> None:
    """The text of a reject has what was there, not what Python makes of it."""
    assert text_of([Decimal("1.10"), 1.1, {"é": None}]) == '[1.10, 1.1, {"\\u00e9": null}]'
