"""What a state with a contract may be told, and when too many records were rejected."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.errors import DefinitionError
from statepipe.machine.definition import State
from statepipe.machine.loading.loader import load_machine
from statepipe.machine.states.judging import Older, Validate, exceeds
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
        Validate(contract="c.json", max_rejects=limit)  # type: ignore[arg-type]  # the wrong type, or keywords in a dict

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
            'states.cleaning: key "max_rejects" belongs to a state that has a contract',
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


def test_a_version_is_in_the_name_of_its_file(tmp_path: Path) -> None:
    """Older ones lie beside it, and each is led to the contract's own step by step."""
    edit = (
        'contract = "contracts/order.json"',
        (
            'contract = "contracts/order@5.json"\naccepts = [5, 2, 1]\n'
            'upcast = { "2" = "orders:from_v2", "1" = "orders:from_v1" }'
        ),
    )

    task = orders(tmp_path, edit).state("validating").task

    assert isinstance(task, Validate)
    assert task.contracts == (
        "contracts/order@5.json",
        "contracts/order@2.json",
        "contracts/order@1.json",
    )
    assert task.older == (
        Older(2, "contracts/order@2.json", ("orders:from_v2",)),
        Older(1, "contracts/order@1.json", ("orders:from_v1", "orders:from_v2")),
    )


@pytest.mark.parametrize("name", ["c.json", "c@2.json", "c@0.json", "c@x.json", "c@2.JSON"])
def test_a_contract_that_accepts_nothing_else_stands_alone(name: str) -> None:
    """Whatever its file is called."""
    assert Validate(contract=name).contracts == (name,)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"accepts": 2}, "accepts is 2, not a list of versions"),
        ({"accepts": ["2"]}, "accepts is ['2'], not a list of versions"),
        ({"accepts": [True, 2]}, "not a list of versions"),
        ({"accepts": [2, 2]}, "accepts names a version twice"),
        ({"accepts": list(range(200))}, "or more than 100 of them"),
        ({"accepts": [1]}, "accepts is [1], and the contract is version 2"),
        ({"accepts": [1, 2, 3]}, "accepts is [1, 2, 3], and the contract is version 2"),
        ({"accepts": [1, 2]}, "version 1 is accepted, and nothing makes its records newer"),
        ({"accepts": [2], "upcast": {"1": "m:f"}}, "upcast has version 1, which is not an older"),
        (
            {"accepts": [1, 2], "upcast": {"1": "m:f", "2": "m:g"}},
            "upcast has version 2, which is not an older",
        ),
        ({"upcast": {"1": "m:f"}}, "upcast says what to do with older versions"),
        ({"accepts": [1, 2], "upcast": {"one": "m:f"}}, "upcast: 'one' is not a version"),
        ({"accepts": [1, 2], "upcast": {"9" * 5_000: "m:f"}}, "9' is not a version"),
        ({"accepts": [1, 2], "upcast": {"1": "m.f"}}, "upcast: 'm.f' does not name a function"),
        ({"accepts": [1, 2], "upcast": {"1": 1}}, "upcast: 1 does not name a function"),
        ({"accepts": [1, 2], "upcast": "m:f"}, "upcast is 'm:f', not a table"),
        (
            {"contract": "c.json", "accepts": [1, 2]},
            'accepts names versions, and contract "c.json"',
        ),
    ],
)
def test_versions_that_lead_nowhere_are_refused(facts: dict[str, Any], said: str) -> None:
    """When the machine is read, with what to write instead."""
    with pytest.raises(DefinitionError) as refusal:
        Validate(**{"contract": "c@2.json", **facts})

    assert said in refusal.value.message
    assert refusal.value.next_step
