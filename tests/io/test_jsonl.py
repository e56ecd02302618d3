"""
JSON Lines: every line is a record or a reject with its reason (R7).
"""

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statepipe.errors import Fatal
from statepipe.io.files.lines import LINE_BYTES_MAX
from statepipe.io.files.text import read_jsonl
from statepipe.store.codec import decode, encode
from tests.io.reading import read, read_with_crashes, task, write


def test_files_that_cannot_be_read_are_fatal_and_named(tmp_path: Path) -> None:
    """Missing, a folder, a pipe that would block for ever: a reason, no wait."""
    os.mkfifo(tmp_path / "pipe")

    for name, reason in [
        ("absent", "No such file"),
        (".", "regular"),
        ("pipe", "regular"),
        ("a\0b", "null"),
    ]:
        with pytest.raises(Fatal, match=reason):
            list(read_jsonl(task(), tmp_path / name))


LINES: list[tuple[str, str]] = [
    ("{", "not JSON"),
    ("[1]", "not a JSON object"),
    ("1", "not a JSON object"),
    ("", "blank"),
    ("   ", "blank"),
    ('{"a": NaN}', "NaN is not JSON"),
    ('{"a": -Infinity}', "-Infinity is not JSON"),
    ('{"a": 1e999}', "beyond what a float holds"),
    ('{"a": 1, "a": 2}', "the key 'a' is there twice"),
    ('{"a": "\\ud800"}', "half a surrogate pair"),
    ('{"\\udfff": 1}', "half a surrogate pair"),
    ('{"a": ' + "[" * 65 + "]" * 65 + "}", "nested deeper than 64"),
    ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested deeper than 64"),
    ('{"a": ' + "9" * 5_000 + "}", "an integer has more than 4,300 digits"),
    ('{"a": 1} {"b": 2}', "not JSON"),
    ("\ufeff{}", "not JSON"),
]


@pytest.mark.parametrize(
    ("line", "reason"), LINES, ids=[f"{i}-{r}" for i, (_, r) in enumerate(LINES)]
)
def test_bad_json_lines_are_rejected_with_a_reason(tmp_path: Path, line: str, reason: str) -> None:
    """What Python's parser would take in silence is among them."""
    path = write(tmp_path / "x.jsonl", b'{"n": 1}\n' + line.encode() + b'\n{"n": 2}\n')

    records, rejects = read(lambda source: read_jsonl(source, path))

    assert records == [{"n": 1}, {"n": 2}]
    assert [record["line"] for record, _ in rejects] == [2]
    assert reason in rejects[0][1]
    assert decode(encode(rejects[0][0])) == rejects[0][0]


def test_good_json_lines_come_back_exactly(tmp_path: Path) -> None:
    """Escapes, big integers, nesting up to the bound, pairs of surrogates, a BOM, CRLF."""
    deep: Any = []
    for _ in range(62):
        deep = [deep]
    values = [2**200, -0.0, 1e-320, "é\U0001f600\0", {"x": [{}]}, deep, True, None]
    text = "\ufeff" + "".join(json.dumps({"v": value}) + "\r\n" for value in values)
    path = write(tmp_path / "x.jsonl", text.encode())

    records, rejects = read(lambda source: read_jsonl(source, path))

    assert [repr(record["v"]) for record in records] == [repr(value) for value in values]
    assert rejects == []
    assert decode(encode(records)) == records


def test_decimals_keep_every_digit_if_they_are_asked_for(tmp_path: Path) -> None:
    """As `read_rest` has them: without, the nearest float; integers stay integers."""
    beyond = f"1e{'9' * 30}"
    numbers = ["12345678901234567.89", "1.10", "1E+999", "7", "NaN", beyond]
    text = "".join(f'{{"v": [{number}]}}\n' for number in numbers)
    path = write(tmp_path / "x.jsonl", text.encode())

    floats, _ = read(lambda source: read_jsonl(source, path))
    records, rejects = read(lambda source: read_jsonl(source, path, decimals=True))

    assert [repr(record["v"]) for record in floats] == ["[1.2345678901234568e+16]", "[1.1]", "[7]"]
    assert [repr(record["v"]) for record in records] == [
        "[Decimal('12345678901234567.89')]",
        "[Decimal('1.10')]",
        "[Decimal('1E+999')]",
        "[7]",
    ]
    assert [reason for _, reason in rejects] == [
        "NaN is not JSON",
        f"{beyond} is beyond what a Decimal holds",
    ]
    assert decode(encode(records)) == records


_counter = itertools.count()


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.text(max_size=20).map(str.encode),
            st.sampled_from(
                [b'{"a": 1}', b'{"a": "\\ud800"}', b"\r", b"\xef\xbb\xbf{}", b'{"a":1e999}']
            ),
        ),
        max_size=8,
    ).map(b"\n".join),
    st.integers(1, 4),
)
def test_any_bytes_as_json_lines_are_all_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, batch_size: int
) -> None:
    """Clean + rejected = lines; crashes change nothing; what is clean can be checkpointed."""
    path = write(tmp_path_factory.getbasetemp() / f"any-{next(_counter)}.jsonl", data)

    records, rejects = read(lambda source: read_jsonl(source, path), batch_size=batch_size)

    lines = data.split(b"\n")
    assert len(records) + len(rejects) == len(lines) - (lines[-1] == b"")
    assert read_with_crashes(lambda source: read_jsonl(source, path), batch_size=batch_size) == (
        records,
        rejects,
    )
    assert decode(encode([records, [record for record, _ in rejects]]))
    path.unlink()


def test_a_line_beyond_the_bound_is_fatal(tmp_path: Path) -> None:
    """Such a file has no lines; reading it would not be bounded by the batch."""
    path = write(tmp_path / "x.jsonl", b" " * (LINE_BYTES_MAX + 1))

    with pytest.raises(Fatal, match="not a file of lines"):
        list(read_jsonl(task(), path))
