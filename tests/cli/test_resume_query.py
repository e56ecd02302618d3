"""resume by query, and with other parameters: what is chosen, what is changed, what is left."""

from collections.abc import Sequence

import pytest

from tests.cli.project import Project


@pytest.fixture
def failed(project: Project) -> Project:
    """Two that failed in `transforming`, one in `extracting`, whose causes are mended."""
    project.break_it()
    for name in ("one", "two"):
        project.call("run", "numbers", "--id", name, "-p", "count=6")
    functions = project.root / "machines" / "numbers_.py"
    whole = functions.read_text(encoding="utf-8")
    other = whole.replace("numbers_", "odd_")
    other = other.replace("size, count =", "raise KeyError(task.instance)\n    size, count =")
    (project.root / "machines" / "odd_.py").write_text(other, encoding="utf-8")
    machine = (project.root / "machines" / "numbers.toml").read_text(encoding="utf-8")
    odd = machine.replace('"numbers"', '"odd"', 1).replace("numbers_", "odd_")
    odd = odd.replace("[params]", '[params]\nextra = { type = "text", default = "x" }')
    (project.root / "machines" / "odd.toml").write_text(odd, encoding="utf-8")
    project.call("run", "odd", "--id", "three")
    project.mend_it()
    return project


def would(project: Project, *query: str) -> list[str]:
    """Return the ids that a bulk resume would take."""
    said = project.call("resume", *query, "--dry-run", "-o", "json")
    assert said.code == 0, said.err
    return [each["id"] for each in said.json]


def test_a_query_narrows_by_state_and_error(failed: Project) -> None:
    """By where each would go on, and by the class of its last error."""
    assert would(failed, "--failed") == ["one", "two", "three"]
    assert would(failed, "--failed", "--state", "transforming") == ["one", "two"]
    assert would(failed, "--all", "--error", "KeyError") == ["three"]
    assert would(failed, "--failed", "--error", "KeyError", "--state", "transforming") == []
    assert would(failed, "--failed", "--machine", "numbers", "--since", "1h") == ["one", "two"]


def test_what_is_chosen_is_what_is_resumed(failed: Project) -> None:
    """The others stay as they are."""
    said = failed.call("resume", "--failed", "--error", "ConnectionError", "--yes")

    assert said.code == 0
    listed = failed.call("ls", "--all", "-o", "json").json
    assert {each["id"]: each["status"] for each in listed} == {
        **dict.fromkeys(("one", "two"), "done"),
        "three": "failed",
    }


def test_a_canary_that_does_not_end_well_leaves_the_others(failed: Project) -> None:
    """It says so, and exits as the canary did."""
    failed.break_it("again")

    said = failed.call("resume", "--failed", "-m", "numbers", "--canary", "1", "--yes")

    assert said.code == 1
    assert "the canary did not end well; 1 is left as it is" in said.err
    assert "again" in failed.call("inspect", "one").out
    assert "again" not in failed.call("inspect", "two").out


def test_another_parameter_is_typed_journaled_and_used_from_here_on(failed: Project) -> None:
    """What came of the old value stays: the source has read what it was told to."""
    tried = failed.call("resume", "one", "--set", "count=3", "--dry-run")
    assert "sets count 6 -> 3; what came of the old value stays" in tried.out
    assert failed.call("inspect", "one", "-o", "json").json["params"]["count"] == 6

    said = failed.call(*("resume", "one", "--set", "count=3", "--reason", "too many", "-o", "json"))

    assert (said.code, said.json[0]["loaded"]) == (0, 5)
    assert failed.call("inspect", "one", "-o", "json").json["params"]["count"] == 3
    rows = failed.call("history", "one", "-o", "json").json
    assert [row["note"] for row in rows if row["kind"] == "resume"] == ["count 6 -> 3: too many"]


def test_many_get_another_parameter_at_once(failed: Project) -> None:
    """The preview says it of one of each machine."""
    query = ("resume", "--failed", "-m", "numbers", "--set", "slow:=false", "--set", "count:=7")

    tried = failed.call(*query, "--dry-run")
    done = failed.call(*query, "--reason", "more", "--yes")

    assert "sets, for example of one: count 6 -> 7" in tried.err
    assert done.code == 0
    for name in ("one", "two"):
        assert failed.call("inspect", name, "-o", "json").json["params"]["count"] == 7


REFUSED: Sequence[tuple[list[str], str]] = (
    (
        ["one", "--set", "cuont=3", "--reason", "x"],
        'parameter "cuont"; did you mean "count"?',
    ),
    (["one", "--set", "count=three", "--reason", "x"], 'parameter "count" of machine'),
    (["--failed", "--set", "extra=y", "--reason", "x", "--yes"], 'no parameter "extra"'),
    (["one", "--set", "count=3"], "--set goes with --reason"),
    (["--group", "g", "--set", "count=3", "--reason", "x"], "not with --group"),
    (["one", "--state", "loading"], "go with --all or --failed"),
    (["one", "--error", "KeyError"], "go with --all or --failed"),
)


def test_what_cannot_be_meant_changes_nothing(failed: Project) -> None:
    """A name no machine has, a value of another type, options that do not go together."""
    before = failed.call("ls", "--all", "-o", "json").json

    for argv, said in REFUSED:
        refused = failed.call("resume", *argv)

        assert (refused.code, said in refused.err) == (2, True), (argv, refused)
        assert "was created" not in refused.err

    assert failed.call("ls", "--all", "-o", "json").json == before
    refused = failed.call("resume", "one", "--set", "count=three", "--reason", "x")
    assert "next:    --set count=…   # type int" in refused.err, "the option that resume has"
    for given in ("count:=three", "count"):
        refused = failed.call("resume", "one", "--set", given, "--reason", "x")
        assert "next:    --set day=2013-02-08 for text" in refused.err
        assert "meaning: nothing was changed" in refused.err


def test_a_partition_stays_the_one_it_is(project: Project) -> None:
    """Its parameter says which slice it reads; another slice is another partition."""
    machine = project.root / "machines" / "numbers.toml"
    by_count = '\n[partition]\nby = "int"\nwidth = 10\nparam = "count"\n'
    machine.write_text(machine.read_text() + by_count, encoding="utf-8")
    project.break_it()
    made = project.call("run", "numbers", "--partition", "10")
    project.mend_it()
    assert made.code == 1, made.err

    said = project.call(*("resume", "numbers-10/10", "--set", "count=9", "--reason", "x"))

    assert said.code == 2
    assert '"count" says which partition the instance is: it is 10' in said.err


def test_a_key_that_few_may_have_stays_the_one_it_is(failed: Project) -> None:
    """The dry run says so as well."""
    machine = failed.root / "machines" / "numbers.toml"
    text = 'concurrency = { key = "{params.count}" }\n' + machine.read_text()
    machine.write_text(text, encoding="utf-8")
    for dry in ((), ("--dry-run",)):
        said = failed.call(*("resume", "one", "--set", "count=9", "--reason", "x", *dry))

        assert said.code == 2
        assert '"count" is in the concurrency key of numbers' in said.err
