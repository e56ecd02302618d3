"""A store belongs to one environment, and every command of another one is kept out."""

import hashlib
import shutil
import signal

import pytest

from statepipe.cli import COMMANDS
from statepipe.store.file.schema import SCHEMA_VERSION
from statepipe.testing import violations
from tests.cli.project import Project

ENVIRONMENTS = """
[env.prod]
store = "prod.db"

[env.test]
store = "test.db"

[env.fast.policies.default]
max_attempts = 2
"""


#: One call of each command that opens a store.
COMMANDS_OF_A_STORE = (
    ["ls"],
    ["inspect", "one"],
    ["history", "one"],
    ["why", "one"],
    ["logs", "one"],
    ["top"],
    ["resume", "--all", "--yes"],
    ["resume", "--failed", "--dry-run"],
    ["cancel", "one", "--yes"],
    ["kill", "one", "--yes"],
    ["pause", "one"],
    ["rewind", "one", "--to", "extracting", "--yes"],
    ["restart", "one"],
    ["retry", "one", "--task", "a"],
    ["fork", "one", "--reason", "x"],
    ["signal", "one", "go"],
    ["emit", "go", "--key", "k"],
    ["wait", "one"],
    ["run", "numbers"],
    ["start", "numbers"],
    ["worker", "--until-idle"],
    ["workers", "ls"],
    ["unpause", "one"],
    ["callback", "st1.x"],
    ["migrate"],
    ["notify", "ls"],
    ["prune", "--older-than", "1d", "--yes"],
    ["quarantine", "ls"],
    ["quarantine", "replay", "one", "--reason", "x", "--yes"],
    ["staged", "ls"],
    ["stats", "numbers"],
    ["trace", "export", "one"],
    ["triggers", "ls"],
    ["watermark", "show"],
    ["metrics", "verify"],
)


@pytest.fixture
def project(project: Project) -> Project:
    """Add the environments; `fast` has no store of its own."""
    config = project.root / "statepipe.toml"
    config.write_text(config.read_text(encoding="utf-8") + ENVIRONMENTS, encoding="utf-8")
    return project


def test_a_store_is_its_environments_from_the_start(project: Project) -> None:
    """Made by one, it refuses the others and those that name none, and says what to type."""
    assert project.call("--env", "prod", "run", "numbers", "--id", "one").code == 0
    before = hashlib.sha256((project.root / "prod.db").read_bytes()).hexdigest()

    other = project.call("--env", "test", "--store", "prod.db", "ls")
    nobody = project.call("--store", "prod.db", "run", "numbers")

    assert (other.code, nobody.code) == (4, 4)
    assert "prod.db belongs to the environment prod, and not to test" in other.err
    assert "prod.db belongs to the environment prod, and --env names none" in nobody.err
    assert "next:    statepipe --store prod.db --env prod" in nobody.err
    assert hashlib.sha256((project.root / "prod.db").read_bytes()).hexdigest() == before
    assert project.call("--env", "prod", "ls", "--all").code == 0
    assert not (project.root / "statepipe.db").exists()


def test_every_command_is_kept_out(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at the wrong store is the usual accident, so reading is refused as well."""
    project.call("--env", "prod", "run", "numbers", "--id", "one")
    before = hashlib.sha256((project.root / "prod.db").read_bytes()).hexdigest()
    monkeypatch.setenv("STATEPIPE_STORE", "prod.db")

    for argv in COMMANDS_OF_A_STORE:
        said = project.call(*argv)

        assert said.code == 4, (argv, said)
        assert "belongs to the environment prod" in said.err
    assert hashlib.sha256((project.root / "prod.db").read_bytes()).hexdigest() == before


def test_the_list_has_every_command_that_opens_a_store() -> None:
    """A new one is added to it, or here, with a look at what it does with another's store."""
    # These open none, but for `graph` if it is asked to; `doctor` says whose it is.
    others = {"check", "doctor", "expand", "graph", "init", "policy"}
    assert set(COMMANDS) - {argv[0] for argv in COMMANDS_OF_A_STORE} - others == set()


def test_a_store_of_nobody_works_for_whoever_comes_and_becomes_the_first_ones(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stores from before there were stamps go on; looking stamps nothing, writing does."""
    project.call("run", "numbers", "--id", "one")
    shutil.copy(project.root / "statepipe.db", project.root / "prod.db")

    monkeypatch.setenv("STATEPIPE_ENV", "prod")
    assert project.call("ls", "--all").code == 0
    monkeypatch.delenv("STATEPIPE_ENV")
    assert project.call("--store", "prod.db", "ls").code == 0, "nobody has stamped it yet"
    monkeypatch.setenv("STATEPIPE_ENV", "prod")
    assert project.call("start", "numbers").code == 0
    monkeypatch.delenv("STATEPIPE_ENV")
    assert project.call("--store", "prod.db", "ls").code == 4
    assert project.call("ls").code == 0, "the common store is as it was"


def test_what_all_share_by_default_is_stamped_by_none(project: Project) -> None:
    """An environment without a store of its own changes policies, and nothing else."""
    assert project.call("--env", "fast", "run", "numbers", "--id", "one").code == 0
    assert project.call("inspect", "one").code == 0
    assert project.call("--env", "fast", "inspect", "one").code == 0


def test_a_store_can_be_given_to_another_environment(project: Project) -> None:
    """Deliberately, with a yes; not to one that is not declared, nor while somebody works."""
    project.call("--env", "prod", "run", "numbers", "--id", "one")
    stamp = ("--store", "prod.db", "migrate", "--stamp")

    unknown = project.call(*stamp, "pord", "--yes")
    unsure = project.call(*stamp, "test")
    tried = project.call(*stamp, "test", "--dry-run")
    assert (unknown.code, unsure.code, tried.code) == (2, 2, 0)
    assert "did you mean 'prod'" in unknown.err or 'did you mean "prod"' in unknown.err
    assert "prod.db: environment prod -> test; nothing was changed" in tried.out
    assert project.call("--env", "prod", "ls").code == 0

    assert project.call(*stamp, "test", "--yes").code == 0
    assert project.call("--env", "prod", "ls").code == 4
    assert project.call("--env", "test", "--store", "prod.db", "ls").code == 0
    assert project.call("--store", "prod.db", "migrate", "--unstamp", "--yes").code == 0
    assert project.call("--store", "prod.db", "ls").code == 0


def test_what_migrate_did_is_said_as_json_too(project: Project) -> None:
    """On standard output, which scripts read; without `-o json` it is a line for people."""
    project.call("--env", "prod", "run", "numbers", "--id", "one")
    migrate = ("--store", "prod.db", "-o", "json", "migrate")
    stamp = (*migrate, "--stamp", "test")
    store = project.call("--env", "prod", "-o", "json", "migrate").json

    assert store == {"store": str(project.root / "prod.db"), "schema_version": SCHEMA_VERSION}
    tried = project.call(*stamp, "--dry-run").json
    assert tried["would"].endswith("prod.db: environment prod -> test")
    assert project.call(*stamp, "--yes").json == {
        "store": store["store"],
        "environment": "test",
        "environment_before": "prod",
    }
    unstamped = project.call(*migrate, "--unstamp", "--yes").json
    assert (unstamped["environment"], unstamped["environment_before"]) == (None, "test")


def test_a_store_that_is_at_work_keeps_its_environment(project: Project) -> None:
    """A worker that goes on would write into another environment's store."""
    process = project.spawn("--env", "prod", "run", "numbers", "--id", "one", "-p", "slow:=true")
    try:
        project.begun()
        said = project.call("--store", "prod.db", "migrate", "--stamp", "test", "--yes")
        assert said.code == 75
        assert "1 process at work in" in said.err
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert violations(project.root / "prod.db") == []


def test_doctor_says_whose_store_it_is(project: Project) -> None:
    """It alone looks at any store."""
    project.call("--env", "prod", "run", "numbers")

    own = project.call("--env", "prod", "doctor", "-o", "json").json
    others = project.call("--store", "prod.db", "doctor", "-o", "json").json

    checks = [
        next(each for each in found if each["subject"] == "environment") for found in (own, others)
    ]
    assert [(each["severity"], each["found"][:30]) for each in checks] == [
        ("ok", "prod"),
        ("warning", "the store belongs to prod; eve"),
    ]
    assert checks[1]["fix"] == "statepipe --store prod.db --env prod …"


def test_two_first_processes_of_two_environments_cannot_both_have_it(project: Project) -> None:
    """One stamps it, the other is refused, whichever is first; nothing else is in it."""
    processes = [
        project.spawn("--env", env, "--store", "new.db", "start", "numbers", "--id", env)
        for env in ("prod", "test")
    ]
    ended = [process.communicate(timeout=60) for process in processes]
    codes = sorted(process.returncode for process in processes)
    assert codes == [0, 4], ended
    owner = "prod" if processes[0].returncode == 0 else "test"
    listed = project.call("--env", owner, "--store", "new.db", "ls", "-o", "json").json
    assert [each["id"] for each in listed] == [owner]
