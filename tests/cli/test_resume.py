"""resume, cancel, pause, rewind: they say what they would do, and do no more."""

from pathlib import Path
from typing import Any

import pytest

from statepipe.cli.shared import driving
from statepipe.errors import Busy
from statepipe.store.walk import resuming
from tests.cli.project import Project


@pytest.fixture
def failed(project: Project) -> Project:
    """Two instances that failed in `transforming`, whose cause is mended."""
    project.break_it()
    for name in ("one", "two"):
        project.call("run", "numbers", "--id", name)
    project.mend_it()
    return project


def test_resume_goes_on_from_the_last_commit(failed: Project) -> None:
    """What was committed before the failure is not done again."""
    said = failed.call("resume", "one", "--reason", "mended", "-o", "json")

    rows = failed.call("history", "one", "-o", "json").json
    batches = [row["note"] for row in rows if row["target"] == "transforming" and row["note"]]
    assert said.code == 0
    assert said.json[0]["status"] == "done"
    assert batches == ["batch 0", "mended", "batch 1", "batch 2"]


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(failed: Project) -> None:
    """The plan is that of `inspect`."""
    before = failed.call("inspect", "one", "-o", "json").json

    said = failed.call("resume", "one", "--dry-run")

    assert said.out == (
        "one\n"
        "  skips extracting, validating, 1 batch of 3 in transforming\n"
        "  runs transforming from batch 1, then loading\n"
    )
    assert failed.call("inspect", "one", "-o", "json").json == before


def test_a_bulk_dry_run_counts_by_state_and_error(failed: Project) -> None:
    """One line a group, however many instances."""
    failed.call("start", "numbers", "--id", "three")

    only_failed = failed.call("resume", "--failed", "--dry-run").out.splitlines()
    everything = failed.call("resume", "--all", "--dry-run", "-o", "json").json

    assert only_failed[1].split() == [
        *("2", "numbers", "failed", "transforming", "ConnectionError"),
    ]
    assert [each["id"] for each in everything] == ["one", "two", "three"]


def test_a_bulk_resume_needs_a_yes(failed: Project) -> None:
    """Without a terminal nobody can be asked, so nothing is done."""
    refused = failed.call("resume", "--failed")
    done = failed.call("resume", "--failed", "--yes")

    assert refused.code == 2
    assert "next:    the same command with --yes" in refused.err
    assert done.code == 0
    assert failed.call("ls", "--failed", "-o", "json").json == []


def test_a_canary_that_fails_keeps_the_rest_as_they_are(failed: Project) -> None:
    """A fix is tried on one before it is tried on a thousand."""
    failed.break_it()

    said = failed.call("resume", "--failed", "--yes", "--canary", "1")

    assert said.code == 1
    assert "the canary did not end well; 1 is left as it is" in said.err
    rows = failed.call("history", "two", "-o", "json").json
    assert "resume" not in [row["kind"] for row in rows]


@pytest.mark.parametrize("portion", [1, 200])
@pytest.mark.parametrize("canary", [(), ("--canary", "1")])
def test_all_that_are_named_are_looked_at_before_the_first_goes_on(
    failed: Project, monkeypatch: pytest.MonkeyPatch, portion: int, canary: tuple[str, ...]
) -> None:
    """Neither a canary nor the first of many is resumed if one of them cannot be."""
    monkeypatch.setattr(driving, "DRIVEN_AT_ONCE_MAX", portion)
    failed.call("run", "numbers", "--id", "fine")
    before = failed.call("history", "one", "-o", "json").json

    said = failed.call("resume", "one", "two", "fine", *canary)

    assert said.code == 2
    assert "'fine' is done" in said.err
    assert "nothing was changed" in said.err
    assert failed.call("history", "one", "-o", "json").json == before


@pytest.mark.parametrize("canary", [(), ("--canary", "1")])
def test_what_others_took_meanwhile_keeps_back_none_of_those_that_are_named(
    failed: Project, monkeypatch: pytest.MonkeyPatch, canary: tuple[str, ...]
) -> None:
    """Once the first is resumed the rest goes on, and the one that is left is said at the end."""
    monkeypatch.setattr(driving, "DRIVEN_AT_ONCE_MAX", 1)
    failed.break_it()
    failed.call("run", "numbers", "--id", "three")
    failed.mend_it()
    claim = resuming.claim_resume

    def claiming(*args: Any, instance_id: str, **kwargs: Any) -> Any:  # noqa: ANN401  (passed on as it is)
        if instance_id == "two":
            raise Busy("two is driven", meaning="nothing was changed", next_step="wait")
        return claim(*args, instance_id=instance_id, **kwargs)

    monkeypatch.setattr(resuming, "claim_resume", claiming)
    said = failed.call("resume", "one", "one", "two", "three", *canary)

    assert said.code == 75
    assert "statepipe: 1 instance left as it is: two is driven\n" in said.err
    listed = failed.call("ls", "--all", "-o", "json").json
    statuses = {each["id"]: each["status"] for each in listed}
    assert statuses == {"one": "done", "two": "failed", "three": "done"}


def test_a_changed_machine_is_refused_and_says_what_changed(failed: Project) -> None:
    """Exit 5, and nothing is changed; `--definition latest` goes on."""
    machine = Path("machines/numbers.toml")
    text = machine.read_text(encoding="utf-8")
    machine.write_text(text.replace("version = 1", "version = 2"), encoding="utf-8")

    told = failed.call("resume", "one", "--dry-run")
    (fact,) = failed.call("resume", "one", "--dry-run", "-o", "json").json
    many = failed.call("resume", "--failed", "--dry-run")
    facts = failed.call("resume", "--failed", "--dry-run", "-o", "json").json
    adopting = failed.call("resume", "--failed", "--dry-run", "--definition", "latest")
    refused = failed.call("resume", "one")
    bulk = failed.call("resume", "--failed", "--yes", "-q")
    latest = failed.call("resume", "one", "--definition", "latest")

    assert "version was 1 and is 2: a resume is refused" in told.out
    assert "next restore the machine, or: statepipe resume one --definition latest" in told.out
    assert "version was 1 and is 2" in fact["changed"]
    assert "2 instances would be left as they are, for example: machine 'numbers'" in many.err
    assert "0 instances would be resumed; nothing was changed" in many.err
    assert [each["changed"] for each in facts] == [
        fact["changed"],
        fact["changed"].replace("one", "two"),
    ]
    assert "2 instances would be resumed" in adopting.err
    assert "left" not in adopting.err
    assert refused.code == 5
    assert "version was 1 and is 2" in refused.err
    assert bulk.code == 5
    assert "statepipe: 2 instances left as they are, for example: " in bulk.err
    assert "next:    restore the machine, or: statepipe resume one --def" in bulk.err
    assert latest.code == 0


def test_a_bulk_resume_takes_what_changed_lately(failed: Project) -> None:
    """What failed long ago had another cause; an age of nothing leaves nothing."""
    lately = failed.call("resume", "--failed", "--since", "1h", "--dry-run", "-o", "json").json
    nothing = failed.call("resume", "--failed", "--since", "0s", "--yes")

    assert [each["id"] for each in lately] == ["one", "two"]
    assert nothing.code == 0
    assert "nothing to resume" in nothing.err


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["one", "--all"],
        ["--all", "--failed"],
        ["one", "-mx"],
        ["one", "--since", "2h"],
        ["--all", "--since", "lately"],
    ],
)
def test_it_must_be_clear_what_is_to_be_resumed(project: Project, argv: list[str]) -> None:
    """Instances, or one of the two sets."""
    assert project.call("resume", *argv).code == 2


def test_a_rewind_of_a_changed_machine_says_how_that_rewind_goes_on(project: Project) -> None:
    """A resume would be refused: the instance is done."""
    project.call("run", "numbers", "--id", "one")
    machine = project.root / "machines" / "numbers.toml"
    text = machine.read_text(encoding="utf-8")
    machine.write_text(text.replace("version = 1", "version = 2"), encoding="utf-8")

    refused = project.call("rewind", "one", "--to", "extracting", "--yes")
    command = refused.err.rpartition("restore the machine, or: statepipe ")[2].split()
    again = project.call(*command, "--yes")

    assert refused.code == 5
    assert command == ["rewind", "one", "--to", "extracting", "--definition", "latest"]
    assert (again.code, again.out.split()[:4]) == (0, ["one", "rewound", "to", "extracting"])


def test_a_rewind_is_held_against_what_loaded_and_not_against_what_would(project: Project) -> None:
    """Rows that were upserted were not appended, though the machine appends by now."""
    project.call("run", "numbers", "--id", "one")
    machine = project.root / "machines" / "numbers.toml"
    text = machine.read_text(encoding="utf-8").replace(', key = ["n"]', "")
    machine.write_text(text, encoding="utf-8")
    rewind = ("rewind", "one", "--to", "extracting", "--yes")

    pinned = project.call(*rewind)
    latest = project.call(*rewind, "--definition", "latest")

    assert (pinned.code, latest.code) == (5, 2)
    assert "changed since 'one' began" in pinned.err
    assert "upserted into 'numbers', and 'loading' of the machine as it is now" in latest.err


def test_a_done_instance_is_not_resumed(project: Project) -> None:
    """Its data is loaded; only a rewind does it again."""
    project.call("run", "numbers", "--id", "one")

    said = project.call("resume", "one")

    assert said.code == 2
    assert "statepipe rewind one --to STATE" in said.err


def test_cancel_asks_and_resume_takes_it_back(project: Project) -> None:
    """Without a terminal it takes --yes; the reason is in the journal."""
    project.call("start", "numbers", "--id", "one")

    unsure = project.call("cancel", "one")
    tried = project.call("cancel", "one", "--dry-run")
    sure = project.call("cancel", "one", "--yes", "--reason", "wrong day")
    again = project.call("cancel", "one", "--yes")

    assert (unsure.code, tried.code, sure.code, again.code) == (2, 0, 0, 2)
    assert tried.out == "would cancel one in extracting; nothing was changed\n"
    assert project.call("history", "one", "-o", "json").json[-1]["note"] == "wrong day"
    assert project.call("resume", "one").code == 0


def test_a_paused_instance_rests_until_it_is_resumed(project: Project) -> None:
    """A worker leaves it alone, and so does a bulk resume."""
    project.call("start", "numbers", "--id", "one")

    project.call("pause", "one")
    project.call("worker", "--until-idle")
    project.call("resume", "--all", "--yes")
    rested = project.call("inspect", "one", "-o", "json").json["status"]

    assert rested == "paused"
    assert project.call("resume", "one").code == 0


def test_rewind_does_everything_after_a_state_again(failed: Project) -> None:
    """In a new generation, from the batches that are still staged."""
    would = failed.call("rewind", "one", "--to", "validating", "--dry-run")
    done = failed.call("rewind", "one", "--to", "validating", "--yes")
    facts = failed.call("inspect", "one", "-o", "json").json

    assert would.out == "would rewind one from transforming to validating; nothing was changed\n"
    assert done.code == 0
    assert (facts["generation"], facts["resume"]["runs"]) == (2, "validating")
    assert facts["resume"]["skips"] == ["extracting"]
    assert failed.call("resume", "one").code == 0
    assert (
        sum(each["records"] for each in failed.call("quarantine", "ls", "one", "-ojson").json) == 1
    )


def test_rewind_to_a_state_it_never_was_in_is_refused_before_anybody_is_asked(
    failed: Project,
) -> None:
    """Exit 3, and the states it was in are named."""
    said = failed.call("rewind", "one", "--to", "loading")

    assert said.code == 3
    assert "it was in: extracting, validating, transforming" in said.err


def test_the_quarantine_shows_each_record_and_its_rule(failed: Project) -> None:
    """Counted by reason, then one by one; nothing is there twice."""
    counted = failed.call("quarantine", "ls", "numbers", "-o", "json").json
    shown = failed.call("quarantine", "show", "one", "-o", "jsonl").json
    people = failed.call("quarantine", "show", "one").out

    assert [(each["records"], each["instances"]) for each in counted] == [(2, 2)]
    assert (shown["record"], shown["batch"], shown["position"]) == ({"n": 3}, 1, 1)
    assert '{"n": 3}' in people
    assert failed.call("quarantine", "ls", "nobody").code == 3


def test_functions_that_were_deleted_are_a_change_and_change_nothing(failed: Project) -> None:
    """A machine is its file and its module; without one of them nothing is begun."""
    module = failed.root / "machines" / "numbers_.py"
    kept = module.read_text(encoding="utf-8")
    before = failed.call("history", "one", "-o", "json").json
    module.unlink()

    with failed.spawn("resume", "one") as resuming:
        said = resuming.communicate(timeout=30)[1]

    assert resuming.returncode == 5
    assert 'there is no module "numbers_"' in said
    assert failed.call("history", "one", "-o", "json").json == before
    module.write_text(kept, encoding="utf-8")
    assert failed.call("resume", "one").code == 0


def test_what_has_had_its_time_is_resumed_once_the_deadline_is_raised(failed: Project) -> None:
    """Until then every text says so, and nothing is changed: no attempt of it would begin."""
    machine = failed.root / "machines" / "numbers.toml"
    text = machine.read_text()
    machine.write_text('deadline = "1ms"\n' + text, encoding="utf-8")
    before = failed.call("history", "one", "-o", "json").json
    said = failed.call("resume", "one")
    assert said.code == 2
    assert "the time of 'one' is over" in said.err
    raises = "raise `deadline` of numbers, which may change at any time; then statepipe resume one"
    assert raises in said.err
    dry, why = failed.call("resume", "one", "--dry-run").out, failed.call("why", "one").out
    for told in (dry, why, failed.call("inspect", "one").out):
        assert raises in told
    assert "a resume is refused" in dry
    assert "a resume is refused" in why
    assert "runs transforming" not in dry + why
    assert "the time of" in failed.call("resume", "one", "--dry-run", "-o", "json").json[0]["late"]
    assert failed.call("history", "one", "-o", "json").json == before

    machine.write_text('deadline = "1d"\n' + text, encoding="utf-8")
    assert failed.call("resume", "one").code == 0


def test_what_is_paused_and_has_had_its_time_stays_paused(project: Project) -> None:
    """Also for whoever drives it later."""
    machine = project.root / "machines" / "numbers.toml"
    project.call("start", "numbers", "--id", "one")
    project.call("pause", "one")
    machine.write_text('deadline = "1ms"\n' + machine.read_text(), encoding="utf-8")
    for dry in ((), ("--dry-run",)):
        said = project.call("unpause", "one", *dry)
        assert (said.code, "the time of 'one' is over" in said.err) == (2, True)

    assert project.call("inspect", "one", "-o", "json").json["status"] == "paused"


@pytest.mark.parametrize(
    ("argv", "leads"),
    [
        (["resume", "n[0]"], "statepipe rewind 'n[0]' --to STATE"),
        (["start", "numbers", "--id", "n[0]"], "statepipe resume 'n[0]'"),
        (["unpause", "n[0]"], "statepipe inspect 'n[0]'"),
        (["rewind", "n[0]", "--to", "loading", "--yes"], "statepipe rewind 'n[0]' --to"),
        (["fork", "n[0]", "--at", "loading", "--reason", "x"], "statepipe fork 'n[0]' --at"),
    ],
)
def test_an_id_that_a_shell_would_read_is_quoted_in_the_next_command(
    project: Project, argv: list[str], leads: str
) -> None:
    """As the elements of a list have them."""
    project.call("run", "numbers", "--id", "n[0]", "-p", "count=2")

    said = project.call(*argv)

    assert said.code == 2
    assert leads in said.err
