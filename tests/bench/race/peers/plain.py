"""
(a) A plain script: csv, dicts, one executemany. No checkpoints, no contract, one transaction.

    python plain.py FLIGHTS AIRLINES TO [CONTRACT]

TO is a file of SQLite, or a postgresql:// address. PostgreSQL is filled by COPY into a
temporary table and one upsert, which is what its manual says and several times as fast as
executemany. What has not departed goes to rejected.csv. With CONTRACT, a JSON Schema, each
departure is judged by it as well, for those who think a plain script would do so.
"""

import csv
import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "machines"))

from departed import NUMBERS, airlines, enriched

TABLE = """
CREATE TABLE IF NOT EXISTS flights (
    id text PRIMARY KEY, carrier text, airline text, flight bigint, tailnum text, origin text,
    dest text, scheduled_at text, departed_at text, dep_delay_minutes bigint,
    arr_delay_minutes bigint, air_time_minutes bigint, distance_miles bigint,
    speed_mph double precision
)
"""


def rows(flights: str, names: dict[str, str], contract: str | None) -> Iterator[dict[str, Any]]:
    """Yield what is to be loaded; write the rest down."""
    is_valid = _judge(contract)
    with (
        Path(flights).open(encoding="utf-8", newline="") as file,
        Path("rejected.csv").open("w", encoding="utf-8", newline="") as aside,
    ):
        reader = csv.DictReader(file)
        rejected = csv.DictWriter(aside, reader.fieldnames or ())
        for row in reader:
            record: dict[str, Any] = {k: None if v == "NA" else v for k, v in row.items()}
            for name in NUMBERS:
                if record[name] is not None:
                    record[name] = int(record[name])
            if record["dep_time"] is None or not (is_valid is None or is_valid(record)):
                rejected.writerow(row)
            else:
                yield enriched(record, names)


def into_sqlite(path: str, made: Iterator[dict[str, Any]]) -> None:
    """Upsert in one transaction."""
    connection = sqlite3.connect(path)
    connection.execute(TABLE)
    first = next(made)
    names, marks = ", ".join(first), ", ".join(f":{name}" for name in first)
    upsert = f"INSERT INTO flights ({names}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET "
    upsert += ", ".join(f"{name} = excluded.{name}" for name in first if name != "id")
    connection.execute(upsert, first)
    connection.executemany(upsert, made)
    connection.commit()
    connection.close()


def into_postgres(address: str, made: Iterator[dict[str, Any]]) -> None:
    """Copy into a temporary table and upsert from it, in one transaction."""
    import psycopg  # noqa: PLC0415  (150 ms that SQLite need not pay)

    with psycopg.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
        cursor.execute("CREATE TEMP TABLE staged (LIKE flights) ON COMMIT DROP")
        with cursor.copy("COPY staged FROM STDIN") as copy:
            for row in made:
                copy.write_row(tuple(row.values()))
        changed = ", ".join(f"{name} = excluded.{name}" for name in row if name != "id")
        cursor.execute(
            "INSERT INTO flights SELECT * FROM staged"
            f" ON CONFLICT (id) DO UPDATE SET {changed}".encode()
        )


def _judge(contract: str | None) -> Any:  # noqa: ANN401  (a function, or None)
    if contract is None:
        return None
    import jsonschema_rs  # noqa: PLC0415  (only if asked for)

    schema = json.loads(Path(contract).read_text(encoding="utf-8"))
    return jsonschema_rs.validator_for(schema, validate_formats=True).is_valid


def main(flights: str, names: str, to: str, contract: str | None = None) -> None:
    """Do it all."""
    made = rows(flights, airlines(names), contract)
    if to.startswith("postgresql://"):
        into_postgres(to, made)
    else:
        into_sqlite(to, made)


if __name__ == "__main__":
    main(*sys.argv[1:])
