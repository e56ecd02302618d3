"""A contract that judges a table by columns and as dicts, and must not tell the difference."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa

from statepipe.io import columnar
from statepipe.io.blocks import Blocks, Columns
from statepipe.io.contract import Contract, Judged


class Counting:
    """Counts the records that were judged as dicts."""

    def __init__(self, contract: Contract) -> None:
        self.seen = 0
        self._contract = contract
        self._rejects = contract._rejects

    def judge(self, records: object) -> Judged:
        """Judge, counting."""
        with mock.patch.object(self._contract, "_rejects", self._counted):
            return self._contract.judge(records)

    def _counted(self, records: Sequence[Any], positions: Sequence[int]) -> Iterator[Any]:
        self.seen += len(records)
        return self._rejects(records, positions)


def contract(folder: Path, schema: object) -> Contract:
    """Return a contract loaded from a file."""
    path = folder / "c.json"
    path.write_text(json.dumps(schema), encoding="utf-8")
    return Contract.load(path)


def agreed_by_blocks(judge: Contract, rows: list[dict[str, Any]]) -> int:
    """Judge `rows` as dicts and as the columns of a staged batch; return as `agreed`."""
    counting = Counting(judge)
    # In two blocks, and twice: a value that was fine is remembered.
    half = len(rows) // 2
    blocks = Blocks(
        [columns for part in (rows[:half], rows[half:]) if (columns := by_columns(part))]
    )
    for _ in range(2):
        counting.seen = 0
        quick = counting.judge(blocks)
        slow = judge.judge(rows)
        assert repr(quick.rejects) == repr(slow.rejects)
        assert repr(list(quick.clean)) == repr(slow.clean)
    return counting.seen


def by_columns(rows: list[dict[str, Any]]) -> Columns | list[dict[str, Any]]:
    """Return `rows`, which have the same fields, as columns, if there are any."""
    if not rows or not rows[0]:
        return rows
    return Columns(
        tuple(rows[0]), [list(column) for column in zip(*map(dict.values, rows), strict=True)]
    )


def agreed(judge: Contract, table: pa.Table) -> int:
    """Judge `table` both ways; return how many rows were judged as dicts."""
    counting = Counting(judge)
    quick = counting.judge(table)
    with mock.patch.object(columnar, "unproved", lambda _plan, table: range(table.num_rows)):
        slow = judge.judge(table)
    rows = table.to_pylist()
    as_dicts = judge.judge(rows)
    agreed_by_blocks(judge, rows)

    # By their text: NaN is equal to nothing.
    assert repr(quick.rejects) == repr(slow.rejects) == repr(as_dicts.rejects)
    assert repr(quick.clean.to_pylist()) == repr(slow.clean.to_pylist()) == repr(as_dicts.clean)
    assert quick.clean.schema == slow.clean.schema == table.schema
    return counting.seen
