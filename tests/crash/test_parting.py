"""A state with several tasks, killed at any point, begins each of them once and loses nothing."""

import pytest

from tests.crash.processes import found, swept

#: Below this the points are blind: eight children, their batches, and the commits of their parent.
POINTS_MIN = 70


@pytest.mark.timeout(180)
def test_a_run_killed_anywhere_begins_each_task_once() -> None:
    """And what they have made is the state's once, in their order."""
    reports = swept("parting", 0, 6)

    assert len(reports) >= POINTS_MIN // 6
    assert not found(reports), found(reports)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_run_killed_at_every_point_begins_each_task_once() -> None:
    """The same without gaps."""
    reports = swept("parting", 0, 1)

    assert len(reports) >= POINTS_MIN
    assert not found(reports), found(reports)
