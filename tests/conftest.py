"""
What every test shares.

No time limit an example, for the machine may be busy with others; and a collector of garbage
that looks seldom, at nothing that was there before the first test: a tenth of the time.
"""

import gc

from hypothesis import settings

settings.register_profile("statepipe", deadline=None)
settings.load_profile("statepipe")


def pytest_collection_finish() -> None:
    """Leave out of each later search for garbage what collecting the tests has made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
