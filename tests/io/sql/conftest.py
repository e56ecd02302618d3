"""The databases that are read from."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.io.conftest import warehouse_of
from tests.io.warehouse import Warehouse


@pytest.fixture(params=["sqlite", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    """Return an empty database of each kind in turn."""
    with closing(warehouse_of(request, tmp_path)) as made:
        yield made
