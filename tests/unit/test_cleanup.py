"""`on_cancel` in a definition: how it is written, what it counts as, what is refused."""

from pathlib import Path

import pytest

from statepipe.errors import DefinitionError
from statepipe.machine.checks.checker import check
from statepipe.machine.definition import Machine
from statepipe.machine.digest import canonical, describe_changes, digest
from statepipe.machine.loading.loader import load_machine
from statepipe.machine.states.tasks import Run
from statepipe.observe.shape import shape_of
from tests.unit.building import written

MACHINE = 'machine = "m"\nextract = "m:f"\n'


def loaded(folder: Path, more: str = "") -> Machine:
    """Return the machine with `more` at its end."""
    return load_machine(written(folder, MACHINE + more, "m"))


def test_it_is_a_function_or_a_table_with_its_policy(tmp_path: Path) -> None:
    """Its state is `cancelling`, which no transition leads to."""
    short = loaded(tmp_path, 'on_cancel = "m:clean"')
    long = loaded(
        tmp_path, 'on_cancel = { run = "m:clean", timeout = "5m", retry = { max_attempts = 2 } }'
    )

    assert short.on_cancel is not None
    assert (short.on_cancel.name, short.on_cancel.task) == (
        "cancelling",
        Run(function="m:clean"),
    )
    assert [each.name for each in short.acting] == ["extracting", "cancelling"]
    assert "cancelling" not in [each.name for each in short.states]
    assert long.on_cancel is not None
    assert dict(long.on_cancel.settings) == {"timeout": "5m"}
    assert loaded(tmp_path).on_cancel is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("on_cancel = 3", "on_cancel: is 3, not a table"),
        ('on_cancel = "clean"', "on_cancel: run: 'clean' does not name a function"),
        ('on_cancel = { timeout = "5m" }', 'on_cancel: key "run" is missing'),
        ('on_cancel = { run = "m:c", on = { ok = "done" } }', 'on_cancel: unknown key "on"'),
        ('on_cancel = { run = "m:c", parallel = 2 }', 'on_cancel: unknown key "parallel"'),
        ('on_cancle = "m:c"', 'unknown key "on_cancle"; did you mean "on_cancel"?'),
    ],
)
def test_what_means_nothing_for_it_is_refused(tmp_path: Path, more: str, said: str) -> None:
    """By its key."""
    with pytest.raises(DefinitionError) as refused:
        loaded(tmp_path, more)

    assert said in refused.value.message


def test_its_state_is_nobodys(tmp_path: Path) -> None:
    """Without an `on_cancel` an author may call a state so."""
    own = 'machine = "m"\ninitial = "cancelling"\n{}[states]\ncancelling.run = "m:f"\n'
    own += 'cancelling.on.ok = "done"\ndone.final = "success"\n'
    assert load_machine(written(tmp_path, own.format(""), "m")).on_cancel is None

    with pytest.raises(DefinitionError, match='state "cancelling" is where on_cancel runs'):
        load_machine(written(tmp_path, own.format('on_cancel = "m:c"\n'), "m"))


def test_it_counts_and_its_policy_does_not(tmp_path: Path) -> None:
    """A machine without one keeps the digest that it had before there was such a thing."""
    forms = [
        canonical(loaded(tmp_path, more), contract_digests={})
        for more in (
            "",
            'on_cancel = "m:clean"',
            'on_cancel = { run = "m:clean", timeout = "5m" }',
            'on_cancel = "m:other"',
        )
    ]

    assert "on_cancel" not in forms[0]
    assert digest(forms[1]) == digest(forms[2])
    assert len({digest(form) for form in forms}) == 3
    assert describe_changes(forms[1], forms[3]) == ["on_cancel was 'm:clean' and is 'm:other'"]
    assert describe_changes(forms[0], forms[1]) == ["on_cancel was None and is 'm:clean'"]


@pytest.mark.parametrize("kind", ["source", "map", "call"])
def test_it_neither_makes_nor_takes_batches(tmp_path: Path, kind: str) -> None:
    """`check` finds a function that does."""
    found = check(
        loaded(tmp_path, 'on_cancel = "m:clean"'),
        functions=lambda run: kind if run.reference == "m:clean" else "source",
        contracts=lambda _path: None,
        tables=lambda _load: None,
        policies=lambda _machine, _state: None,
        machines=lambda _name: loaded(tmp_path),
    )

    said = [each.message for each in found if each.state == "cancelling"]
    assert said == ([] if kind == "call" else ["on_cancel: m:clean makes or takes batches"])


def test_its_series_are_known_before_anything_was_cancelled(tmp_path: Path) -> None:
    """Moves to and from `cancelling`, the errors there; and a kill, from everywhere."""
    form = canonical(loaded(tmp_path, 'on_cancel = "m:clean"'), contract_digests={})
    shape = shape_of(form)

    assert shape.acting == ("extracting", "cancelling")
    assert {move for move in shape.moves if "cancelling" in move or "cancelled" in move} == {
        ("extracting", "cancel", "cancelling"),
        ("extracting", "kill", "cancelled"),
        *(("cancelling", event, "cancelled") for event in ("ok", "error", "timeout", "kill")),
        ("cancelled", "resume", "extracting"),
    }
    assert ("cancelling", "other") in shape.errors
