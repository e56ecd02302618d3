"""A fork killed at any point of its protocol is there whole or not at all, and loads once."""

import pytest

from tests.crash.processes import found, swept

#: Below this the points are blind: the files, the fork's own commit and its drive have more.
POINTS_MIN = 40


@pytest.mark.timeout(180)
def test_a_fork_killed_anywhere_loads_each_record_once() -> None:
    """Before its commit there are files at most, and they are swept; after, a worker drives it."""
    reports = swept("forking", 0, 8)

    assert len(reports) >= POINTS_MIN // 8
    assert not found(reports), found(reports)


@pytest.mark.soak
def test_a_fork_killed_at_every_point_loads_each_record_once() -> None:
    """The same without gaps."""
    reports = swept("forking", 0, 1)

    assert len(reports) >= POINTS_MIN
    assert not found(reports), found(reports)
