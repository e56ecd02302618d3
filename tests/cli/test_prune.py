"""prune: it says what would go, asks, and deletes that and no more."""

from tests.cli.project import Project


def test_prune_says_what_would_go_asks_and_deletes_it(project: Project) -> None:
    """The failed one could still be resumed, so it stays."""
    project.call("run", "numbers", "--id", "one")
    project.break_it()
    project.call("run", "numbers", "--id", "two")

    foreseen = project.call("prune", "--older-than", "0s", "--dry-run", "-o", "json")
    refused = project.call("prune", "--older-than", "0s")
    young = project.call("prune", "--older-than", "1h", "--yes")
    done = project.call("prune", "--older-than", "0s", "--yes")

    assert foreseen.json == [
        {"machine": "numbers", "status": "done", "instances": 1, "rejected": 1, "bytes": 130}
    ]
    assert refused.code == 2
    assert "delete 1 instance and 1 record in quarantine needs a yes" in refused.err
    assert young.code == 0
    assert done.out == "1 instance deleted\n"
    assert [each["id"] for each in project.call("ls", "--all", "-o", "json").json] == ["two"]


def test_an_id_that_was_pruned_can_be_skipped_but_not_used(project: Project) -> None:
    """Destinations keep their ledgers by it."""
    project.call("run", "numbers", "--id", "one")
    project.call("prune", "--older-than", "0s", "--yes")

    again = project.call("run", "numbers", "--id", "one")
    attach = project.call("run", "numbers", "--id", "one", "--if-exists", "attach")
    skip = project.call("run", "numbers", "--id", "one", "--if-exists", "skip")

    assert (again.code, attach.code, skip.code) == (2, 2, 0)
    assert "it was pruned" in again.err


def test_an_age_that_is_none_is_refused(project: Project) -> None:
    """Before anything is read."""
    said = project.call("prune", "--older-than", "long ago")

    assert said.code == 2
    assert "--older-than: 'long ago' is not a duration" in said.err
