"""Who is told of what instances of a machine do: worked out once, from both files."""

from typing import Any

import pytest

from statepipe.errors import DefinitionError
from statepipe.machine.alerts import alerts_of, alerts_of_task, named_targets
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.digest import canonical, digest
from statepipe.machine.states.taskgraph import GraphTask
from statepipe.machine.states.tasks import Run
from statepipe.notify import Target


def machine(*, notify: tuple[str, ...] = (), **ends: tuple[str, ...]) -> Machine:
    """Return a machine with one acting state; `ends` says who is told of its final states."""
    first = State(name="a", task=Run(function="m:f"), on=(Transition(event="ok", target="done"),))
    done = State(name="done", final="success", notify=ends.get("done", ()))
    failed = State(name="failed", final="failure", notify=ends.get("failed", ()))
    return Machine(name="m", initial="a", states=(first, done, failed), notify=notify)


def targets(**settings: dict[str, Any]) -> dict[str, Target]:
    """Return targets by name."""
    return {name: Target(name=name, url="env:X", **each) for name, each in settings.items()}


def told(machine: Machine, everybody: dict[str, Target]) -> dict[str, tuple[str, ...]]:
    """Return who is told of what."""
    alerts = alerts_of(machine, everybody, store="s", env=None)
    return {} if alerts is None else {**alerts.ends, "exhausted": alerts.exhausted}


def test_without_a_target_that_hears_there_are_no_alerts() -> None:
    """Then nothing is asked of a move at all."""
    assert alerts_of(machine(), {}, store="s", env=None) is None
    assert alerts_of(machine(), targets(deaf={}), store="s", env=None) is None


def test_a_final_state_tells_whom_it_names_whatever_their_on_says() -> None:
    """The author of the machine knows which end matters."""
    everybody = targets(oncall={}, team={"on": ("done",), "machines": ()})

    assert told(machine(failed=("oncall", "team")), everybody) == {
        "failed": ("oncall", "team"),
        "exhausted": (),
    }


def test_a_machine_tells_whom_it_names_of_what_they_hear() -> None:
    """And each of them once, however many ways lead there."""
    everybody = targets(oncall={}, team={"on": ("done",)})

    assert told(machine(notify=("oncall",), failed=("oncall",)), everybody) == {
        "done": ("team",),
        "failed": ("oncall",),
        "exhausted": ("oncall",),
    }


def test_who_is_told_is_policy_and_no_part_of_the_digest() -> None:
    """A target may be added while instances are failing, and they go on."""
    plain = canonical(machine(), contract_digests={})
    loud = canonical(machine(notify=("oncall",), failed=("team",)), contract_digests={})

    assert digest(plain) == digest(loud)


def test_all_names_are_found_that_must_be_targets() -> None:
    """Of the machine and of its states."""
    assert named_targets(machine(notify=("a",), done=("b",), failed=("c",))) == ["a", "b", "c"]


def test_only_an_end_can_name_targets() -> None:
    """What happens on the way is heard of by `on`."""
    with pytest.raises(DefinitionError, match='state "a" has notify and is not final'):
        State(name="a", task=Run(function="m:f"), notify=("oncall",))


@pytest.mark.parametrize("notify", ["oncall", ("On call",), (3,)])
def test_what_is_no_tuple_of_names_is_refused(notify: Any) -> None:  # noqa: ANN401 anything
    """A single text would be taken for its letters."""
    with pytest.raises(DefinitionError):
        State(name="failed", final="failure", notify=notify)


@pytest.mark.parametrize(
    ("on_error", "failed"), [("halt", ()), ("skip", ("oncall",)), ("continue", ("oncall",))]
)
def test_a_task_tells_of_a_failure_that_its_machine_does_not_fail_by(
    on_error: str, failed: tuple[str, ...]
) -> None:
    """One failure, one notice; and nobody hears that each task is done."""
    everybody = targets(oncall={"machines": ("m",)}, team={"on": ("done",), "machines": ("m",)})
    task = GraphTask(name="t", function="m:f", on_error=on_error)

    alerts = alerts_of_task(task, machine(), everybody, store="s", env=None)

    assert alerts is not None
    assert alerts.ends == ({"failed": failed} if failed else {})
    assert alerts.exhausted == ("oncall",)
    team = {"team": everybody["team"]}
    assert alerts_of_task(task, machine(), team, store="s", env=None) is None
    assert alerts_of_task(task, machine(), {}, store="s", env=None) is None
