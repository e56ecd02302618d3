"""A cancel killed at any point of its protocol ends cancelled, and cleans up under one key."""

import pytest

from tests.crash.processes import found, swept

#: Below this the points are blind: the cancel, two attempts and what is between them have more.
POINTS_MIN = 16


@pytest.mark.timeout(180)
@pytest.mark.parametrize("module", ["cancelling", "cancelling_failed"])
def test_a_cancel_killed_anywhere_cleans_up_and_ends(module: str) -> None:
    """Whoever comes runs `on_cancel` again, and the instance can be resumed where it was."""
    reports = swept(module, 0, 3)

    assert len(reports) >= POINTS_MIN // 3
    assert not found(reports), found(reports)


@pytest.mark.soak
@pytest.mark.parametrize("module", ["cancelling", "cancelling_failed"])
def test_a_cancel_killed_at_every_point_cleans_up_and_ends(module: str) -> None:
    """The same without gaps."""
    reports = swept(module, 0, 1)

    assert len(reports) >= POINTS_MIN
    assert not found(reports), found(reports)
