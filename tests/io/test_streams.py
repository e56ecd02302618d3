"""
One Arrow stream as a source: cut into batches, and known again after a crash.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from statepipe.batch import Batch
from statepipe.errors import Fatal, ValueRefused
from statepipe.io.rows import Value
from statepipe.io.streams import read_stream
from statepipe.model import Task
from statepipe.runtime.tasks.attempts import perform
from tests.io.reading import task
from tests.runtime.memory_loop import Loop, call_of

TABLE = pa.table(
    {
        "id": range(20),
        "x": [None if n % 7 == 3 else n / 3 for n in range(20)],
        "kind": pa.array(["a", "b"] * 10).dictionary_encode(),
    }
)


class Foreign:
    """What another library hands out: nothing but the interface, and a stream made when asked."""

    def __init__(self, table: Any, *, rows: int = 3) -> None:  # noqa: ANN401  (a pyarrow.Table)
        self._table = table
        self._rows = rows
        self.taken = 0

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the stream as a capsule."""
        reader = pa.RecordBatchReader.from_batches(self._table.schema, self._batches())
        return reader.__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[Any]:
        for batch in self._table.to_batches(max_chunksize=self._rows):
            self.taken += batch.num_rows
            yield batch


STREAMS = {
    "table": TABLE,
    "reader": None,  # one is used up by reading it: made anew by `stream`
    "batch": TABLE.combine_chunks().to_batches()[0],
    "foreign": Foreign(TABLE),
    "large": Foreign(TABLE, rows=100),
}


def stream(kind: str) -> Any:  # noqa: ANN401  (any library's)
    """Return a stream of TABLE."""
    return STREAMS[kind] or pa.RecordBatchReader.from_batches(TABLE.schema, TABLE.to_batches(4))


def rows_of(batches: list[Batch]) -> list[dict[str, Any]]:
    """Return the rows of some batches."""
    return [row for batch in batches for row in batch.records.to_pylist()]


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("batch_size", [1, 4, 7, 20, 99])
def test_a_stream_is_cut_into_batches_wherever_a_crash_comes(kind: str, batch_size: int) -> None:
    """Each of one size but the last, whatever the sizes that the stream has."""
    undisturbed = list(read_stream(task(batch_size=batch_size), stream(kind)))
    resumed: list[Batch] = []
    cursor: Value = None
    while batch := next(
        read_stream(task(batch_size=batch_size, cursor=cursor), stream(kind)), None
    ):
        resumed.append(batch)
        cursor = batch.cursor

    assert rows_of(undisturbed) == rows_of(resumed) == TABLE.to_pylist()
    sizes = [batch.records.num_rows for batch in resumed]
    assert sizes == [batch.records.num_rows for batch in undisturbed]
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)


def test_a_stream_is_read_no_sooner_than_it_is_needed() -> None:
    """Memory is bound by the batch: what is behind it is not there yet."""
    source = Foreign(TABLE)
    batches = read_stream(task(batch_size=4), source)

    next(batches)

    assert source.taken <= 9


def test_a_stream_without_rows_makes_no_batch() -> None:
    """As an empty file."""
    assert list(read_stream(task(), TABLE.slice(0, 0))) == []


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (TABLE.slice(0, 7), "it has 7 rows, 8 were read before"),
        (TABLE.slice(0, 0), "it has 0 rows, 8 were read before"),
        (TABLE.slice(1), "its row 8 is not the one that was read"),
        (TABLE.select(["id"]), "its row 8 is not the one that was read"),
        (TABLE.sort_by([("id", "descending")]), "its row 8 is not the one that was read"),
    ],
)
def test_a_stream_that_is_another_when_asked_again_is_refused(other: Any, reason: str) -> None:  # noqa: ANN401  (a pyarrow.Table)
    """Rows would be lost or come twice; most often a query has no ORDER BY."""
    cursor = list(read_stream(task(batch_size=4), TABLE))[1].cursor

    with pytest.raises(Fatal, match=reason) as refusal:
        list(read_stream(task(batch_size=4, cursor=cursor), Foreign(other)))

    assert "ORDER BY" in str(refusal.value)


def test_rows_that_python_has_no_values_for_are_counted_all_the_same() -> None:
    """A moment in the year 200,000 can be staged, and has no digest."""
    table = pa.table({"at": pa.array([6_000_000_000_000] * 3, pa.timestamp("s"))})
    first = next(read_stream(task(), table))

    (rest,) = read_stream(task(cursor=first.cursor), table)

    assert first.cursor == {"rows": 2, "last": None}
    assert rest.records.num_rows == 1


@pytest.mark.parametrize(
    "cursor", [1, {}, {"rows": 1}, {"rows": "1", "last": None}, {"rows": 1, "last": 1}], ids=repr
)
def test_a_foreign_cursor_is_refused(cursor: Value) -> None:
    """It counts something else."""
    with pytest.raises(Fatal, match="not made by this reader"):
        list(read_stream(task(cursor=cursor), TABLE))


def test_what_arrow_cannot_take_is_refused() -> None:
    """The library's own words say why."""

    class Broken:
        def __arrow_c_stream__(self, _requested_schema: object = None) -> object:
            raise ValueError("no stream today")

    with pytest.raises(ValueRefused, match="no stream today"):
        list(read_stream(task(), Broken()))


def test_a_stream_that_is_one_batch_is_whole_whoever_looked_at_it(tmp_path: Path) -> None:
    """It can be read once, and the watermark is looked for before it is staged."""

    def source(_task: Task) -> Iterator[Batch]:
        yield Batch(stream("reader"), cursor=1)

    loop = Loop(tmp_path)
    looked = {"column": "id", "lookback_ms": None, "lookback": None}
    result = perform(call_of(loop, source, mark=[None, None, None], incremental=looked), loop)

    assert (result["event"], result["records"]) == ("ok", 20)
    assert [each.to_pylist() for each in loop.records()] == [TABLE.to_pylist()]
