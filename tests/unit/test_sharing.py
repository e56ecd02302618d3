"""How instances share workers: what a machine file and statepipe.toml may say, and who wins."""

import datetime as dt
from pathlib import Path

import pytest

from statepipe.config import load_config
from statepipe.errors import DefinitionError
from statepipe.machine.loading.loader import load_machine
from statepipe.runtime.sharing import queues_of, sharing_of
from statepipe.sharing import Concurrency, Sharing

MACHINE = """\
machine = "orders"
initial = "extracting"
{said}

[params]
day  = {{ type = "date", default = "today" }}
note = {{ type = "text", required = false }}

[states.extracting]
run = "orders:extract"
on = {{ ok = "loading" }}

[states.loading]
run = "orders:load"
{queue}
on = {{ ok = "done" }}

[states.done]
final = "success"
"""


def told(
    folder: Path, said: str = "", *, queue: str = "", toml: str = "", env: str | None = None
) -> tuple[Sharing, dict[str, str]]:
    """Return what governs a machine, and the queues of its states."""
    (folder / "statepipe.toml").write_text(toml, encoding="utf-8")
    path = folder / "orders.toml"
    path.write_text(MACHINE.format(said=said, queue=queue), encoding="utf-8")
    config = load_config(start=folder, environ={}, env=env)
    machine = load_machine(path)
    sharing = sharing_of(config, machine)
    return sharing, queues_of(config, machine, None)


def test_without_a_word_all_are_equal(tmp_path: Path) -> None:
    """Priority 0, the queue "default", no bound and no key."""
    sharing, queues = told(tmp_path)

    assert sharing == Sharing(priority=0, queue="default", ready_max=None, concurrency=None)
    assert queues == {"extracting": "default", "loading": "default"}


def test_statepipe_toml_wins_over_the_machine_file_key_by_key(tmp_path: Path) -> None:
    """And what is said of a state over what is said of its machine."""
    said = """
priority = 5
queue = "day"
ready_max = 10
concurrency = { key = "{params.day}", limit = 2, behavior = "skip" }
"""
    toml = """
[machines.orders]
priority = -7
concurrency = { key = "all" }

[env.prod.machines.orders]
queue = "night"

[env.prod.machines.orders.states.loading]
queue = "light"
"""

    one, queues = told(tmp_path, said, queue='queue = "heavy"', toml=toml)
    assert one == Sharing(
        priority=-7, queue="day", ready_max=10, concurrency=Concurrency(key="all")
    )
    assert queues == {"extracting": "day", "loading": "heavy"}
    other, queues = told(tmp_path, said, queue='queue = "heavy"', toml=toml, env="prod")
    assert other.queue == "night"
    assert queues == {"extracting": "night", "loading": "light"}


def test_the_on_cancel_is_of_the_queue_of_its_machine(tmp_path: Path) -> None:
    """Or of another one, by the name of the state in which it runs."""
    said = 'queue = "heavy"\non_cancel = "orders:cleanup"'
    toml = '[machines.orders.states.cancelling]\nqueue = "light"'

    assert told(tmp_path, said)[1]["cancelling"] == "heavy"
    assert told(tmp_path, said, toml=toml)[1]["cancelling"] == "light"


def test_a_key_is_of_one_machine_and_has_parameters_in_it() -> None:
    """Dates and truth as people write them in machine files."""
    concurrency = Concurrency(key="{params.day} {params.full}")

    key = concurrency.key_of("orders", {"day": dt.date(2013, 2, 8), "full": True})

    assert key == "orders:2013-02-08 true"


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("priority = 101", "priority is 101, not a whole number from -100 to 100"),
        ('priority = "high"', "priority is 'high', not a whole number"),
        ("priority = true", "priority is True, not a whole number"),
        ('queue = "Heavy Load"', "queue: 'Heavy Load' is not the name of a queue"),
        ('queue = ""', "queue: '' is not the name of a queue"),
        ("queue = 1", "queue: 1 is not the name of a queue"),
        ("ready_max = 0", "ready_max is 0, not a whole number from 1"),
        ('concurrency = "{params.day}"', "concurrency is '{params.day}', not a table"),
        ("concurrency = { limit = 1 }", "concurrency has no key"),
        ("concurrency = { key = 1 }", "concurrency has no key"),
        ('concurrency = { key = "" }', "concurrency: key is '', not text with parameters"),
        ('concurrency = { key = "{day}" }', "concurrency: key is '{day}', not text with"),
        ('concurrency = { key = "{params.days}" }', 'no parameter "days" that every instance has'),
        ('concurrency = { key = "{params.note}" }', 'no parameter "note" that every instance has'),
        ('concurrency = { key = "k", limit = 0 }', "concurrency: limit is 0, outside 1..100,000"),
        ('concurrency = { key = "k", limit = "1" }', "concurrency: limit is '1', outside"),
        ('concurrency = { key = "k", limits = 1 }', 'unknown key "limits"; did you mean "limit"?'),
        (
            'concurrency = { key = "k", behavior = "quene" }',
            "concurrency: behavior is 'quene'; did you mean \"queue\"?",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_wherever_it_is_said(
    tmp_path: Path, said: str, what: str
) -> None:
    """In the machine file and in statepipe.toml, with the place and what to write instead."""
    with pytest.raises(DefinitionError) as here:
        told(tmp_path, said)
    with pytest.raises(DefinitionError) as there:
        told(tmp_path, toml=f"[machines.orders]\n{said}\n")

    assert what in here.value.message
    assert what in there.value.message
    assert "orders.toml" in here.value.message
    assert "statepipe.toml" in there.value.message
    assert here.value.next_step


@pytest.mark.parametrize("toml", ["", '[machines.orders.states.loading]\nqueue = "Not One"\n'])
def test_the_queue_of_a_state_is_a_name_as_well(tmp_path: Path, toml: str) -> None:
    """In both places."""
    with pytest.raises(DefinitionError, match="'Not One' is not the name of a queue"):
        told(tmp_path, queue="" if toml else 'queue = "Not One"', toml=toml)


def test_a_final_state_is_of_no_queue(tmp_path: Path) -> None:
    """Nothing runs there that somebody could work on."""
    text = MACHINE.format(said="", queue="") + 'queue = "heavy"\n'
    path = tmp_path / "orders.toml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(DefinitionError, match='"done" is final'):
        load_machine(path)
