"""States that wait, as written: what is refused, proved, drawn, and counts as a change."""

from dataclasses import replace
from pathlib import Path

import pytest

from statepipe.errors import DefinitionError
from statepipe.machine.definition import Machine, State
from statepipe.machine.digest import canonical, describe_changes, digest
from statepipe.machine.graph import dot, mermaid
from statepipe.machine.loading.loader import load_machine
from statepipe.machine.states.tasks import Load
from statepipe.machine.states.waits import Wait
from tests.unit.building import acting, pipeline, to, written
from tests.unit.test_checker import messages

APPROVAL = 'wait = { event = ["approved", "no"], timeout = "2d" }'
TEXT = f"""\
machine = "m"
version = 1
initial = "approval"

[states.approval]
{APPROVAL}
on = {{ approved = "cooling", no = "failed" }}

[states.cooling]
wait = {{ for = "10m" }}
on = {{ ok = "done" }}

[states.done]
final = "success"
"""


def loaded(folder: Path, *edits: str) -> Machine:
    """Return the machine of the file, in which every other text is replaced by the next."""
    text = TEXT
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    return load_machine(written(folder, text, "m"))


def test_a_file_says_what_python_says(tmp_path: Path) -> None:
    """One event or several, or a time."""
    wait = Wait(events=("approved", "no"), ms=2 * 86_400_000)
    expected = Machine(
        name="m",
        initial="approval",
        states=(
            State(name="approval", task=wait, on=(to("cooling", "approved"), to("failed", "no"))),
            State(name="cooling", task=Wait(ms=600_000), on=(to("done"),)),
            State(name="done", final="success"),
        ),
    )

    assert loaded(tmp_path) == expected
    assert messages(expected) == []
    one = loaded(tmp_path, '["approved", "no"]', '"approved"', ', no = "failed"', "")
    assert one.state("approval").task == replace(wait, events=("approved",))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (', timeout = "2d"', "", "states.approval: wait: has no timeout"),
        ('for = "10m"', "", "states.cooling: wait: must have one of event, dataset, until and for"),
        (
            'for = "10m"',
            'for = "10m", event = "x"',
            "must have one of event, dataset, until",
        ),
        ('for = "10m"', 'for = "10m", timeout = "1h"', "for is its own end"),
        ('for = "10m"', 'for = "soon"', "'soon' is not a duration"),
        ('for = "10m"', 'for = "0s"', "for is 0 ms, outside"),
        ('timeout = "2d"', 'timeout = "2y"', "'2y' is not a duration"),
        ('timeout = "2d"', 'timeout = "500d"', "outside 1 ms..365 days"),
        ('timeout = "2d"', 'timout = "2d"', 'unknown key "timout"; did you mean "timeout"?'),
        ('["approved", "no"]', "[]", "neither a name nor a list"),
        ('["approved", "no"]', "3", "neither a name nor a list"),
        ('["approved", "no"]', '["approved", "No"]', "'No' is not a name"),
        ('["approved", "no"]', '["approved", "approved"]', "is there twice"),
        ('["approved", "no"]', '["ok", "no"]', '"ok" cannot be waited for'),
        ('["approved", "no"]', '["cancel", "no"]', '"cancel" cannot be waited for'),
        ('["approved", "no"]', '["approved", "no", "late"]', '"late" has no target'),
        ('["approved", "no"]', '["approved"]', 'on.no of "approval" is never taken'),
        ('on = { ok = "done" }', "", '"ok" has no target'),
        (APPROVAL, f'{APPROVAL}\ntimeout = "1h"', "no attempt is made in it"),
        (APPROVAL, f'{APPROVAL}\nretry = "patient"', "no attempt is made in it"),
        (
            APPROVAL,
            f'{APPROVAL}\nrun = "m:f"',
            "must have exactly one of run, contract, load, wait",
        ),
        (APPROVAL, "wait = 3", "is 3, not a table"),
        ('timeout = "2d"', 'timeout = "2d", key = "{params.day}"', 'there is no parameter "day"'),
        ('timeout = "2d"', 'timeout = "2d", key = "{day}"', "not the key of an event"),
        ('timeout = "2d"', 'timeout = "2d", key = 3', "key is 3, not text"),
        ('for = "10m"', 'for = "10m", key = "x"', "for is its own end"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    """By its place, and with what to write instead."""
    with pytest.raises(DefinitionError) as refused:
        loaded(tmp_path, old, new)

    assert told in refused.value.message
    assert refused.value.next_step


def test_a_wait_is_no_way_out_of_a_proof() -> None:
    """It bounds no cycle, makes no batches, and has to lead to an end."""
    asks = State(name="a", task=Wait(events=("go",), ms=1), on=(to("b", "go"),))
    load = State(name="b", task=Load(to="sqlite:///w.db", table="t"), on=(to("done"),))
    assert [state for _, state, _ in messages(pipeline(asks, load))] == ["b"]

    back = acting("b", to("a"))
    said = [message for _, _, message in messages(pipeline(asks, back))]
    assert any("has no bound" in each for each in said)
    assert any("reaches no final state except by failing" in each for each in said)


def test_how_long_is_policy_and_for_what_is_the_machine(tmp_path: Path) -> None:
    """A longer timeout may come between a crash and a resume; another event may not."""
    form = canonical(loaded(tmp_path), contract_digests={})
    longer = canonical(loaded(tmp_path, '"2d"', '"3d"'), contract_digests={})
    other = canonical(loaded(tmp_path, '"no"', '"never"', "no =", "never ="), contract_digests={})

    assert digest(longer) == digest(form)
    assert "the wait of \"approval\" was ['approved', 'no'] and is ['approved', 'never']" in (
        describe_changes(form, other)
    )
    run = canonical(loaded(tmp_path, 'wait = { for = "10m" }', 'run = "m:f"'), contract_digests={})
    assert describe_changes(form, run) == ["the task of \"cooling\" was wait [] and is run 'm:f'"]


def test_a_picture_says_who_waits_and_for_what(tmp_path: Path) -> None:
    """In both languages."""
    machine = loaded(tmp_path)

    for drawn in (mermaid(machine), dot(machine)):
        assert "approval (waits for approved or no, at most 2d 0h)" in drawn
        assert "cooling (waits 10m 0s)" in drawn
