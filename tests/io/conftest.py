"""Databases for the tests of destinations."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from statepipe.machine.states.tasks import Load
from tests.io.duckdb_warehouse import DuckdbWarehouse
from tests.io.ends import End, HttpEnd, TableEnd
from tests.io.folder_warehouse import FolderWarehouse
from tests.io.postgres.server import Cluster, running
from tests.io.postgres.warehouse import PostgresWarehouse
from tests.io.receiver import Receiver
from tests.io.scene import Make, Rows, Scene
from tests.io.sqlite_warehouse import SqliteWarehouse
from tests.io.warehouse import Warehouse
from tests.io.web import serving


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Run a PostgreSQL server, one for all tests of a process."""
    with running() as cluster:
        yield cluster


DATABASES = ["sqlite", "postgres", "duckdb"]
WAREHOUSES = [*DATABASES, "parquet", "jsonl"]


def warehouse_of(request: pytest.FixtureRequest, folder: Path) -> Warehouse:
    """Return an empty warehouse of the kind that `request` asks for."""
    if request.param == "sqlite":
        return SqliteWarehouse(folder / "w.db")
    if request.param == "duckdb":
        return DuckdbWarehouse(folder / "w.duckdb")
    if request.param == "postgres":
        return PostgresWarehouse(request.getfixturevalue("cluster"))
    return FolderWarehouse(folder / "lake", request.param)


@pytest.fixture(params=[*WAREHOUSES, "http"])
def end(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[End]:
    """Return somewhere empty to load to, of each kind in turn: what all of them promise."""
    made: End
    if request.param == "http":
        receiver = Receiver()
        with serving(receiver) as web, closing(HttpEnd(web, receiver)) as made:
            yield made
        return
    with closing(TableEnd(warehouse_of(request, tmp_path))) as made:
        yield made


@pytest.fixture(params=WAREHOUSES)
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    """Return an empty warehouse of each kind in turn: the conformance suite."""
    with closing(warehouse_of(request, tmp_path)) as made:
        yield made


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    """Return those of the kinds whose tables have keys and constraints, and other owners."""
    with closing(warehouse_of(request, tmp_path)) as made:
        yield made


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return what makes the scene."""
    made: list[Scene] = []

    def scene(load: Load, *batches: Rows) -> Scene:
        made.append(Scene(tmp_path, load, batches))
        return made[0]

    yield scene
    for each in made:
        each.close()


@pytest.fixture
def table(database: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return a load into the table `t` of the database, by key."""
    if isinstance(database, PostgresWarehouse):
        monkeypatch.setenv("WAREHOUSE", database.url())
        return Load(to="env:WAREHOUSE", table="t", key=("id",))
    assert isinstance(database, SqliteWarehouse | DuckdbWarehouse)
    path = database.path.relative_to(tmp_path)
    return Load(to=f"{database.kind}:///{path}", table="t", key=("id",))


@pytest.fixture(params=["parquet", "jsonl"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FolderWarehouse]:
    """Return a folder that is not there yet, for each kind of file."""
    made = FolderWarehouse(tmp_path / "lake", request.param)
    yield made
    made.close()


@pytest.fixture
def parquet(tmp_path: Path) -> Iterator[FolderWarehouse]:
    """Return a folder that is not there yet, for Parquet."""
    made = FolderWarehouse(tmp_path / "lake", "parquet")
    yield made
    made.close()


@pytest.fixture
def jsonl(tmp_path: Path) -> Iterator[FolderWarehouse]:
    """Return a folder that is not there yet, for JSON Lines."""
    made = FolderWarehouse(tmp_path / "lake", "jsonl")
    yield made
    made.close()
