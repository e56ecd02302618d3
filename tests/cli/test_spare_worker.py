"""Which commands start a worker process before they are imported."""

import click
import pytest

import statepipe.runtime.executors.spare
from statepipe.cli import statepipe as command
from statepipe.cli.shared.session import SPARE, Session


class Spare:
    """Counts those that live."""

    alive = 0
    made = 0

    def __init__(self) -> None:
        Spare.alive += 1
        Spare.made += 1

    def end(self) -> None:
        """Count one less."""
        Spare.alive -= 1


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    Spare.alive = Spare.made = 0
    monkeypatch.setattr(statepipe.runtime.executors.spare, "Spare", Spare)


@pytest.mark.parametrize(
    ("args", "is_alone", "made"),
    [
        (["run", "m", "--no-such-option"], True, 1),
        (["run", "m", "--no-such-option"], False, 0),
        (["run", "--help"], True, 0),
        (["run", "m", "-h"], True, 0),
        (["start", "m", "--no-such-option"], True, 0),
        (["runs"], True, 0),
    ],
)
def test_a_worker_is_started_for_a_command_that_will_need_one(
    args: list[str],
    is_alone: bool,  # noqa: FBT001  (a case)
    made: int,
) -> None:
    """In a process of its own, and not to be told how the command is used; never left behind."""
    session = Session(is_alone=is_alone)

    with (
        pytest.raises((click.UsageError, click.exceptions.Exit)),
        command.make_context("statepipe", args, obj=session) as context,
    ):
        command.invoke(context)

    assert (Spare.made, Spare.alive) == (made, 0)
    assert (SPARE in context.meta) == (made == 1)
