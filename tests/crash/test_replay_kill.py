"""A replay killed at any point of its protocol lands each record once (R1, R4)."""

import pytest

from tests.crash.processes import found, swept

#: Below this the points are blind: the replay's own commit and its drive have more.
POINTS_MIN = 20


@pytest.mark.timeout(180)
def test_a_replay_killed_anywhere_loads_each_record_once() -> None:
    """Before its commit there is none, and the next try makes it; after, a worker drives it."""
    reports = swept("replaying", 0, 3)

    assert len(reports) >= POINTS_MIN // 3
    assert not found(reports), found(reports)


@pytest.mark.soak
def test_a_replay_killed_at_every_point_loads_each_record_once() -> None:
    """The same without gaps."""
    reports = swept("replaying", 0, 1)

    assert len(reports) >= POINTS_MIN
    assert not found(reports), found(reports)
