"""What every test of the store leaves behind: nothing."""

from collections.abc import Iterator

import pytest

from tests.store import stores


@pytest.fixture(autouse=True)
def _stores_are_closed() -> Iterator[None]:
    """Close the stores a test has opened; other tests count descriptors."""
    yield
    stores.close_all()
