"""
Parquet: tables of one size, whatever the row groups and files, and wherever a crash comes.
"""

import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statepipe.batch import Batch
from statepipe.errors import DataError, Fatal
from statepipe.io.files.parquet import read_parquet
from statepipe.io.rows import Value
from statepipe.model import Task
from statepipe.store.stage.records import decode_records, encode_records
from tests.io.reading import task

TABLE = pa.table(
    {
        "id": range(10),
        "name": [f"n{n}" if n % 3 else None for n in range(10)],
        "kind": pa.array(["a", "b"] * 5).dictionary_encode(),
        "at": pa.array(range(0, 10_000, 1000), pa.timestamp("ns", "UTC")),
        "deep": [{"x": [n]} for n in range(10)],
    }
)


def whole(batches: list[Batch]) -> Any:  # noqa: ANN401  (a pyarrow.Table)
    """Return what was read, as it comes back from the stage, as one table of rows."""
    tables = [decode_records("arrow", encode_records(batch.records).payload) for batch in batches]
    return pa.concat_tables(tables, promote_options="permissive").to_pylist()


def undisturbed(reader: Callable[[Task], Any], batch_size: int) -> list[Batch]:
    """Return the batches of one run."""
    return list(reader(task(batch_size=batch_size)))


def with_crashes(reader: Callable[[Task], Any], batch_size: int) -> list[Batch]:
    """Return the batches of as many runs as there are, one each."""
    batches: list[Batch] = []
    cursor: Value = None
    while (batch := next(reader(task(batch_size=batch_size, cursor=cursor)), None)) is not None:
        batches.append(batch)
        cursor = batch.cursor
    return batches


@pytest.mark.parametrize("reading", [undisturbed, with_crashes])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 99])
@pytest.mark.parametrize("group", [1, 3, 10])
def test_rows_come_in_tables_of_one_size(
    tmp_path: Path, reading: Callable[..., list[Batch]], batch_size: int, group: int
) -> None:
    """Row groups and files end where they like; each value is what was written."""
    for n, (start, length) in enumerate([(0, 4), (4, 0), (4, 5), (9, 1)]):
        part = TABLE.slice(start, length)
        pq.write_table(part, tmp_path / f"{n}.parquet", row_group_size=group)

    batches = reading(lambda source: read_parquet(source, tmp_path / "*.parquet"), batch_size)

    assert whole(batches) == TABLE.to_pylist()
    sizes = [batch.records.num_rows for batch in batches]
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    assert batches[0].records.schema.field("at").type == pa.timestamp("ns", "UTC")


_counter = itertools.count()


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=4),
    st.integers(1, 9),
    st.integers(1, 20),
)
def test_any_cut_into_files_groups_and_batches_is_read_the_same(
    tmp_path_factory: pytest.TempPathFactory, files: list[int], group: int, batch_size: int
) -> None:
    """Every row once, in order, with a crash after each batch."""
    folder = tmp_path_factory.getbasetemp() / f"any-{next(_counter)}"
    folder.mkdir()
    row = itertools.count()
    for n, rows in enumerate(files):
        table = pa.table({"id": pa.array([next(row) for _ in range(rows)], pa.int64())})
        pq.write_table(table, folder / f"{n}.parquet", row_group_size=group)

    batches = with_crashes(lambda source: read_parquet(source, folder / "*"), batch_size)

    got = [value for batch in batches for value in batch.records["id"].to_pylist()]
    assert got == list(range(sum(files)))


def test_columns_are_chosen_by_name_in_order(tmp_path: Path) -> None:
    """What is not asked for is not read; what is not there is refused."""
    pq.write_table(TABLE, tmp_path / "x.parquet")

    (batch,) = read_parquet(task(batch_size=99), tmp_path / "x.parquet", columns=["name", "id"])

    assert batch.records.equals(TABLE.select(["name", "id"]))
    for columns, reason in [(["nam"], "no column 'nam'"), ([], "no columns of it are asked for")]:
        with pytest.raises(Fatal, match=reason):
            list(read_parquet(task(), tmp_path / "x.parquet", columns=columns))


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        ({"id": ["1"], "name": ["x"]}, "its column 'id' is string, and int64 in .*a.parquet"),
        ({"name": ["x"]}, "its column 'id' is missing, and int64 in"),
        ({"id": [1], "name": ["x"], "more": [1]}, "its column 'more' is int64, and missing in"),
    ],
)
@pytest.mark.parametrize("resumed", [False, True])
def test_a_later_file_with_other_columns_is_refused(
    tmp_path: Path, later: dict[str, Any], reason: str, *, resumed: bool
) -> None:
    """By its name, before anything of it is read; in another order they are the same."""
    pq.write_table(pa.table({"id": [1, 2], "name": ["x", "y"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"name": ["z", "z"], "id": [3, 4]}), tmp_path / "b.parquet")
    batches = list(read_parquet(task(), tmp_path / "*.parquet"))
    pq.write_table(pa.table(later), tmp_path / "c.parquet")

    with pytest.raises(Fatal, match=rf"c\.parquet cannot be read as Parquet: {reason}"):
        list(read_parquet(task(cursor=batches[1].cursor if resumed else None), tmp_path / "*"))

    assert whole(batches)[2:] == [{"id": 3, "name": "z"}, {"id": 4, "name": "z"}]


def test_a_resume_reads_the_rest_only(tmp_path: Path) -> None:
    """Row groups that were used up may even be damaged: nobody looks at them again."""
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": range(9000)}), path, row_group_size=1000, compression="none")
    times = path.stat()
    cursor = next(read_parquet(task(batch_size=4500), path)).cursor
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3000)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    batches = list(read_parquet(task(batch_size=4500, cursor=cursor), path))

    assert [value for b in batches for value in b.records["id"].to_pylist()] == [*range(4500, 9000)]


@pytest.mark.parametrize("same_time", [False, True])
def test_a_file_that_was_written_again_is_refused(tmp_path: Path, *, same_time: bool) -> None:
    """By its time or its size: not all of it was read, so nothing else can tell."""
    path = tmp_path / "x.parquet"
    pq.write_table(TABLE, path)
    times = path.stat()
    cursor = next(read_parquet(task(), path)).cursor
    pq.write_table(TABLE.slice(0, 9) if same_time else TABLE, path)
    if same_time:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    with pytest.raises(Fatal, match=r"x\.parquet is not what .* it was written again.*rewind"):
        list(read_parquet(task(cursor=cursor), path))


@pytest.mark.parametrize("at", [1, {}, {"row": -1, "size": 1, "stamp": 1}, {"row": 0}], ids=repr)
def test_a_foreign_cursor_is_refused(tmp_path: Path, at: Value) -> None:
    """That of another reader counts something else."""
    pq.write_table(TABLE, tmp_path / "x.parquet")

    with pytest.raises(Fatal, match="not made by this reader"):
        list(
            read_parquet(
                task(cursor={"file": "x.parquet", "at": at, "before": None}),
                tmp_path / "x.parquet",
            )
        )


def test_a_file_cut_or_damaged_anywhere_is_an_error_or_whole(tmp_path: Path) -> None:
    """Never less data; each page has its sum, if its writer gave it one."""
    path = tmp_path / "x.parquet"
    table = pa.table({"id": range(500), "t": [f"{n:09}" for n in range(500)]})
    pq.write_table(table, path, write_page_checksum=True)
    data = path.read_bytes()

    for at in range(0, len(data), 97):
        path.write_bytes(data[:at])
        with pytest.raises(Fatal, match=r"x\.parquet cannot be read as Parquet"):
            list(read_parquet(task(batch_size=1000), path))
        path.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
        try:
            batches = list(read_parquet(task(batch_size=1000), path))
        except Fatal:
            continue
        assert whole(batches) == table.to_pylist()


@pytest.mark.parametrize("data", [b"", b"PAR1", b"a,b\n1,2\n"])
def test_what_is_no_parquet_is_fatal(tmp_path: Path, data: bytes) -> None:
    """With the file's name."""
    (tmp_path / "x.parquet").write_bytes(data)

    with pytest.raises(Fatal, match=r"x\.parquet cannot be read as Parquet"):
        list(read_parquet(task(), tmp_path / "x.parquet"))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """A record could hold one of them only."""
    table = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "x.parquet")

    with pytest.raises(Fatal, match="two of its columns have one name"):
        list(read_parquet(task(), tmp_path / "x.parquet"))


def test_memory_is_bound_by_the_batch_and_not_by_the_row_group(tmp_path: Path) -> None:
    """As the library comes, it would read all of a row group ahead."""
    rows, width = 40_000, 500
    table = pa.table({"t": [f"{n:0{width}}" for n in range(rows)]})
    pq.write_table(table, tmp_path / "x.parquet", compression="none", use_dictionary=False)
    del table
    pool = pa.default_memory_pool()
    pool.release_unused()
    before, most, seen = pool.bytes_allocated(), 0, 0

    for batch in read_parquet(task(batch_size=1000), tmp_path / "x.parquet"):
        seen += batch.records.num_rows
        most = max(most, pool.bytes_allocated() - before)

    assert seen == rows
    assert most < rows * width / 4


def test_without_pyarrow_it_is_refused_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an extra."""
    pq.write_table(TABLE, tmp_path / "x.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(DataError, match="needs pyarrow") as refusal:
        list(read_parquet(task(), tmp_path / "x.parquet"))

    assert "statepipe[arrow]" in refusal.value.next_step
