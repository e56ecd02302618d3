"""Many lines read at once are the lines read one by one: records, rejects, cursors."""

import datetime as dt
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.errors import Fatal, ValueRefused
from statepipe.io.blocks import Columns
from statepipe.io.coded import Coded
from statepipe.io.files import bulk, lines, meaning, quick, text
from statepipe.io.files.lines import Lines
from statepipe.io.files.text import read_csv
from statepipe.store.stage.records import decode_records, encode_records
from tests.io.reading import read, task, write

_CELLS: Final = st.sampled_from(
    [
        *("1", "2", "-3", "x", "NA", "", " 1", "1_0", "٣", "1.5", "true"),
        *('"1"', '"a""b"', '""', '"a,b"', '"a\nb"', '"', 'a"b', "a\rb", "a\x0bb", "a\u2028b", "\0"),
    ]
)
_ROWS: Final = st.lists(st.lists(_CELLS, min_size=1, max_size=3).map(",".join), max_size=14)
_ENDS: Final = st.sampled_from(["\n", "\r\n"])


_FILES: Final = st.tuples(st.sampled_from(["", "\ufeff"]), _ROWS, _ENDS, st.booleans())


def all_of(path: Path, *, batch_size: int, cursor: object = None) -> list[tuple[Any, ...]]:
    """Return each batch: its records with their types, what was rejected for it, its cursor."""
    source = task(batch_size=batch_size, cursor=cursor)
    batches: list[tuple[Any, ...]] = []
    try:
        for batch in read_csv(source, path, nulls=("NA",), types={"a": int}):
            staged = encode_records(batch.untouched)
            back = decode_records(staged.format, staged.payload)
            assert repr(back) == repr(batch.records), "records are staged as they are"
            batches.append((repr(batch.records), list(source._rejects), batch.cursor))
            source._rejects.clear()
    except Fatal as error:
        batches.append(("Fatal", str(error)))
    return batches


@given(
    file=_FILES,
    ahead=st.integers(1, 60),
    batch_size=st.integers(1, 9),
    bulk_from=st.sampled_from([0, text._BULK_BYTES_MIN]),
)
def test_blocks_change_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    file: tuple[str, list[str], str, bool],
    ahead: int,
    batch_size: int,
    bulk_from: int,
) -> None:
    """Whatever is in the file, wherever a block ends, whoever reads it; from each cursor."""
    mark, rows, end, ends_well = file
    body = mark + end.join(["a,b", *rows, *([""] if ends_well else [])])
    path = write(tmp_path_factory.getbasetemp() / "blocks.csv", body.encode())

    with mock.patch.object(Lines, "take_block", return_value=(b"", 0)):
        one_by_one = all_of(path, batch_size=batch_size)
    with (
        mock.patch.object(text, "_BULK_BYTES_MIN", bulk_from),
        mock.patch.object(bulk, "_BLOCK_BYTES", ahead),
        mock.patch.object(quick, "_BLOCK_BYTES", max(1, ahead // 2)),
    ):
        assert all_of(path, batch_size=batch_size) == one_by_one
        for number, (*_, cursor) in enumerate(one_by_one):
            if isinstance(cursor, dict):
                after = all_of(path, batch_size=batch_size, cursor=cursor)
                assert after == one_by_one[number + 1 :]


@pytest.fixture(params=["quick", "bulk"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have small files read by either of those that read many lines at once."""
    if request.param == "bulk":
        monkeypatch.setattr(text, "_BULK_BYTES_MIN", 0)


def calls_of(
    folder: Path, cells: list[str], convert: Callable[[str], Any]
) -> tuple[list[Any], list[str]]:
    """Return the values of a column, and for which cells `convert` was called."""
    called: list[str] = []

    def noted(cell: str) -> Any:  # noqa: ANN401  (whatever the test converts to)
        called.append(cell)
        return convert(cell)

    path = write(folder / "a.csv", ("a\n" + "".join(f"{cell}\n" for cell in cells)).encode())
    records, _ = read(lambda source: read_csv(source, path, types={"a": noted}), batch_size=100)
    return [record["a"] for record in records], called


@pytest.mark.usefixtures("reader")
def test_a_cell_that_comes_often_is_converted_once(tmp_path: Path) -> None:
    """Nobody can change a date, so records may share one."""
    values, called = calls_of(tmp_path, ["2013-02-04"] * 20, dt.date.fromisoformat)

    assert values == [dt.date(2013, 2, 4)] * 20
    assert called == ["2013-02-04"]


@pytest.mark.usefixtures("reader")
def test_what_could_be_changed_is_not_shared(tmp_path: Path) -> None:
    """Two records with the same cell have a list each."""
    values, _ = calls_of(tmp_path, ["a b", "a b"], str.split)

    assert values == [["a", "b"], ["a", "b"]]
    assert values[0] is not values[1]


def test_what_is_remembered_of_a_column_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column without repetitions must not grow with the file."""
    monkeypatch.setattr(meaning, "_REMEMBERED_MAX", 10)
    monkeypatch.setattr(quick, "_BLOCK_BYTES", 20)
    columns: list[meaning.Meaning] = []
    made = meaning.Meaning.__init__

    def noted(self: meaning.Meaning, *arguments: Any) -> None:  # noqa: ANN401  (its own)
        columns.append(self)
        made(self, *arguments)

    monkeypatch.setattr(meaning.Meaning, "__init__", noted)
    values, _ = calls_of(tmp_path, [str(number) for number in range(1_000)], int)

    assert values == list(range(1_000))
    assert len(columns[0]._known) <= 30


@pytest.mark.parametrize(("rows", "batch_size"), [(20, 100), (20, 15), (10_000, 10_000)])
def test_the_record_that_cannot_be_kept_is_named(
    tmp_path: Path, rows: int, batch_size: int
) -> None:
    """By its place in the batch, whether its column is coded or not, in whichever page it is."""
    cells = ["2013-02-04T00:00:00+00:00"] * (rows - 2) + ["2013-02-04T00:00:00"] * 2
    path = write(tmp_path / "a.csv", ("a\n" + "".join(f"{cell}\n" for cell in cells)).encode())
    source = task(batch_size=batch_size)
    *_, last = read_csv(source, path, types={"a": dt.datetime.fromisoformat})

    with pytest.raises(ValueRefused, match=rf"^\$\[{(rows - 2) % batch_size}\]\.a is a datetime"):
        encode_records(last.untouched)


def test_columns_that_repeat_themselves_are_coded(tmp_path: Path) -> None:
    """And those that do not are lists: most of what follows is decided by these few values."""
    rows = "".join(f"{number},{'xyz'[number % 3]}\n" for number in range(9_000))
    path = write(tmp_path / "a.csv", b"n,c\n" + rows.encode())
    (batch,) = read_csv(task(batch_size=9_000), path, types={"n": int})

    pages = batch.untouched.parts
    assert [len(page) for page in pages] == [8_192, 808]
    assert [[type(column) for column in page.values] for page in pages] == [[list, Coded]] * 2
    assert pages[1].values[1].values == ["z", "x", "y"]


def pages_of(path: Path, *, delimiter: str = ",") -> list[int]:
    """Return how many records each page of the file's only batch has."""
    (batch,) = read_csv(task(batch_size=9_000), path, types={"n": int}, delimiter=delimiter)
    pages = batch.untouched.parts
    assert [type(column) for column in pages[-1].values] == [list, Coded]
    assert batch.records == [{"n": number, "c": "xyz"[number % 3]} for number in range(9_000)]
    return list(map(len, pages))


@pytest.mark.parametrize(
    ("reader", "pages"),
    [("arrow", [9_000]), ("no arrow", [8_192, 808]), ("small file", [8_192, 808])],
)
def test_a_large_file_is_read_by_arrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, pages: list[int]
) -> None:
    """If it is installed; a small one is not worth the import."""
    rows = "".join(f"{number},{'xyz'[number % 3]}\n" for number in range(9_000))
    path = write(tmp_path / "a.csv", b"n,c\n" + rows.encode())
    size = path.stat().st_size
    monkeypatch.setattr(text, "_BULK_BYTES_MIN", size + 1 if reader == "small file" else size)
    if reader == "no arrow":
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        monkeypatch.delitem(sys.modules, "statepipe.io.files.bulk", raising=False)

    assert pages_of(path) == pages


def test_arrow_is_not_asked_for_a_delimiter_of_two_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would refuse it, and csv takes it."""
    monkeypatch.setattr(text, "_BULK_BYTES_MIN", 0)
    rows = "".join(f"{number}§{'xyz'[number % 3]}\n" for number in range(9_000))

    assert pages_of(write(tmp_path / "a.csv", f"n§c\n{rows}".encode()), delimiter="§") == [
        8_192,
        808,
    ]


def test_after_a_line_that_needs_care_arrow_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others read the block in which it is, and only that one."""
    monkeypatch.setattr(text, "_BULK_BYTES_MIN", 0)
    monkeypatch.setattr(bulk, "_BLOCK_BYTES", 2_000)
    monkeypatch.setattr(quick, "_BLOCK_BYTES", 200)
    pages: list[Columns] = []
    page_of = bulk.Bulk._page

    def noted(self: bulk.Bulk, block: bytes, records: int) -> Columns:
        pages.append(page_of(self, block, records))
        return pages[-1]

    monkeypatch.setattr(bulk.Bulk, "_page", noted)
    rows = [f"{number},x" for number in range(1_000)]
    rows[500] = "wrong,x"
    path = write(tmp_path / "a.csv", "\n".join(["n,c", *rows]).encode())
    source = task(batch_size=2_000)
    (batch,) = read_csv(source, path, types={"n": int})

    assert [record for record, _ in source._rejects] == [{"line": 502, "text": "wrong,x\n"}]
    assert [record["n"] for record in batch.records] == [*range(500), *range(501, 1_000)]
    assert [pages[0].values[0][0], pages[-1].values[0][-1]] == [0, 999], "on both sides of it"


def test_a_line_without_end_is_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block stops there, too, before it takes all memory."""
    monkeypatch.setattr(lines, "LINE_BYTES_MAX", 100)
    monkeypatch.setattr(quick, "_BLOCK_BYTES", 10)
    path = write(tmp_path / "a.csv", b"a\n1\n" + b"2" * 1_000)

    with pytest.raises(Fatal, match="is longer than 100 bytes"):
        read(lambda source: read_csv(source, path), batch_size=5)
