"""`restart` and `fork`: new instances made of others, driven, and told where they come from."""

import pytest

from tests.cli.project import Project


@pytest.fixture
def failed(project: Project) -> Project:
    """Make an instance that failed in `transforming`, whose cause is mended."""
    project.break_it()
    project.call("run", "numbers", "--id", "one", "-p", "count=6")
    project.mend_it()
    return project


def test_a_restart_has_the_parameters_of_the_other_but_for_those_given(failed: Project) -> None:
    """It is driven at once, and its journal says of whom it is."""
    said = failed.call("restart", "one", "--reason", "mended")
    other = failed.call("restart", "one", "-p", "count=2", "--id", "two", "-o", "json")

    assert said.code == other.code == 0
    assert "one-restart-1 done: 5 records loaded, 1 rejected" in said.out
    assert other.json[0]["loaded"] == 2
    first = failed.call("history", "two", "-o", "json").json[0]
    assert (first["kind"], first["event"], first["note"]) == (
        *("create", "restart"),
        "of one, count 6 -> 2",
    )
    assert "of one: mended" in failed.call("history", "one-restart-1").out


def test_a_fork_goes_on_where_the_other_failed_and_leaves_it_as_it_is(failed: Project) -> None:
    """Nothing before that state is done again; both say that they belong together."""
    before = failed.call("history", "one", "-o", "json").json

    said = failed.call("fork", "one", "--reason", "a trial", "-o", "json")

    assert said.code == 0
    assert (said.json[0]["status"], said.json[0]["loaded"]) == ("done", 5)
    rows = failed.call("history", "one-fork-1", "-o", "json").json
    assert rows[0]["target"] == "transforming"
    assert {row["target"] for row in rows} == {"transforming", "loading", "done"}
    assert failed.call("history", "one", "-o", "json").json == before
    assert (
        "made        by a fork of one, in transforming" in failed.call("inspect", "one-fork-1").out
    )
    assert "forked      as one-fork-1, done" in failed.call("inspect", "one").out
    assert (
        "it was created, in transforming: of one: a trial" in failed.call("why", "one-fork-1").out
    )


def test_what_is_only_made_is_left_to_a_worker(failed: Project) -> None:
    """`--no-run` prints the id, as `start` does."""
    forked = failed.call("fork", "one", "--at", "validating", "--no-run", "--reason", "later")
    started = failed.call("restart", "one", "--no-run", "-o", "json")

    assert forked.out == "one-fork-1\n"
    assert started.json == {"id": "one-restart-1"}
    assert failed.call("inspect", "one-fork-1", "-o", "json").json["status"] == "ready"
    assert failed.call("worker", "--until-idle").code == 0
    assert failed.call("wait", "one-fork-1", "one-restart-1").code == 0


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["fork", "one", "--at", "loading"], 3, "it was in: extracting, validating"),
        (["fork", "one", "--at", "nowhere"], 3, "never was in a state 'nowhere'"),
        (["fork", "one", "--id", "one"], 2, "there is already an instance 'one'"),
        (["fork", "one", "--set", "cuont=1"], 2, 'did you mean "count"'),
        (["restart", "one", "-p", "count=many"], 2, "count"),
        (["restart", "nobody"], 3, "there is no instance 'nobody'"),
    ],
)
def test_what_cannot_be_made_is_refused(
    failed: Project, argv: list[str], code: int, said: str
) -> None:
    """And nothing is."""
    told = failed.call(*argv, "--reason", "x")

    assert told.code == code
    assert said in told.err
    assert len(failed.call("ls", "--all", "-o", "json").json) == 1


@pytest.mark.parametrize("verb", ["restart", "fork"])
@pytest.mark.parametrize(
    ("terms", "code", "told", "other"),
    [
        ("ready_max = 1", 75, "ready_max = 1", "ready"),
        ('concurrency = { key = "k", behavior = "skip" }', 2, "taken by 'two'", "ready"),
        ('concurrency = { key = "k", behavior = "queue" }', 0, "made", "ready"),
        ('concurrency = { key = "k", behavior = "cancel" }', 0, "made", "cancelled"),
    ],
)
def test_a_copy_is_admitted_like_what_is_made_anew(  # noqa: PLR0917  (a case has five)
    failed: Project, verb: str, terms: str, code: int, told: str, other: str
) -> None:
    """By the key of its parameters, and if there is room; a refusal makes nothing."""
    _settings(failed, terms)
    failed.call("start", "numbers", "--id", "two")

    said = failed.call(verb, "one", "--reason", "again", "--id", "made", "--no-run")

    assert (said.code, told in said.out + said.err) == (code, True), said
    assert failed.call("inspect", "two", "-o", "json").json["status"] == other
    assert failed.call("inspect", "made").code == (0 if code == 0 else 3)


@pytest.mark.parametrize("behavior", ["skip", "cancel"])
def test_a_copy_never_ends_the_one_that_it_is_made_of(project: Project, behavior: str) -> None:
    """If that one has the key, nothing is made, and the refusal says to wait for it."""
    _settings(project, f'concurrency = {{ key = "k", behavior = "{behavior}" }}')
    project.call("start", "numbers", "--id", "day one")

    said = project.call("restart", "day one", "--no-run")

    assert (said.code, said.out) == (2, "")
    assert "the key 'k' of 'numbers' is taken by 'day one'" in said.err
    assert "statepipe wait 'day one'" in said.err
    assert [row["status"] for row in project.call("ls", "-o", "json").json] == ["ready"]


def _settings(project: Project, terms: str) -> None:
    with (project.root / "statepipe.toml").open("a", encoding="utf-8") as settings:
        settings.write(f"\n[machines.numbers]\n{terms}\n")
