"""Databases for the tests of destinations."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from statepipe.machine.tasks import Load
from tests.io.ends import End, HttpEnd, TableEnd
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


@pytest.fixture(params=["sqlite", "postgres", "http"])
def end(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[End]:
    """Return somewhere empty to load to, of each kind in turn: what all of them promise."""
    made: End
    if request.param == "http":
        receiver = Receiver()
        with serving(receiver) as web, closing(HttpEnd(web, receiver)) as made:
            yield made
        return
    if request.param == "sqlite":
        made = TableEnd(SqliteWarehouse(tmp_path / "w.db"))
    else:
        made = TableEnd(PostgresWarehouse(request.getfixturevalue("cluster")))
    with closing(made):
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    """Return an empty warehouse of each kind in turn: the conformance suite."""
    made: Warehouse
    if request.param == "sqlite":
        made = SqliteWarehouse(tmp_path / "w.db")
    else:
        made = PostgresWarehouse(request.getfixturevalue("cluster"))
    yield made
    made.close()


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
def table(warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return a load into the table `t` of the warehouse, by key."""
    if isinstance(warehouse, PostgresWarehouse):
        monkeypatch.setenv("WAREHOUSE", warehouse.url())
        return Load(to="env:WAREHOUSE", table="t", key=("id",))
    assert isinstance(warehouse, SqliteWarehouse)
    return Load(to=f"sqlite:///{warehouse.path.relative_to(tmp_path)}", table="t", key=("id",))
