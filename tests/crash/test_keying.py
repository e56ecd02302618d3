"""Children that share a key with others, killed anywhere: one has it at a time."""

import pytest

from tests.crash.processes import found, swept

#: Below this the points are blind: three parents and what they begin.
POINTS_MIN = 12


@pytest.mark.timeout(180)
def test_a_run_killed_anywhere_leaks_no_key() -> None:
    """Each child is begun, skipped or let wait once, and whoever has the key gives it back."""
    reports = swept("keying", 0, 2)

    assert len(reports) >= POINTS_MIN // 2
    assert not found(reports), found(reports)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_run_killed_at_every_point_leaks_no_key() -> None:
    """The same without gaps."""
    reports = swept("keying", 0, 1)

    assert len(reports) >= POINTS_MIN
    assert not found(reports), found(reports)
