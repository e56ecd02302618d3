"""Databases for the tests of destinations."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.io.postgres.server import Cluster, running
from tests.io.postgres.warehouse import PostgresWarehouse
from tests.io.sqlite_warehouse import SqliteWarehouse
from tests.io.warehouse import Warehouse


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Run a PostgreSQL server, one for all tests of a process."""
    with running() as cluster:
        yield cluster


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
