"""
The real load: the flights machine on as many rows as a year has, and a script without promises.

    project     the shipped machine with its week of flights repeated
    promised    the engine: staged, validated, committed, loaded exactly once; seconds
    plain       csv, dicts, one executemany; seconds
"""

import csv
import shutil
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.sqlite import sqlite3

MACHINES = Path(__file__).parents[2] / "machines"
ROWS = 336_776


def project(folder: Path) -> Path:
    """Copy the machine and repeat its week, year after year, up to `ROWS` rows."""
    shutil.copytree(MACHINES, folder / "machines")
    data = folder / "machines" / "data" / "flights.csv"
    with data.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or ())
        week = list(reader)
    with data.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for number in range(ROWS):
            row = week[number % len(week)]
            writer.writerow({**row, "year": int(row["year"]) + number // len(week)})
    return folder


def promised(folder: Path) -> tuple[float, int]:
    """Run the machine with every promise on; return seconds, and rows in the warehouse."""
    began = time.perf_counter()
    with Engine(load_config(start=folder, environ={})) as engine:
        instance = engine.create("flights")
        assert instance is not None
        assert engine.run([instance]) == {instance: "done"}
    took_s = time.perf_counter() - began
    return took_s, _count(folder / "warehouse.db", "flights")


def plain(folder: Path) -> tuple[float, int]:
    """Do the same work in one process and one transaction; return seconds, and rows."""
    sys.path.insert(0, str(MACHINES))
    flights = import_module("flights")
    sys.path.remove(str(MACHINES))
    source = folder / "machines" / "data" / "flights.csv"
    began = time.perf_counter()
    rows = _enriched(source, flights)
    first = next(rows)
    names = ", ".join(first)
    marks = ", ".join(f":{name}" for name in first)
    updates = ", ".join(f"{name} = excluded.{name}" for name in first if name != "id")
    warehouse = folder / "plain.db"
    connection = sqlite3.connect(warehouse, isolation_level=None)
    columns = ", ".join(name for name in first if name != "id")
    connection.execute(f"CREATE TABLE flights (id TEXT PRIMARY KEY, {columns})")
    connection.execute("BEGIN")
    upsert = f"INSERT INTO flights ({names}) VALUES ({marks}) ON CONFLICT DO UPDATE SET {updates}"
    connection.execute(upsert, first)
    connection.executemany(upsert, rows)
    connection.execute("COMMIT")
    connection.close()
    return time.perf_counter() - began, _count(warehouse, "flights")


def _enriched(source: Path, flights: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401  (a module)
    with source.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["dep_time"] == "NA":
                continue
            typed: dict[str, Any] = {k: None if v == "NA" else v for k, v in row.items()}
            for name in flights.NUMBERS:
                if typed[name] is not None:
                    typed[name] = int(typed[name])
            yield flights.enrich(typed)


def _count(database: Path, table: str) -> int:
    connection = sqlite3.connect(database)
    rows: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    connection.close()
    return rows
