"""
CSV: nothing is lost, whatever is wrong with the file and wherever a crash comes (R7).
"""

import csv
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statepipe.errors import Fatal
from statepipe.io.files.lines import RECORD_BYTES_MAX
from statepipe.io.files.text import read_csv
from statepipe.model import Record
from tests.io.reading import read, read_with_crashes, task, write

DIRTY: list[tuple[str, bytes, list[Record], list[tuple[Record, str]]]] = [
    ("clean", b"a,b\n1,2\n3,4\n", [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}], []),
    ("no newline at the end", b"a,b\n1,2", [{"a": "1", "b": "2"}], []),
    ("BOM", b"\xef\xbb\xbfa,b\n1,2\n", [{"a": "1", "b": "2"}], []),
    ("CRLF", b"a,b\r\n1,2\r\n", [{"a": "1", "b": "2"}], []),
    (
        "quoted newline",
        b'a,b\n"1\r\n,x",2\n3,4\n',
        [{"a": "1\r\n,x", "b": "2"}, {"a": "3", "b": "4"}],
        [],
    ),
    ("quotes in quotes", b'a,b\n"say ""hi""",2\n', [{"a": 'say "hi"', "b": "2"}], []),
    (
        "too few cells",
        b"a,b\n1\n3,4\n",
        [{"a": "3", "b": "4"}],
        [({"line": 2, "text": "1\n"}, "1 cells where the header has 2")],
    ),
    (
        "too many cells",
        b"a,b\n1,2,3\n3,4\n",
        [{"a": "3", "b": "4"}],
        [({"line": 2, "text": "1,2,3\n"}, "3 cells where the header has 2")],
    ),
    (
        "blank line",
        b"a,b\n\n3,4\n",
        [{"a": "3", "b": "4"}],
        [({"line": 2, "text": "\n"}, "the line is blank")],
    ),
    (
        "bad UTF-8",
        b"a,b\n\xff,2\n3,4\n",
        [{"a": "3", "b": "4"}],
        [({"line": 2, "bytes": b"\xff,2\n"}, "not UTF-8: invalid start byte at byte 0")],
    ),
    (
        "bad UTF-8 in a quoted newline",
        b'a,b\n"x\n\xff",2\n3,4\n',
        [{"a": "3", "b": "4"}],
        [
            ({"line": 2, "text": '"x\n'}, "not UTF-8: invalid start byte at byte 0"),
            ({"line": 3, "bytes": b'\xff",2\n'}, "not UTF-8: invalid start byte at byte 0"),
        ],
    ),
    (
        "a quote left open",
        b'a,b\n"1,2\n3,4\n5,6\n',
        [{"a": "3", "b": "4"}, {"a": "5", "b": "6"}],
        [({"line": 2, "text": '"1,2\n'}, "unexpected end of data")],
    ),
    (
        "text after a quote",
        b'a,b\n"1"x,2\n3,4\n',
        [{"a": "3", "b": "4"}],
        [({"line": 2, "text": '"1"x,2\n'}, "',' expected after '\"'")],
    ),
    ("NUL", b"a,b\n1\0,2\n", [{"a": "1\0", "b": "2"}], []),
    (
        "half a line",
        b"a,b\n1,2\n3",
        [{"a": "1", "b": "2"}],
        [({"line": 3, "text": "3"}, "1 cells where the header has 2")],
    ),
]


@pytest.mark.parametrize(
    ("data", "records", "rejects"), [kind[1:] for kind in DIRTY], ids=[kind[0] for kind in DIRTY]
)
@pytest.mark.parametrize("reading", [read, read_with_crashes])
def test_dirty_csv_is_parted_from_clean_and_nothing_is_lost(
    tmp_path: Path,
    reading: Callable[..., Any],
    data: bytes,
    records: list[Record],
    rejects: list[tuple[Record, str]],
) -> None:
    """Fifteen kinds of file; each malformed record keeps its line, its text and a reason."""
    path = write(tmp_path / "x.csv", data)

    assert reading(lambda source: read_csv(source, path), batch_size=1) == (records, rejects)


def test_a_field_beyond_all_bounds_costs_its_own_line(tmp_path: Path) -> None:
    """A quote left open in a large file neither swallows the rest nor the memory."""
    good = b"".join(b"%d,%d\n" % (n, n) for n in range(60_000))
    path = write(tmp_path / "x.csv", b'a,b\n"1,2\n' + good)
    assert len(good) > RECORD_BYTES_MAX

    records, rejects = read(lambda source: read_csv(source, path), batch_size=10_000)

    assert len(records) == 60_000
    assert [record for record, _ in rejects] == [{"line": 2, "text": '"1,2\n'}]


def test_types_and_nulls_are_applied_and_what_does_not_fit_is_rejected(tmp_path: Path) -> None:
    """Python's lenient int and float would take `1_000`, ` 1` and Arabic digits."""
    cells = ["1", "-7", "NA", "1_000", " 1", "\u0661", "x", ""]
    path = write(tmp_path / "x.csv", ("n,t\n" + "".join(f"{c},t\n" for c in cells)).encode())

    records, rejects = read(lambda source: read_csv(source, path, types={"n": int}, nulls=("NA",)))

    assert [record["n"] for record in records] == [1, -7, None]
    assert [reason for _, reason in rejects] == [
        "n: '1_000' is not of type int",
        "n: ' 1' is not of type int",
        "n: '\\u0661' is not of type int",
        "n: 'x' is not of type int",
        "n: '' is not of type int",
    ]


def test_a_bool_is_true_or_false(tmp_path: Path) -> None:
    """`bool("false")` is True in Python; here it is not."""
    path = write(tmp_path / "x.csv", b"b,f\nfalse,1.5\nTRUE,1e3\n0,nan\nno,1\n1,1_0\n")

    records, rejects = read(lambda source: read_csv(source, path, types={"b": bool, "f": float}))

    assert [record["b"] for record in records] == [False, True, False]
    assert [record["line"] for record, _ in rejects] == [5, 6]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no header"),
        (b"\n1,2\n", "no header"),
        (b"a,,c\n", "column 2 of its header has no name"),
        (b"a,b,a\n", "two columns of its header are called 'a'"),
        (b"a\xff,b\n", "header cannot be read: not UTF-8"),
        (b'"a,b\n1,2\n', "header cannot be read"),
        (b"a,b\r1,2\r", "header cannot be read"),
    ],
)
def test_a_csv_without_a_usable_header_is_fatal(tmp_path: Path, data: bytes, reason: str) -> None:
    """Without names no record can be made, and guessing would be silently different."""
    path = write(tmp_path / "x.csv", data)

    with pytest.raises(Fatal, match=reason):
        list(read_csv(task(), path))


@pytest.mark.parametrize("delimiter", ["||", "", '"', "\n", "\r", "\r\n", "<tab>" * 40])
def test_a_delimiter_that_can_be_none_is_fatal(tmp_path: Path, delimiter: str) -> None:
    """Said before anything is opened, with what to type."""
    with pytest.raises(Fatal) as refusal:
        list(read_csv(task(), tmp_path / "not-there.csv", delimiter=delimiter))

    said = str(refusal.value)
    assert said.startswith(f"read_csv: delimiter is {delimiter[:80]!r}, and cells are parted by")
    assert 'delimiter=";"; nothing was read' in said


@pytest.mark.parametrize("delimiter", [";", "\t", "|", " ", "'", "\\", "é", "\0"])
def test_any_other_character_parts_cells(tmp_path: Path, delimiter: str) -> None:
    """Also within quotes, where it is one of the text."""
    lines = ["a,b", "1,2", '"x,y",z']
    text = "\n".join(line.replace(",", delimiter) for line in lines)
    path = write(tmp_path / "x.csv", text.encode())

    records, rejects = read(lambda source: read_csv(source, path, delimiter=delimiter))

    assert records == [{"a": "1", "b": "2"}, {"a": f"x{delimiter}y", "b": "z"}]
    assert rejects == []


def test_a_column_that_is_not_there_is_fatal(tmp_path: Path) -> None:
    """A type for an unknown column is a mistake in the machine."""
    path = write(tmp_path / "x.csv", b"a\n1\n")

    with pytest.raises(Fatal, match="no column 'b'"):
        list(read_csv(task(), path, types={"b": int}))


_counter = itertools.count()


_CELL = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(_CELL, _CELL), max_size=8),
    st.integers(1, 4),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_what_csv_writes_is_read_back_whatever_the_crashes(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str]],
    batch_size: int,
    newline: str,
    bom: bool,  # noqa: FBT001  (drawn, not called)
) -> None:
    """Cells with any characters, newlines and quotes among them, survive every resume."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator=newline)
    writer.writerows([("a", "b"), *rows])
    data = b"\xef\xbb\xbf" * bom + text.getvalue().encode()
    path = write(tmp_path_factory.getbasetemp() / f"any-{next(_counter)}.csv", data)

    answer = read_with_crashes(lambda source: read_csv(source, path), batch_size=batch_size)

    assert answer == ([{"a": a, "b": b} for a, b in rows], [])
    path.unlink()


@settings(max_examples=300)
@given(st.binary(max_size=60), st.integers(1, 4))
def test_any_bytes_as_csv_are_read_the_same_whatever_the_crashes(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, batch_size: int
) -> None:
    """Every byte after the header is in a record or in quarantine, at any place of a crash."""
    data = b"a,b\n" + data.replace(b"a", b'"').replace(b"b", b"\n").replace(b"c", b",")
    path = write(tmp_path_factory.getbasetemp() / f"any-{next(_counter)}.csv", data)

    records, rejects = read(lambda source: read_csv(source, path), batch_size=batch_size)

    assert read_with_crashes(lambda source: read_csv(source, path), batch_size=batch_size) == (
        records,
        rejects,
    )
    assert len(records) + len(rejects) <= len(data[4:].split(b"\n"))
    assert bool(records or rejects) == (len(data) > 4)
    path.unlink()
