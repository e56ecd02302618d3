"""inspect and ls: where things stand, why, and what to type; golden texts."""

import re
import shlex
from contextlib import closing

from statepipe.sqlite import sqlite3
from statepipe.store.reading import Reader
from tests.cli.project import Project

GOLDEN = """\
one  numbers v1  failed in transforming
  created     MOMENT (AGE)
  params      count=5 slow=False
  ended       MOMENT, after TOOK
  progress
    extracting    done       3 batches, 5 records, TOOK
    validating    done       3 batches, 4 records, 1 rejected, TOOK
    transforming  failed     1 of 3 batches, 2 records, TOOK
    loading       to do
  cause       ConnectionError: the other side hung up
              with a second line
              attempt 1/1 of transforming, MOMENT
  logs        statepipe logs one --state transforming --attempt 1
  checkpoint  seq 11: batch 0 of transforming, MOMENT (AGE)
  a resume    skips extracting, validating, 1 batch of 3 in transforming
              runs transforming from batch 1, then loading
  quarantine  statepipe quarantine ls one
  next        statepipe resume one
"""


def _neutral(text: str) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "MOMENT", text)
    text = re.sub(r"\((just now|[\d.a-z ]+ ago)\)", "(AGE)", text)
    return re.sub(r"\b\d+(\.\d+)?(ms|s)\b", "TOOK", text)


def test_inspect_ends_with_cause_checkpoint_plan_and_command(project: Project) -> None:
    """The page a person reads at night: what is wrong and what to type."""
    project.break_it("the other side hung up\nwith a second line")
    project.call("run", "numbers", "--id", "one")

    said = project.call("inspect", "one")

    assert said.code == 0
    assert _neutral(said.out) == GOLDEN


def test_inspect_says_the_same_as_json(project: Project) -> None:
    """Programs get the facts and not the sentences."""
    project.break_it()
    project.call("run", "numbers", "--id", "one")

    facts = project.call("inspect", "one", "-o", "json").json

    assert facts["cause"]["error_class"] == "ConnectionError"
    assert (facts["cause"]["attempt"], facts["cause"]["max_attempts"]) == (1, 1)
    assert facts["resume"] == {
        "skips": ["extracting", "validating"],
        "runs": "transforming",
        "from_batch": 1,
        "of_batches": 3,
        "cursor": None,
        "then": ["loading", "done"],
    }
    assert facts["next"] == "statepipe resume one"


def test_a_fresh_instance_has_everything_before_it(project: Project) -> None:
    """Nothing is skipped, and there is no cause."""
    project.call("start", "numbers", "--id", "one")

    facts = project.call("inspect", "one", "-o", "json").json

    assert facts["cause"] is None
    assert facts["resume"]["skips"] == []
    assert facts["resume"]["runs"] == "extracting"
    assert facts["resume"]["then"] == ["validating", "transforming", "loading", "done"]


def test_a_done_instance_leaves_nothing_to_resume(project: Project) -> None:
    """All its states are behind it."""
    project.call("run", "numbers", "--id", "one")

    facts = project.call("inspect", "one", "-o", "json").json

    assert facts["status"] == "done"
    assert facts["resume"]["runs"] is None
    assert [leg["state"] for leg in facts["progress"] if leg["place"] == "behind"] == [
        "extracting",
        "validating",
        "transforming",
        "loading",
    ]


def test_text_of_a_store_cannot_talk_to_the_terminal(project: Project) -> None:
    """An error text with escape sequences is shown, not obeyed."""
    project.break_it("\x1b]0;owned\x07 \x9b2J \u202egnp")
    project.call("run", "numbers", "--id", "one")

    shown = "".join(
        project.call(*argv).out
        for argv in (["inspect", "one"], ["ls"], ["history", "one"], ["inspect", "one", "-ojson"])
    )

    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
    assert r"\x1b]0;owned\x07" in shown


def test_an_unknown_instance_exits_3(project: Project) -> None:
    """In the words of every error: what, meaning, next."""
    project.call("start", "numbers", "--id", "one")

    said = project.call("inspect", "two")

    assert said.code == 3
    assert said.err == (
        "statepipe: there is no instance 'two' in this store\n"
        "  meaning: nothing was changed\n"
        "  next:    statepipe ls   # shows what is there; --store names another store\n"
    )


def test_ls_hides_what_is_done_and_shows_the_newest_first(project: Project) -> None:
    """A list is for what needs somebody."""
    project.call("run", "numbers", "--id", "ended")
    for name in ("one", "two"):
        project.call("start", "numbers", "--id", name)

    assert _ids(project) == ["two", "one"]
    assert _ids(project, "--all") == ["two", "one", "ended"]
    assert _ids(project, "--state", "done") == ["ended"]
    assert _ids(project, "--state", "extracting", "--limit", "1") == ["two"]
    assert _ids(project, "--machine", "numbers") == ["two", "one"]
    assert _ids(project, "--stalled") == []
    assert _ids(project, "--since", "1h") == ["two", "one"]


def test_ls_failed_says_where_and_why(project: Project) -> None:
    """The first line of the error is enough to know what to look at."""
    project.break_it()
    project.call("run", "numbers", "--id", "one")
    project.call("start", "numbers", "--id", "two")

    said = project.call("ls", "--failed")

    head, line = said.out.splitlines()
    assert head.split() == ["ID", "MACHINE", "STATE", "STATUS", "BATCHES", "CHANGED", "WHY"]
    assert line.startswith("one  numbers  failed  failed  1 ")
    assert line.endswith("in transforming; ConnectionError: the other side hung up")


def test_a_store_that_is_missing_exits_4(project: Project) -> None:
    """And is not made by looking at it."""
    said = project.call("ls")

    assert said.code == 4
    assert "there is no checkpoint store at" in said.err
    assert not (project.root / "statepipe.db").exists()


def test_a_reader_holds_no_snapshot_between_two_answers(project: Project) -> None:
    """A page that is open for hours must not keep the WAL from being emptied."""
    project.call("start", "numbers", "--id", "one")

    with Reader(project.root / "statepipe.db") as reader:
        before = reader.instances()
        project.call("start", "numbers", "--id", "two")
        wal = project.root / "statepipe.db-wal"
        after = reader.instances()

        assert not wal.exists() or wal.stat().st_size == 0
    assert (len(before), len(after)) == (1, 2)


def _ids(project: Project, *argv: str) -> list[str]:
    return [each["id"] for each in project.call("ls", *argv, "-o", "json").json]


def test_after_damaged_data_the_next_command_makes_them_anew(project: Project) -> None:
    """A resume would read the same batch and fail as before; what staged it can do so again."""
    project.break_it()
    project.call("run", "numbers", "--id", "one")
    project.mend_it()
    with closing(sqlite3.connect("statepipe.db")) as store, store:
        store.execute("UPDATE batch SET body = zeroblob(bytes) WHERE state = 'validating'")
    resumed = project.call("resume", "one")

    facts = project.call("inspect", "one", "-o", "json").json
    why = project.call("why", "one", "-o", "json").json

    assert (resumed.code, facts["cause"]["error_class"]) == (1, "StagedDataDamaged")
    typed = "statepipe rewind one --to validating --reason 'a staged batch is damaged'"
    assert facts["next"] == why["next"] == typed
    assert project.call("inspect", "one").out.endswith(f"  next        {typed}\n")
    assert project.call(*shlex.split(typed)[1:], "--yes").code == 0
    assert project.call("resume", "one").code == 0


def test_damaged_data_of_a_machine_that_changed_are_made_anew_by_the_new_one(
    project: Project,
) -> None:
    """One command for both, or the rewind would be refused."""
    project.break_it()
    project.call("run", "numbers", "--id", "one")
    project.mend_it()
    with closing(sqlite3.connect("statepipe.db")) as store, store:
        store.execute("UPDATE batch SET body = zeroblob(bytes) WHERE state = 'validating'")
    project.call("resume", "one")
    machine = project.root / "machines" / "numbers.toml"
    text = machine.read_text(encoding="utf-8")
    machine.write_text(text.replace("version = 1", "version = 2"), encoding="utf-8")
    project.call("start", "numbers", "--id", "two")

    typed = project.call("why", "one", "-o", "json").json["next"]

    assert typed.endswith("--reason 'a staged batch is damaged' --definition latest")
    assert project.call(*shlex.split(typed)[1:], "--yes").code == 0
    assert project.call("resume", "one").code == 0


def test_a_reason_for_creating_is_no_name_of_a_batch(project: Project) -> None:
    """Only a batch's note says which it is; that of a person is not what was achieved."""
    project.call("start", "numbers", "--id", "one", "--reason", "the auditors asked")

    said = project.call("inspect", "one").out

    assert re.search(r"checkpoint  seq 1: created in extracting, ", said)


LOOPING = """\
machine = "looping"
initial = "a"

[states.a]
run   = "looping:a"
on.ok = "b"

[states.b]
run      = "looping:b"
on.ok    = "c"
on.again = { to = "a", max_visits = 2 }

[states.c]
run   = "looping:c"
retry = { max_attempts = 1 }
on.ok = "done"

[states.done]
final = "success"
"""

ROUNDS = """\
from pathlib import Path

from statepipe import Outcome

AGAIN = Path(__file__).parent / "again"

def a(task):
    pass

def b(task):
    if AGAIN.exists():
        AGAIN.unlink()
        return Outcome("again")

def c(task):
    raise RuntimeError("not yet")
"""


def test_a_state_that_was_done_before_and_after_a_rewind_is_skipped_once(project: Project) -> None:
    """And the rewind is counted as people count."""
    folder = project.root / "machines"
    (folder / "looping.toml").write_text(LOOPING, encoding="utf-8")
    (folder / "looping.py").write_text(ROUNDS, encoding="utf-8")
    project.call("run", "looping", "--id", "one")
    project.call("rewind", "one", "--to", "b", "--reason", "once more", "--yes")
    (folder / "again").touch()
    project.call("resume", "one")

    said = project.call("inspect", "one").out

    assert "rewound     once\n" in said
    assert "skips a, b\n" in said
