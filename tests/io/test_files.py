"""Reading files: nothing is lost, nothing is read twice, and a changed file is noticed (R7)."""

import csv
import io
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statepipe.errors import Fatal
from statepipe.io.files import read_csv, read_jsonl
from statepipe.io.lines import LINE_BYTES_MAX, RECORD_BYTES_MAX
from statepipe.io.rows import Value
from statepipe.model import Batch, Record, Task
from statepipe.store.codec import decode, encode

Reader = Callable[[Task], Iterator[Batch]]


def task(*, batch_size: int = 2, cursor: Value = None) -> Task:
    """Return a source's task; a cursor has been through a checkpoint."""
    return Task(
        instance="i",
        machine="m",
        state="extracting",
        name="extracting",
        attempt=1,
        params={},
        cursor=decode(encode(cursor)),
        watermark=None,
        results={},
        batch_size=batch_size,
        log=logging.getLogger("test"),
        idempotency_key="k",
        _beat=lambda: None,
        _is_cancelled=lambda: False,
    )


def read(reader: Reader, *, batch_size: int = 2) -> tuple[list[Record], list[tuple[Record, str]]]:
    """Return all records and all rejects of an undisturbed run."""
    source = task(batch_size=batch_size)
    records = [record for batch in reader(source) for record in batch.records]
    return records, source._rejects


def read_with_crashes(
    reader: Reader, *, batch_size: int = 2
) -> tuple[list[Record], list[tuple[Record, str]]]:
    """Return the same, with a crash after each committed batch: one batch a run."""
    records: list[Record] = []
    rejects: list[tuple[Record, str]] = []
    cursor = None
    while True:
        source = task(batch_size=batch_size, cursor=cursor)
        batch = next(reader(source), None)
        if batch is None:
            return records, rejects
        assert len(batch.records) + len(source._rejects) <= batch_size
        records += batch.records
        rejects += source._rejects
        cursor = batch.cursor


def write(path: Path, data: bytes) -> Path:
    """Write a small file and return its path."""
    path.write_bytes(data)
    return path


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


def test_a_column_that_is_not_there_is_fatal(tmp_path: Path) -> None:
    """A type for an unknown column is a mistake in the machine."""
    path = write(tmp_path / "x.csv", b"a\n1\n")

    with pytest.raises(Fatal, match="no column 'b'"):
        list(read_csv(task(), path, types={"b": int}))


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
    ('{"a": ' + "9" * 5_000 + "}", "Exceeds the limit"),
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


_counter = itertools.count()


@settings(max_examples=300, deadline=None)
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


_CELL = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@settings(max_examples=200, deadline=None)
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


@settings(max_examples=300, deadline=None)
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


def first_cursor(path: Path) -> Value:
    """Return the cursor after the first batch of two records."""
    cursor = next(read_csv(task(), path)).cursor
    assert cursor is not None
    return cursor


CSV = b"a\n1\n2\n3\n4\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a\n9\n2\n3\n4\n", "not those that were read"),
        (b"b\n1\n2\n3\n4\n", "not those that were read"),
        (b"a\n1\n", "has 4 bytes, 6 were read"),
        (b"", "has 0 bytes, 6 were read"),
        (b"a\n0\n1\n2\n3\n4\n", "not those that were read"),
    ],
)
@pytest.mark.parametrize("same_time", [False, True])
def test_a_file_changed_between_crash_and_resume_is_refused(
    tmp_path: Path, data: bytes, reason: str, *, same_time: bool
) -> None:
    """Changed, replaced or truncated, even with its old time: Fatal, and it says what to do."""
    path = write(tmp_path / "x.csv", CSV)
    times = path.stat()
    cursor = first_cursor(path)
    write(path, data)
    if same_time:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    with pytest.raises(Fatal, match=reason) as refusal:
        list(read_csv(task(cursor=cursor), path))

    assert "rewind" in str(refusal.value)


def test_a_file_that_was_touched_copied_or_appended_to_is_still_good(tmp_path: Path) -> None:
    """What was used up is the same, byte for byte, so going on is exact."""
    path = write(tmp_path / "x.csv", CSV)
    cursor = first_cursor(path)
    (tmp_path / "copy.csv").write_bytes(CSV + b"5\n")
    (tmp_path / "copy.csv").replace(path)

    batches = list(read_csv(task(cursor=cursor), path))

    assert [record["a"] for batch in batches for record in batch.records] == ["3", "4", "5"]


def test_a_last_line_without_end_that_goes_on_is_refused(tmp_path: Path) -> None:
    """The line was committed as it was; its continuation is not a line of its own."""
    path = write(tmp_path / "x.csv", b"a\n1\n2")
    cursor = first_cursor(path)
    write(path, b"a\n1\n234\n5\n")

    with pytest.raises(Fatal, match="goes on now"):
        list(read_csv(task(cursor=cursor), path))


def test_resuming_seeks_instead_of_reading_again(tmp_path: Path) -> None:
    """A damaged middle that was used up, beyond the head, with the old time is not reread."""
    body = b"".join(b"%07d\n" % n for n in range(40_000))
    path = write(tmp_path / "x.csv", b"a\n" + body)
    times = path.stat()
    batch = next(read_csv(task(batch_size=30_000), path))
    with path.open("r+b") as file:
        file.seek(100_000)
        file.write(b"X")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    rest = list(read_csv(task(batch_size=30_000, cursor=batch.cursor), path))

    assert rest[0].records[0] == {"a": "0030000"}


def test_a_file_cut_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    """The end of a file that just shrank is not its end."""
    path = write(tmp_path / "x.csv", b"a\n" + (b"x" * 999 + b"\n") * 3_000)
    batches = read_csv(task(), path)
    next(batches)
    os.truncate(path, 100)

    with pytest.raises(Fatal, match="cut while"):
        list(batches)


@pytest.mark.parametrize("cursor", [0, [], {}, {"offset": 1}, "x"], ids=repr)
def test_a_foreign_cursor_is_refused(tmp_path: Path, cursor: object) -> None:
    """A cursor of another source would seek to nowhere."""
    path = write(tmp_path / "x.csv", CSV)

    with pytest.raises(Fatal, match="cursor"):
        list(read_csv(task(cursor=cursor), path))


def test_a_line_beyond_the_bound_is_fatal(tmp_path: Path) -> None:
    """Such a file has no lines; reading it would not be bounded by the batch."""
    path = write(tmp_path / "x.jsonl", b" " * (LINE_BYTES_MAX + 1))

    with pytest.raises(Fatal, match="not a file of lines"):
        list(read_jsonl(task(), path))
