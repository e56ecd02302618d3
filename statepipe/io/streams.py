"""
A source that returns one stream of Arrow data: cut into batches, each with its cursor.

    read_stream     whatever has `__arrow_c_stream__` -> batches

It is read as it is asked for, and no more is held than a batch and one of its own record
batches. A cursor is a number of rows and a digest of the last of them: a resume lets that many
rows pass, so the stream must be the same whenever the function is called, in the same order.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from statepipe.batch import Batch
from statepipe.io import arrow
from statepipe.io.changed import changed
from statepipe.model import Task

_DIGEST_BYTES: Final = 8


def read_stream(task: Task, stream: Any) -> Iterator[Batch]:  # noqa: ANN401  (any library's)
    """
    Yield the rows of `stream` in batches of `task.batch_size`, from `task.cursor` on.

    Raises:
        Fatal: If the stream is not the one that the cursor belongs to.
        DataError: If pyarrow is not installed.
        ValueRefused: If Arrow cannot take it.
    """
    rows = 0
    tables = arrow.stream_of(stream)
    if task.cursor is not None:
        rows, last = _read(task.cursor)
        tables = _behind(rows, last, tables, task)
    cutter = arrow.Cutter(task.batch_size)
    for table in tables:
        for cut, _ in cutter.feed(table):
            rows += cut.num_rows
            yield Batch(cut, cursor=_cursor(rows, cut))
    if (cut := cutter.rest()) is not None:
        yield Batch(cut, cursor=_cursor(rows + cut.num_rows, cut))


def _behind(rows: int, last: bytes | None, tables: Iterator[Any], task: Task) -> Iterator[Any]:
    """Yield what is behind the first `rows` rows, the last of which has the digest `last`."""
    left = rows
    for table in tables:
        if left:
            task.heartbeat()
            passed = table.slice(0, left)
            left -= passed.num_rows
            if left == 0 and last is not None and _digest(passed) != last:
                _refuse(f"its row {rows} is not the one that was read")
            table = table.slice(passed.num_rows)  # noqa: PLW2901  (the rest of it)
        if table.num_rows:
            yield table
    if left:
        _refuse(f"it has {rows - left} rows, {rows} were read before")


def _cursor(rows: int, table: Any) -> dict[str, Any]:  # noqa: ANN401  (pyarrow.Table)
    return {"rows": rows, "last": _digest(table)}


def _digest(table: Any) -> bytes | None:  # noqa: ANN401  (pyarrow.Table)
    """Return a digest of the last row; None if Python has no values for what is in it."""
    try:
        row = repr(table.slice(table.num_rows - 1).to_pylist())
    except Exception:  # noqa: BLE001  (a moment beyond Python's, an unknown zone, …)
        return None
    return hashlib.blake2b(row.encode("utf-8", "replace"), digest_size=_DIGEST_BYTES).digest()


def _read(cursor: Any) -> tuple[int, bytes | None]:  # noqa: ANN401  (plain data)
    match cursor:
        case {"rows": int(rows), "last": bytes() | None as last, **others} if not others:
            pass
        case _:
            _refuse("the cursor was not made by this reader")
    return rows, last


def _refuse(reason: str) -> NoReturn:
    remedy = "Return the same rows in the same order whenever it is asked for (ORDER BY)"
    raise changed("the stream", reason, remedy=remedy)
