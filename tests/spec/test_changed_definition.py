"""
A machine that is edited between a crash and the resume (R11).

Twelve edits, each before, at and after the state the instance failed in: it is refused with
exit code 5 and what changed, and nothing is changed; `latest` goes on where that makes sense.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import DefinitionChanged
from statepipe.testing import violations
from tests.store import stores

MACHINE = """\
machine = "m"
version = 1
initial = "one"
deadline = "6h"

[params]
day = { type = "text", default = "x" }

[states.one]
run = "steps:fine"
executor = "inline"
on.ok = "two"

[states.two]
run = "steps:fails_at_first"
executor = "inline"
on.ok = "three"

[states.three]
run = "steps:fine"
executor = "inline"
on.ok = "four"

[states.four]
contract = "c.json"
executor = "inline"
on.ok = "done"

[states.done]
final = "success"
"""
STEPS = """\
failed = []

def fine(task):
    return task.state

def other(task):
    return task.state

def fails_at_first(task):
    if not failed:
        failed.append(task.attempt)
        raise ValueError("at first")
    return task.state
"""
STATES = ["one", "two", "three"]


def block(name: str, text: str) -> tuple[str, str]:
    """Return the table of a state, and the same with `text` for its function."""
    old = next(part for part in MACHINE.split("\n\n") if part.startswith(f"[states.{name}]"))
    return old, text.format(old=old, name=name)


def renamed(name: str) -> list[tuple[str, str]]:
    """Call a state by another name, wherever it stands."""
    return [(f'"{name}"', f'"{name}x"'), (f"[states.{name}]", f"[states.{name}x]")]


def edits(name: str) -> dict[str, list[tuple[str, str]]]:
    """Return twelve edits of the machine that concern state `name`, or all of it."""
    old, _ = block(name, "")
    function = old.split('"')[1]
    target = old.split('on.ok = "')[1].rstrip('"\n')
    return {
        "another function": [(old, old.replace(function, "steps:other"))],
        "another target": [(old, old.replace(f'"{target}"', '"done"'))],
        "one more event": [(old, f'{old}\non.empty = "done"')],
        "a guard": [
            (
                old,
                old.replace(
                    f'"{target}"', f'[{{ to = "done", when = "attempt > 5" }}, "{target}"]'
                ),
            )
        ],
        "an error target": [(old, f'{old}\non.error = "done"')],
        "a timeout": [(old, f'{old}\ntimeout = "3m"')],
        "a retry": [(old, f"{old}\nretry = {{ max_attempts = 2 }}")],
        "another name": renamed(name),
        "a new version": [("version = 1", "version = 2")],
        "a new parameter": [("[params]", '[params]\nmore = { type = "text", default = "y" }')],
        "another deadline": [('deadline = "6h"', 'deadline = "7h"')],
        "another contract": [],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Leave an instance that failed in the second of three states."""
    machines = tmp_path / "machines"
    machines.mkdir()
    (machines / "m.toml").write_text(MACHINE, encoding="utf-8")
    (machines / "steps.py").write_text(STEPS, encoding="utf-8")
    (machines / "c.json").write_text("{}", encoding="utf-8")
    with engine(tmp_path) as first:
        first.create("m", instance_id="i")
        assert first.run(["i"]) == {"i": "failed"}
    yield tmp_path
    assert violations(tmp_path / "checkpoints" / "statepipe.db") == []


def apply(folder: Path, changes: list[tuple[str, str]]) -> None:
    """Edit the machine."""
    text = MACHINE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "machines" / "m.toml").write_text(text, encoding="utf-8")


def engine(folder: Path) -> Engine:
    """Open an engine on the folder."""
    return Engine(load_config(start=folder, environ={}))


#: How a task is retried and limited is not what the machine is; the digest of the policy
#: that governed it is journaled with each attempt instead.
POLICY = ("a timeout", "a retry", "another deadline")


@pytest.mark.parametrize("name", STATES, ids=["before", "at", "after"])
@pytest.mark.parametrize("edit", [edit for edit in edits("one") if edit not in POLICY])
def test_an_edit_is_refused_and_named_and_changes_nothing(
    folder: Path, edit: str, name: str
) -> None:
    """With `latest` it goes on, unless the state it would go on in is gone."""
    apply(folder, edits(name)[edit])
    if edit == "another contract":
        (folder / "machines" / "c.json").write_text('{"type": "object"}', encoding="utf-8")
    with engine(folder) as later:
        before = stores.row(later._store, "i")

        with pytest.raises(DefinitionChanged, match=r"changed since 'i' began: .") as told:
            later.resume(["i"])
        with pytest.raises(DefinitionChanged):
            later.rewind("i", to="one")

        assert told.value.exit_code == 5
        assert "restore the machine" in told.value.next_step
        assert stores.row(later._store, "i") == before
        if (edit, name) == ("another name", "two"):
            with pytest.raises(DefinitionChanged):
                later.resume(["i"], definition="latest")
            assert stores.row(later._store, "i") == before
        else:
            later.resume(["i"], definition="latest")
            assert stores.row(later._store, "i")["definition"] != before["definition"]


@pytest.mark.parametrize("name", STATES, ids=["before", "at", "after"])
@pytest.mark.parametrize("edit", POLICY)
def test_a_policy_may_be_changed_at_any_time(folder: Path, edit: str, name: str) -> None:
    """The next attempt is governed by it."""
    apply(folder, edits(name)[edit])

    with engine(folder) as later:
        assert later.resume(["i"]) == {"i": "done"}


def test_a_machine_that_was_deleted_is_refused_and_named(folder: Path) -> None:
    """And comes back with its file."""
    path = folder / "machines" / "m.toml"
    path.unlink()
    with engine(folder) as later, pytest.raises(DefinitionChanged, match='no machine "m"'):
        later.resume(["i"])

    path.write_text(MACHINE, encoding="utf-8")
    with engine(folder) as again:
        again.resume(["i"])
        assert stores.row(again._store, "i")["failed_state"] != "two"


def test_a_machine_that_cannot_be_read_any_more_is_refused_and_named(folder: Path) -> None:
    """It is an edit like any other; what is wrong with it is said."""
    path = folder / "machines" / "m.toml"
    path.write_text(MACHINE.replace("machine =", "machin ="), encoding="utf-8")

    with engine(folder) as later, pytest.raises(DefinitionChanged, match="machin") as told:
        later.resume(["i"])

    assert "--definition latest" not in told.value.next_step, "that could not mend it"


def test_words_that_change_nothing_are_no_change(folder: Path) -> None:
    """Comments, the reason why, and the order of the tables are not the definition."""
    parts = MACHINE.split("\n\n")
    text = "\n\n".join(['why = "because"   # a comment\n' + parts[0], *reversed(parts[1:])])
    (folder / "machines" / "m.toml").write_text(text, encoding="utf-8")

    with engine(folder) as later:
        later.resume(["i"])
