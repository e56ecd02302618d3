"""Work that is done elsewhere, as written: what is refused, drawn, and counts as a change."""

from dataclasses import replace
from pathlib import Path

import pytest

from statepipe.errors import DefinitionError
from statepipe.machine.definition import Machine, State
from statepipe.machine.digest import canonical, describe_changes, digest
from statepipe.machine.graph import mermaid
from statepipe.machine.loading.loader import load_machine
from statepipe.machine.states.jobs import Job
from tests.unit.building import pipeline, to, written

JOB = 'job = { submit = "m:submit", poll = "m:poll", cancel = "m:stop", every = "10s" }'
TEXT = f"""\
machine = "m"
version = 1
initial = "far"

[states.far]
{JOB}
timeout = "1m"
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
    """With how often and how long, unless it is left to the default."""
    job = Job(submit="m:submit", poll="m:poll", cancel="m:stop", every_ms=10_000)

    machine = loaded(tmp_path)

    assert machine.state("far").task == job
    assert job.timeout_ms == 86_400_000
    assert "a job elsewhere, at most 1d 0h" in mermaid(machine)
    brief = loaded(tmp_path, ', cancel = "m:stop", every = "10s"', ', timeout = "2h"')
    expected = Job(submit="m:submit", poll="m:poll", timeout_ms=7_200_000)
    assert brief.state("far").task == expected


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('submit = "m:submit", ', "", 'states.far: job: key "submit" is missing'),
        ('poll = "m:poll", ', "", 'key "poll" is missing'),
        ('"m:poll"', '"poll"', "poll is 'poll', which does not name a function"),
        ('"m:stop"', "3", "cancel is 3, not text"),
        ('every = "10s"', 'every = "0s"', "every is 0 ms, outside"),
        ('every = "10s"', 'timeout = "400d"', "outside 1 ms..365 days"),
        ('every = "10s"', 'evry = "10s"', 'did you mean "every"?'),
        (JOB, "job = 3", "is 3, not a table"),
        (JOB, f'{JOB}\nrun = "m:f"', "must have exactly one of run, contract, load, wait, job"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    """By its place, and with what to write instead."""
    with pytest.raises(DefinitionError) as refused:
        loaded(tmp_path, old, new)

    assert told in refused.value.message
    assert refused.value.next_step


def test_who_submits_and_polls_counts_as_the_machine(tmp_path: Path) -> None:
    """How often, how long and how it is stopped is policy, and may change under an instance."""
    before = canonical(loaded(tmp_path), contract_digests={})
    same = loaded(tmp_path, ', cancel = "m:stop", every = "10s"', ', timeout = "2h"')
    other = loaded(tmp_path, '"m:poll"', '"m:ask"')

    assert digest(canonical(same, contract_digests={})) == digest(before)
    assert describe_changes(before, canonical(other, contract_digests={})) == [
        "the function that polls of \"far\" was 'm:poll' and is 'm:ask'"
    ]


def test_a_function_is_as_good_as_its_name() -> None:
    """In a machine that Python builds; its name is what the digest contains."""
    job = Job(submit=to, poll=pipeline)
    machine = Machine(
        name="m",
        initial="far",
        states=(
            State(name="far", task=job, on=(to("done"),)),
            State(name="done", final="success"),
        ),
    )
    named = replace(job, submit="tests.unit.building:to", poll="tests.unit.building:pipeline")
    other = replace(
        machine, states=(State(name="far", task=named, on=(to("done"),)), *machine.states[1:])
    )

    forms = [canonical(each, contract_digests={}) for each in (machine, other)]
    assert digest(forms[0]) == digest(forms[1])
