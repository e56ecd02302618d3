"""
What every test shares.

No time limit an example, for the machine may be busy with others; a collector of garbage that
looks seldom, at nothing that was there before the first test: a tenth of the time; and the tests
that may take long first, so that no core waits for one of them at the end.
"""

import gc

import pytest
from hypothesis import settings

settings.register_profile("statepipe", deadline=None)
settings.load_profile("statepipe")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what has a bound of its own, the longest first; the rest stays shuffled."""
    items.sort(key=_bound_s, reverse=True)


def pytest_collection_finish() -> None:
    """Leave out of each later search for garbage what collecting the tests has made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _bound_s(item: pytest.Item) -> float:
    bound = item.get_closest_marker("timeout")
    return float(bound.args[0]) if bound else 0
