"""A contract that judges a table by columns and as dicts, and must not tell the difference."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa

from statepipe.io import columnar
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


def agreed(judge: Contract, table: pa.Table) -> int:
    """Judge `table` both ways; return how many rows were judged as dicts."""
    counting = Counting(judge)
    quick = counting.judge(table)
    with mock.patch.object(columnar, "unproved", lambda _plan, table: range(table.num_rows)):
        slow = judge.judge(table)
    as_dicts = judge.judge(table.to_pylist())

    # By their text: NaN is equal to nothing.
    assert repr(quick.rejects) == repr(slow.rejects) == repr(as_dicts.rejects)
    assert repr(quick.clean.to_pylist()) == repr(slow.clean.to_pylist()) == repr(as_dicts.clean)
    assert quick.clean.schema == slow.clean.schema == table.schema
    return counting.seen
