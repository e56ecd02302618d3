"""What every test of the store leaves behind: nothing; and how to be nobody."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store import stores


@pytest.fixture(autouse=True)
def _stores_are_closed() -> Iterator[None]:
    """Close the stores a test has opened; other tests count descriptors."""
    yield
    stores.close_all()


@pytest.fixture
def nobody(tmp_path: Path) -> Iterator[Path]:
    """Be somebody whom permissions bind, with a folder to work in; the superuser ignores them."""
    stores.opened(tmp_path).close()  # imports what nobody may not be allowed to read
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        superuser = os.geteuid() == 0
        if superuser:
            os.chown(folder, 65_534, -1)
            os.seteuid(65_534)
        try:
            yield folder
        finally:
            if superuser:
                os.seteuid(0)
            folder.chmod(0o700)
