"""
Batches as Parquet files; pyarrow writes them.

    ParquetFormat    compressed in one of Parquet's ways

The first file of a table says its columns: a later batch is fitted to them, a field that they
lack stops it, one that a record lacks is null. A batch of dicts has the types of
`io.arrowvalues`, text where Parquet has none of its own (UUID, timedelta, times with an offset),
JSON as text; a columnar batch has its own.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from statepipe.errors import DataError
from statepipe.io import arrowfit
from statepipe.io.arrow import as_table
from statepipe.io.arrowdeclared import holds, maker
from statepipe.io.arrowvalues import Column
from statepipe.io.declared import Declared
from statepipe.io.fitting import Run, Why
from statepipe.io.folders.formats import Written
from statepipe.io.rows import Records, is_table
from statepipe.io.table import check_name
from statepipe.suggest import did_you_mean

_INSTEAD: Final = {"uuid": "text", "interval": "text", "timetz": "text"}

_make_column: Final = maker(_INSTEAD)

#: The key of a column's own notes: what it takes, where its type does not tell.
_KIND: Final = b"statepipe.kind"


class ParquetFormat:
    """
    Parquet.

    Args:
        compression: "snappy", "zstd", "gzip" or "none".
        table: The table, for errors.
        declared: What columns it has, by contract; None for those of the first batch.
    """

    suffix = ".parquet"
    has_columns = True

    def __init__(
        self, compression: str = "snappy", *, table: str = "", declared: Declared | None = None
    ) -> None:
        self._compression = compression
        self._table = table
        self._declared = declared

    def columns(self, folder: Path) -> dict[str, Column] | None:
        """Return the columns that the first file in `folder` has, None if there is no file."""
        first = min(folder.glob("[!._]*.parquet"), default=None) if folder.is_dir() else None
        if first is None:
            return None
        try:
            schema = pq.read_schema(first)
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"the columns of {folder} cannot be read from {first.name}: {error}",
                meaning="nothing of this batch was loaded",
                next_step="move the file away if it is nobody's, then resume",
            ) from error
        return {
            field.name: Column(
                (field.metadata or {}).get(_KIND, b"").decode() or arrowfit.family(field.type),
                field.type,
                str(field.type),
            )
            for field in schema
        }

    def fit(self, records: Records, columns: dict[str, Column] | None) -> Written:
        """Fit `records` to the columns, or to those of a new table."""
        rejects: dict[int, Why] = {}
        if is_table(records):
            records = as_table(records)
        runs = arrowfit.split(records, rejects, key=())
        if self._declared is not None:
            columns, _ = self._declared.meet(
                columns, name=self._table, make=_make_column, holds=holds
            )
        if columns is None:
            columns = arrowfit.infer(runs, instead=_INSTEAD)
        for name in columns:
            check_name(name, what="field")
        for run in runs:
            _check_fields(run, columns)
        fitted = arrowfit.fit(runs, columns, rejects, key=())
        schema = pa.schema([_field(name, column) for name, column in columns.items()])
        tables = [
            _whole(dict(zip(run.fields, run.columns, strict=True)), schema, len(run.positions))
            for run in fitted.runs
        ]

        def write(file: BinaryIO) -> None:
            pq.write_table(pa.concat_tables(tables), file, compression=self._compression)

        return Written(sum(table.num_rows for table in tables), rejects, write)


def _check_fields(run: Run, columns: Collection[str]) -> None:
    for name in run.fields:
        if name not in columns:
            raise DataError(
                f"the files of the table have no column {name!a}, which record"
                f" {run.positions[0]} of the batch has{did_you_mean(name, columns)}",
                meaning="nothing of this batch was loaded",
                next_step="leave the field out in the task that makes the batch, then rewind to"
                " it; or load into another table, then resume",
            )


def _field(name: str, column: Column) -> Any:  # noqa: ANN401  (pyarrow.Field)
    notes = {_KIND: column.kind} if column.kind == "jsonb" else None
    return pa.field(name, column.type, metadata=notes)


def _whole(columns: dict[str, Any], schema: Any, rows: int) -> Any:  # noqa: ANN401  (pyarrow)
    """Return a table of all columns of `schema`, null where the run has none."""
    return pa.table(
        [columns.get(field.name, pa.nulls(rows, field.type)) for field in schema], schema=schema
    )
