"""`[resources.NAME]` of statepipe.toml: what can be used only so much, and how much."""

from pathlib import Path

import pytest

from statepipe.config import load_config
from statepipe.errors import DefinitionError
from statepipe.resources import Resource, held_back, refuse_unknown
from statepipe.units import Rate, format_size, parse_rate, parse_size


def loaded(folder: Path, text: str, *, env: str | None = None) -> dict[str, Resource]:
    """Return the resources that a file says."""
    (folder / "statepipe.toml").write_text(text, encoding="utf-8")
    return dict(load_config(start=folder, environ={}, env=env).resources)


def test_a_resource_has_slots_or_a_rate_or_both(tmp_path: Path) -> None:
    """And an overlay wins key by key."""
    text = """
staged_max = "1.5GB"

[resources.crm-api]
slots = 4
rate = "10/s"

[resources.warehouse]
slots = 1

[env.prod]
staged_max = "2GiB"

[env.prod.resources.crm-api]
rate = "100/min"
burst = 5
"""
    crm = Resource(name="crm-api", slots=4, rate=Rate(10, 1_000))
    warehouse = Resource(name="warehouse", slots=1)

    assert loaded(tmp_path, text) == {"crm-api": crm, "warehouse": warehouse}
    assert load_config(start=tmp_path, environ={}).staged_bytes_max == 1_500_000_000
    prod = Resource(name="crm-api", slots=4, rate=Rate(100, 60_000), burst=5)
    assert loaded(tmp_path, text, env="prod") == {"crm-api": prod, "warehouse": warehouse}
    assert load_config(start=tmp_path, environ={}, env="prod").staged_bytes_max == 2 << 30
    assert str(prod) == "slots = 4, rate = 100/min, burst = 5"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[resources.crm]", "resources.crm has neither slots nor rate"),
        ("[resources.crm]\nburst = 3\nslots = 1", "resources.crm has a burst and no rate"),
        ("[resources.CRM]\nslots = 1", "resources: 'CRM' is not a name"),
        ("[resources.crm]\nslots = 0", "resources.crm: slots is 0, not a whole number from 1"),
        ("[resources.crm]\nslots = true", "slots is True, not a whole number"),
        ("[resources.crm]\nrate = 10", "rate: '10' is not a rate; write \"10/s\""),
        ('[resources.crm]\nrate = "0/s"', "'0/s' is not a rate"),
        ('[resources.crm]\nrate = "10/week"', "'10/week' is not a rate"),
        ("[env.prod.resources.crm]\nslots = -1", "env.prod.resources.crm: slots is -1"),
        ("resources = 3", "resources is 3, not a table"),
        ('staged_max = "2 pounds"', "staged_max: '2 pounds' is not a size"),
        ("staged_max = 0", "staged_max: '0' is not a size"),
        ('staged_max = "0GB"', "staged_max is nothing"),
    ],
)
def test_what_limits_nothing_or_cannot_be_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """By file and key."""
    with pytest.raises(DefinitionError) as refusal:
        loaded(tmp_path, text)

    assert refusal.value.message.startswith(str(tmp_path / "statepipe.toml"))
    assert said in refusal.value.message


def test_a_rate_is_never_faster_than_it_says() -> None:
    """What does not divide is rounded up."""
    assert Resource(name="a", rate=parse_rate("10/s")).pause_us == 100_000
    assert Resource(name="a", rate=parse_rate("7/s")).pause_us == 142_858
    assert Resource(name="a", rate=parse_rate("1/d")).pause_us == 86_400_000_000
    assert Resource(name="a", slots=1).pause_us == 0


@pytest.mark.parametrize("text", ["10/s", "100/min", "1000/h", "5/d"])
def test_a_rate_is_said_as_it_was_written(text: str) -> None:
    """People look for what they wrote."""
    assert str(parse_rate(text)) == text
    assert parse_rate("5/m") == parse_rate("5/min")


def test_a_size_is_read_and_said_in_the_units_of_people() -> None:
    """Decimal ones, unless it is said otherwise."""
    assert [parse_size(each) for each in ("1kB", "1kiB", "3 MB")] == [1_000, 1_024, 3_000_000]
    assert [format_size(each) for each in (1, 999, 1_000, 20_000_000_000)] == [
        "1 bytes",
        "999 bytes",
        "1.0 kB",
        "20.0 GB",
    ]


def test_a_pause_is_about_what_has_a_rate_or_the_only_one_there_is() -> None:
    """A server says nothing of the memory that the task needs as well."""
    api, memory = Resource(name="api", rate=Rate(1, 1)), Resource(name="memory", slots=2)

    assert held_back([api, memory]) == [api]
    assert held_back([memory]) == [memory]
    assert held_back([memory, Resource(name="disk", slots=1)]) == []


def test_a_resource_that_nobody_declared_names_the_nearest() -> None:
    """And what to add."""
    with pytest.raises(DefinitionError, match='no resource "crm"; did you mean "crm-api"') as said:
        refuse_unknown(["crm-api", "crm"], {"crm-api"}, where="machine m, state s")

    assert said.value.next_step == "add [resources.crm] with slots or rate to statepipe.toml"
