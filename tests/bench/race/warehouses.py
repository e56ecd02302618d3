"""
Where the race ends: a file of SQLite or a database of PostgreSQL, empty before each run.

    Sqlite, Postgres    address, the machine's address, what the environment must say
    Warehouse.empty     throw away whatever is there
    Warehouse.content   number of rows, and a digest of every value with its type, by key
"""

from collections.abc import Iterable, Mapping
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from statepipe.sqlite import sqlite3
from tests.io.postgres.server import Cluster

_COLUMNS: Final = """
id, carrier, airline, flight, tailnum, origin, dest, scheduled_at, departed_at,
dep_delay_minutes, arr_delay_minutes, air_time_minutes, distance_miles, speed_mph
"""
#: Where the entrants make their table; dlt wants a schema of its own.
_SCHEMAS: Final = ("public", "race")


class Content(NamedTuple):
    """What a warehouse holds."""

    rows: int
    digest: str


class Warehouse(Protocol):
    """An empty database, and what came into it."""

    @property
    def address(self) -> str:
        """Where it is, for a command line."""

    @property
    def machine_address(self) -> str:
        """Where it is, for a machine's `to`."""

    @property
    def environ(self) -> Mapping[str, str]:
        """What the environment of an entrant must say."""

    def empty(self) -> None:
        """Throw away what is there."""

    def content(self) -> Content:
        """Return what is there, whoever wrote it."""


class Sqlite:
    """A file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.address = str(folder / "warehouse.db")
        self.machine_address = f"sqlite:///{self.address}"
        self.environ: Mapping[str, str] = {}

    def empty(self) -> None:
        """Remove the file, and those beside it."""
        for path in self._folder.iterdir():
            path.unlink()

    def content(self) -> Content:
        """Return what the table has."""
        with closing(sqlite3.connect(self.address)) as connection:
            return _content(connection.execute(f"SELECT {_COLUMNS} FROM flights ORDER BY id"))


class Postgres:
    """A database of a server that keeps its promises, as far as the disk does."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.address = cluster.url()
        self.machine_address = "env:RACE_WAREHOUSE"
        self.environ: Mapping[str, str] = {"RACE_WAREHOUSE": self.address}

    def empty(self) -> None:
        """Drop all there is, and let the server write back what it has not."""
        with self._cluster.owner() as owner:
            for schema in ("race", "race_staging", "public"):
                owner.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())
            owner.execute("CREATE SCHEMA public")
            owner.execute("CHECKPOINT")

    def content(self) -> Content:
        """Return what the table has, in whichever schema it is."""
        with self._cluster.owner() as owner:
            found = owner.execute(
                "SELECT schemaname FROM pg_tables WHERE tablename = 'flights'"
                " AND schemaname = ANY (%s)",
                (list(_SCHEMAS),),
            ).fetchall()
            ((schema,),) = found
            query = f'SELECT {_COLUMNS} FROM {schema}.flights ORDER BY id COLLATE "C"'
            return _content(owner.execute(query.encode()))


def _content(rows: Iterable[tuple[Any, ...]]) -> Content:
    digest, count = sha256(), 0
    for row in rows:
        digest.update(repr(tuple(row)).encode())
        count += 1
    return Content(count, digest.hexdigest())
