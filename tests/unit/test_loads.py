"""What a load may say: of a table, of an address to POST to, and of its effect."""

from pathlib import Path

import pytest

from statepipe.errors import DefinitionError
from statepipe.machine.loading.loader import load_machine
from statepipe.machine.states.tasks import Load
from tests.unit.building import ORDERS, written


def test_a_post_needs_no_table_and_takes_credentials_by_reference(tmp_path: Path) -> None:
    """A list of two is user and password; the short form says the same as the long one."""
    text = """
machine = "m"
version = 1
extract = "m:rows"
load = { to = "https://h/x", auth = ["me", "env:WORD"], body = "record", retry = "patient" }
"""
    machine = load_machine(written(tmp_path, text, "m"))

    expected = Load(to="https://h/x", auth=("me", "env:WORD"), body="record", mode="append")
    assert machine.state("loading").task == expected
    assert machine.state("loading").retry == "patient"


def test_what_a_reference_leads_to_is_not_known_yet() -> None:
    """It may be a table or an address; it is held against the rest where it is followed."""
    for load in (
        Load(to="env:SOMEWHERE", table="t"),
        Load(to="env:SOMEWHERE", effect="at_least_once", auth="env:X"),
    ):
        assert load.to == "env:SOMEWHERE"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "sqlite:///shop.db",
            "https://shop.example/orders",
            "states.loading: load: there is a table, 'orders', and an address to POST to has none",
        ),
        ('"orders", key', '"orders", effect = "at_least_once", key', "sqlite is exactly once by"),
        (
            '"orders", key',
            '"orders", effect = "exactly", key',
            "load: effect: there is no 'exactly'; did you mean \"exactly_once\"?",
        ),
        ('"orders", key', '"orders", body = "lines", key', "body is for records that are POSTed"),
        ('"orders", key', '"orders", auth = "env:X", key', "auth is for records that are POSTed"),
        ('"orders", key', '"orders", auth = "s3cret", key', "auth holds something else than"),
        ('"orders", key', '"orders", auth = [1, 2, 3], key', "auth holds something else than"),
        ('"orders", key', '"orders", auth = ["me", "word"], key', "auth holds something else than"),
        ('"orders", key', '"orders", auth = { k = "word" }, key', "auth holds something else than"),
        ("sqlite:///shop.db", "https://h/x?api_key=s3cret", "to has a password in it"),
        (
            "[states.loading]",
            '[states.loading]\neffect = "exactly_once"',
            'states.loading: key "effect" belongs to a state that runs a source',
        ),
        (
            'run = "orders:clean"',
            'run = "orders:clean"\neffect = "sometimes"',
            "states.cleaning: effect: there is no 'sometimes'",
        ),
    ],
)
def test_a_contradiction_is_named_with_its_remedy(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    """Before anything runs, and with no word of a secret."""
    assert old in ORDERS
    path = written(tmp_path, ORDERS.replace(old, new, 1))

    with pytest.raises(DefinitionError) as refusal:
        load_machine(path)

    assert said in refusal.value.message
    assert "s3cret" not in refusal.value.message + refusal.value.next_step
    assert refusal.value.next_step
