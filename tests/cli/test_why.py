"""why: the page a person reads at night; a golden text, the same as JSON, and one state."""

import re

from tests.cli.project import Project

GOLDEN = """\
one  numbers v1  failed in transforming
  why    attempt 1 of transforming failed: ConnectionError: the other side hung up
         with a second line
           MOMENT (AGE)
         the policy allows one attempt (max_attempts = 1)
         1 other instance of numbers failed in transforming with ConnectionError as well
  story  MOMENT  it was created, in extracting
         MOMENT  process PID took it in hand
         MOMENT  after 3 batches ok of extracting led to validating (5 records, TOOK)
         MOMENT  after 3 batches ok of validating led to transforming (4 records, 1 rejected, TOOK)
         MOMENT  after 1 batch attempt 1 of transforming after TOOK failed; error led to failed: \
ConnectionError: the other side hung up
  a resume skips extracting, validating, 1 batch of 3 in transforming
           runs transforming from batch 1, then loading
  policy statepipe policy explain numbers.transforming
  next   statepipe resume one
"""


def _neutral(text: str) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "MOMENT", text)
    text = re.sub(r"\((just now|[\d.a-z ]+ ago)\)", "(AGE)", text)
    text = re.sub(r"process \d+ on \S+", "process PID", text)
    return re.sub(r"\b\d+(\.\d+)?(ms|s)\b", "TOOK", text)


def test_why_tells_cause_story_plan_and_command(project: Project) -> None:
    """What it is, why it was not tried again, how it came there, what to type."""
    project.break_it("the other side hung up\nwith a second line")
    for name in ("one", "two"):
        project.call("run", "numbers", "--id", name)

    said = project.call("why", "one")

    assert said.code == 0
    assert _neutral(said.out) == GOLDEN


def test_why_says_the_same_as_json(project: Project) -> None:
    """Codes stay the same when sentences are put better."""
    project.break_it()
    project.call("run", "numbers", "--id", "one")

    facts = project.call("why", "one", "-o", "json").json

    assert [each["code"] for each in facts["because"]] == ["error", "exhausted"]
    assert facts["because"][0]["facts"] == {
        "state": "transforming",
        "attempt": 1,
        "error_class": "ConnectionError",
        "error": "the other side hung up",
    }
    assert [row["kind"] for row in facts["story"]] == ["create", "claim", "move", "move", "move"]
    assert [row["batches"] for row in facts["story"]] == [0, 0, 3, 3, 1]
    assert (facts["status"], facts["story_left_out"]) == ("failed", 0)
    assert facts["next"] == "statepipe resume one"


def test_why_of_one_state(project: Project) -> None:
    """What a resume skips, what it has not come to, what the machine does not have."""
    project.break_it()
    project.call("run", "numbers", "--id", "one")

    behind = project.call("why", "one", "--state", "validating").out
    ahead = project.call("why", "one", "--state", "loading").out
    nowhere = project.call("why", "one", "--state", "load")

    assert "its work is committed: a resume skips it" in behind
    assert "it has not come there yet: it is in transforming" in ahead
    assert nowhere.code == 3
    assert 'did you mean "loading"?' in nowhere.err


def test_a_changed_machine_is_gone_on_with_by_its_own_command(project: Project) -> None:
    """A plain resume would be refused."""
    project.break_it()
    project.call("run", "numbers", "--id", "one")
    machine = project.root / "machines" / "numbers.toml"
    machine.write_text(machine.read_text(encoding="utf-8").replace("version = 1", "version = 2"))
    project.call("run", "numbers", "--id", "newer")

    said = project.call("why", "one")

    assert said.out.splitlines()[-1] == "  next   statepipe resume one --definition latest"


def test_what_a_store_says_cannot_talk_to_the_terminal(project: Project) -> None:
    """Reasons and error texts are shown, not obeyed."""
    project.break_it("\x1b]0;owned\x07 \x9b2J \u202egnp")
    project.call("run", "numbers", "--id", "one")

    shown = project.call("why", "one").out + project.call("why", "one", "-o", "json").out

    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
    assert r"\x1b]0;owned\x07" in shown


def test_an_unknown_instance_exits_3(project: Project) -> None:
    """As everywhere."""
    project.call("start", "numbers", "--id", "one")

    assert project.call("why", "two").code == 3


def test_a_long_story_is_told_from_its_end(project: Project) -> None:
    """The history has the rest."""
    project.break_it()
    project.call("run", "numbers", "--id", "one")
    for _ in range(8):
        project.call("resume", "one")

    said = project.call("why", "one")

    assert "  story  6 moves before: statepipe history one\n" in said.out
    assert len([line for line in said.out.splitlines() if "attempt 1 of" in line]) == 9
