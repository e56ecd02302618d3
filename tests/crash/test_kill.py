"""
A run killed at every point of its protocol ends, resumed, as if nobody had killed it (R1, R4, R5).

Each kill is a real SIGKILL of a real process; `points.py` says where, `scene.py` what is checked.
One point alone: `python -m tests.crash.sweep 57`.
"""

from typing import Final

import pytest

from tests.crash.processes import found, swept

#: How many tests share the points; together they take all.
PARTS: Final = 10

#: Below this, somebody made the pipeline too small, or the points blind.
POINTS_MIN: Final = 15


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_run_killed_anywhere_is_resumed_as_if_nobody_had_killed_it(part: int) -> None:
    """
    Warehouse, ledger, quarantine and journal are equal, and one batch at most is done again.

    Nothing that was acknowledged is lost, no row names a file that is missing or torn, and
    files that no row names are gone.
    """
    reports = swept("sweep", part, PARTS)

    assert len(reports) >= POINTS_MIN
    assert not found(reports), found(reports)


@pytest.mark.parametrize(
    ("mutant", "points", "symptom"),
    [
        ("no-ledger", ["after warehouse COMMIT#6"], "tables differs"),
        (
            "early-ack",
            ["before store COMMIT#10", "before store COMMIT#12"],
            "acknowledged and lost",
        ),
        ("row-before-file", ["after store COMMIT#9", "before store COMMIT#10"], "it is missing"),
    ],
)
def test_the_sweep_notices_an_engine_that_breaks_a_rule(
    mutant: str, points: list[str], symptom: str
) -> None:
    """Each mutant breaks one rule of the commit protocol; see `mutants.py`."""
    reports = [report for point in points for report in swept("sweep", point, "--mutant", mutant)]

    assert symptom in found(reports)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("asked", "code"), [("TERM", 143), ("INT", 130)])
def test_a_run_asked_to_stop_anywhere_lets_go_and_can_be_resumed(asked: str, code: int) -> None:
    """
    It is never worse than kill -9 (R20): `interrupted` is in the journal, the lease is free.

    The run and every other resume are the real command line's.
    """
    reports = swept("sweep", {"TERM": 5, "INT": 13}[asked], 18, "--signal", asked)

    assert len(reports) >= 10
    assert not found(reports), found(reports)
    assert {report["code"] for report in reports if report["was"] == "ready"} == {code}
