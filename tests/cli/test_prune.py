"""prune: it says what would go, asks, and deletes that and no more."""

from unittest.mock import Mock

import pytest

from statepipe.errors import StoreUnusable
from statepipe.store.reading import Reader
from statepipe.store.stage.directory import Stage, stage_directory
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


def test_files_that_cannot_be_removed_keep_no_command_from_its_end(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they did is committed by then: to say that it was not would be wrong."""
    denied = StoreUnusable("the stage fails: Permission denied", next_step="statepipe doctor")
    for name in ("names", "all_names"):
        monkeypatch.setattr(Stage, name, Mock(side_effect=denied))

    ran = project.call("run", "numbers", "--id", "one", "-o", "json", "--log-format", "text")
    with Reader(store := project.root / "statepipe.db") as reader:
        stage_directory(store, store_id=reader.store_id()).mkdir(parents=True)
    worked = project.call("worker", "--until-idle", "--log-format", "text")
    pruned = project.call("prune", "--older-than", "0s", "--yes")

    assert (ran.code, ran.json[0]["status"]) == (0, "done")
    assert "WARNING  staged files of 'one'" in ran.err
    assert worked.code == 0
    assert "WARNING  staged files of instances that are done" in worked.err
    assert (pruned.code, pruned.out) == (0, "1 instance deleted\n")
