"""
(b) The same work in dlt, in an environment of its own.

    python dlt_race.py rows|arrow FLIGHTS AIRLINES TO

rows    its default path: a resource yields pages of dicts, which dlt writes as its preferred
        file format and inserts
arrow   its fast path: a resource yields Arrow tables, which dlt writes as parquet, or as CSV
        where PostgreSQL can COPY it

Both merge by the primary key. Moments stay text, as for everybody here, so dlt is told to
look for none in it.
"""

import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["SCHEMA__ALLOW_IDENTIFIER_CHANGE_ON_TABLE_WITH_DATA"] = "true"
sys.path.append(str(Path(__file__).parents[1] / "machines"))

import dlt
from departed import NUMBERS, airlines, enriched

PAGE_ROWS, TABLE_ROWS = 10_000, 45_000
TEXTS = ("id", "scheduled_at", "departed_at")


def pages(flights: str, names: dict[str, str]) -> Iterator[list[dict[str, Any]]]:
    """Yield pages of dicts; what has not departed is written down."""
    with (
        Path(flights).open(encoding="utf-8", newline="") as file,
        Path("rejected.csv").open("w", encoding="utf-8", newline="") as aside,
    ):
        reader = csv.DictReader(file)
        rejected = csv.DictWriter(aside, reader.fieldnames or ())
        page = []
        for row in reader:
            record: dict[str, Any] = {k: None if v == "NA" else v for k, v in row.items()}
            for name in NUMBERS:
                if record[name] is not None:
                    record[name] = int(record[name])
            if record["dep_time"] is None:
                rejected.writerow(row)
                continue
            page.append(enriched(record, names))
            if len(page) == PAGE_ROWS:
                yield page
                page = []
        if page:
            yield page


def tables(flights: str, names: str) -> Iterator[Any]:
    """Yield Arrow tables; the lines are those of our own columnar path."""
    import pyarrow.compute as pc  # noqa: PLC0415  (this path only)
    import pyarrow.csv  # noqa: PLC0415  (imported where it is there)
    from departed_columns import blocks  # noqa: PLC0415  (imported where it is there)
    from departed_columns import enriched as made_of  # noqa: PLC0415  (imported where it is there)

    with Path("rejected.csv").open("wb") as aside:
        options = pyarrow.csv.WriteOptions(include_header=False)
        for block in blocks(flights, TABLE_ROWS):
            departed = pc.is_valid(block["dep_time"])
            pyarrow.csv.write_csv(block.filter(pc.invert(departed)), aside, options)
            yield made_of(block.filter(departed), names)


def main(path: str, flights: str, names: str, to: str) -> None:
    """Run one pipeline, with its working folder beside us."""
    is_postgres = to.startswith("postgresql://")
    made = tables(flights, names) if path == "arrow" else pages(flights, airlines(names))
    resource = dlt.resource(
        made,
        name="flights",
        write_disposition={
            "disposition": "merge",
            "strategy": "upsert" if is_postgres else "delete-insert",
        },
        primary_key="id",
        columns=None if path == "arrow" else {name: {"data_type": "text"} for name in TEXTS},
    )
    pipeline = dlt.pipeline(
        "race",
        pipelines_dir="pipelines",
        destination=dlt.destinations.postgres(to)
        if is_postgres
        else dlt.destinations.sqlalchemy(f"sqlite:///{to}"),
        dataset_name="race" if is_postgres else "main",
    )
    load = pipeline.run(resource)
    load.raise_on_failed_jobs()


if __name__ == "__main__":
    main(*sys.argv[1:])
