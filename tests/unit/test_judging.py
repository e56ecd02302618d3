"""What a state with a contract may be told, and when too many records were rejected."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.errors import DefinitionError
from statepipe.machine.definition import State
from statepipe.machine.judging import Validate, exceeds
from statepipe.machine.loader import load_machine
from tests.unit.building import orders, to, written

SHORT = """\
machine = "m"
extract = "m:extract"
validate = { contract = "c.json", max_rejects = "5%" }
"""


@pytest.mark.parametrize(
    ("rejected", "most", "read", "too_many"),
    [
        (0, 0, 0, False),
        (1, 0, 9, True),
        (3, 3, 3, False),
        (4, 3, 9, True),
        (1, "5%", 20, False),
        (2, "5%", 20, True),
        (1, "5%", 19, True),
        (0, "0%", 0, False),
        (20, "100%", 20, False),
        (3, "30%", 10, False),
    ],
)
def test_more_than_may_be_is_too_many(
    rejected: int, most: int | str, read: int, *, too_many: bool
) -> None:
    """As many as are allowed are allowed; none of none is never too many."""
    assert exceeds(rejected, most, read=read) is too_many


@given(rejected=st.integers(0, 10**6), more=st.integers(0, 10**6), percent=st.integers(0, 100))
def test_a_share_is_compared_exactly(rejected: int, more: int, percent: int) -> None:
    """0.07 * 100 is 7.000000000000001 to a float."""
    read = rejected + more
    share = Fraction(rejected, read or 1)

    assert exceeds(rejected, f"{percent}%", read=read) is (share > Fraction(percent, 100))


def test_an_invalid_that_leads_somewhere_is_raised_by_any_reject(tmp_path: Path) -> None:
    """Who wrote `on.invalid` and no limit wants it raised, and not never."""
    assert orders(tmp_path).state("validating").task == Validate(
        contract="contracts/order.json", max_rejects=0
    )


def test_the_short_form_fails_when_too_much_is_rejected(tmp_path: Path) -> None:
    """It has no `on`; where nothing is said, trouble leads to `failed`."""
    state = load_machine(written(tmp_path, SHORT, "m")).state("validating")

    assert state.task == Validate(contract="c.json", max_rejects="5%")
    assert state.on_event("invalid") == (to("failed", "invalid"),)
    without = load_machine(written(tmp_path, SHORT.replace(', max_rejects = "5%"', ""), "m"))
    assert without.state("validating").on_event("invalid") == ()


@pytest.mark.parametrize("limit", [-1, True, 1.5, "5", "", "101%", ["5%"], "-1%"], ids=repr)
def test_a_limit_that_is_none_is_refused_with_an_example(limit: object) -> None:
    """A number of records from 0, or a share."""
    with pytest.raises(DefinitionError, match="max_rejects") as refusal:
        Validate(contract="c.json", max_rejects=limit)  # type: ignore[arg-type]

    assert (
        refusal.value.next_step == 'max_rejects = "5%", or a number of records: max_rejects = 100'
    )


def test_a_limit_needs_somewhere_to_go() -> None:
    """Found when the machine is built, not when the records are bad."""
    task = Validate(contract="c.json", max_rejects=0)

    with pytest.raises(DefinitionError, match='its event "invalid" has no target') as refusal:
        State(name="v", task=task, on=(to("done"),))

    assert refusal.value.next_step.startswith('on.invalid = "the state for it"')


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'run = "orders:clean"',
            'run = "orders:clean"\nmax_rejects = 3',
            'states.cleaning: key "max_rejects" belongs to a state with a contract',
        ),
        (
            'contract = "contracts/order.json"',
            'contract = "contracts/order.json"\nmax_rejcts = 3',
            'unknown key "max_rejcts"; did you mean "max_rejects"?',
        ),
    ],
)
def test_a_mistake_in_a_file_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    """By its state and its key."""
    with pytest.raises(DefinitionError) as refusal:
        orders(tmp_path, (old, new))

    assert said in refusal.value.message
