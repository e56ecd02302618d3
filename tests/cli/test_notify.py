"""`notify ls`, `send` and `test`; and what `check`, `policy explain` and `run` say of targets."""

import json
import sys
from pathlib import Path

import pytest

from statepipe.observe import redact
from statepipe.sqlite import sqlite3
from tests.cli.project import CONFIG, MACHINE, Project, until
from tests.observe.receiving import receiving, status

TELL = f"""
[notify.oncall]
command = ["{sys.executable}", "-c", "import sys; open('told', 'a').write(sys.stdin.read())"]
on = ["failed", "retries_exhausted"]
"""


ENDS = """
machine = "ends"
initial = "a"
[states.a]
run = "numbers_:extract"
on.ok = "done"
[states.done]
final = "success"
[states.failed]
final = "failure"
notify = "oncall"
"""


@pytest.fixture
def told(project: Project) -> Project:
    """Make a project whose failures are written into the file `told`."""
    Path("statepipe.toml").write_text(CONFIG + TELL, encoding="utf-8")
    return project


def fail(project: Project, name: str = "one") -> None:
    """Let an instance fail."""
    project.break_it()
    assert project.call("run", "numbers", "--id", name).code == 1


def test_a_run_that_fails_tells_before_it_ends(told: Project) -> None:
    """And the outbox says so."""
    fail(told)

    said = json.loads(Path("told").read_text(encoding="ascii"))
    assert said["summary"].startswith("numbers: one failed in transforming on attempt 1: ")
    assert said["next"] == "statepipe inspect one"
    (listed,) = told.call("notify", "ls", "-o", "json").json
    assert listed["body"] == said
    assert (listed["outcome"], listed["tries"], listed["error"]) == ("sent", 1, None)
    assert told.call("notify", "ls").out.splitlines()[1].split()[2:] == [
        "failed",
        "one",
        "oncall",
        "1",
        "sent",
    ]


def test_what_waits_is_listed_with_its_reason_and_sent_when_its_time_has_come(
    project: Project,
) -> None:
    """By hand, or by cron."""
    with receiving(status("503 Later", "Retry-After: 1"), status("204 OK")) as receiver:
        target = f'[notify.oncall]\nwebhook = "{receiver.url}"\non = ["failed"]\n'
        Path("statepipe.toml").write_text(CONFIG + target, encoding="utf-8")
        fail(project)
        assert "it answered 503 Later; next try in " in project.call("notify", "ls").out
        assert project.call("notify", "ls", "--pending", "-o", "json").json[0]["outcome"] is None
        said = project.call("notify", "send", "-o", "json")
        assert (said.code, said.json) == (0, [])
        assert "1 notice waits" in said.err

        project.call("inspect", "one")
        _hurry(project)
        said = project.call("notify", "send")

    assert said.code == 0
    assert said.out.startswith("sent  oncall: numbers: one failed in transforming")
    assert project.call("notify", "ls", "--pending").err == "no notices wait\n"


def test_a_send_that_fails_exits_1_and_says_when_it_is_tried_again(project: Project) -> None:
    """Cron mails what it prints."""
    with receiving(status("500 No")) as receiver:
        target = f'[notify.oncall]\nwebhook = "{receiver.url}"\non = ["failed"]\n'
        Path("statepipe.toml").write_text(CONFIG + target, encoding="utf-8")
        fail(project)
        _hurry(project)
        plain = project.call("notify", "send")
        _hurry(project)
        facts = project.call("notify", "send", "-o", "jsonl").json

    assert plain.code == 1
    assert "(it answered 500 No; next try in " in plain.out
    assert (facts["outcome"], facts["error"], facts["target"]) == (
        "failed",
        "it answered 500 No",
        "oncall",
    )


def test_send_says_who_is_stalled(project: Project) -> None:
    """Where no worker runs, somebody else must look."""
    config = CONFIG + TELL.replace('"failed"', '"stalled"') + 'stalled_after = "1ms"\n'
    Path("statepipe.toml").write_text(config, encoding="utf-8")
    running = project.spawn("run", "numbers", "--id", "one", "-p", "slow=true")
    project.begun()
    running.kill()
    running.communicate()

    assert project.call("notify", "send").code == 0
    said = json.loads(Path("told").read_text(encoding="ascii"))
    assert (said["event"], said["instance"]) == ("stalled", "one")
    assert said["next"] == "statepipe resume one"
    assert project.call("notify", "send").out == ""


def test_a_test_tells_a_target_at_once_and_leaves_nothing_behind(told: Project) -> None:
    """Also before there is a store."""
    said = told.call("notify", "test", "oncall")

    assert said.code == 0
    assert said.out.startswith("oncall was told, in ")
    Path("told").unlink()
    facts = told.call("notify", "test", "oncall", "-o", "json").json
    assert facts["key"] == json.loads(Path("told").read_text(encoding="ascii"))["key"]
    assert json.loads(Path("told").read_text(encoding="ascii"))["event"] == "test"
    assert not Path("statepipe.db").exists()


def test_a_test_that_fails_says_why_and_never_where(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is a secret."""
    target = '[notify.oncall]\nwebhook = "env:STATEPIPE_TEST_HOOK"\n'
    Path("statepipe.toml").write_text(CONFIG + target, encoding="utf-8")
    unset = project.call("notify", "test", "oncall")
    with receiving(status("403 Forbidden")) as receiver:
        address = receiver.url.replace("hook", "hunter2")
        monkeypatch.setenv("STATEPIPE_TEST_HOOK", address)
        refused = project.call("notify", "test", "oncall")
    redact.forget()

    assert (unset.code, refused.code) == (1, 1)
    assert "the environment variable STATEPIPE_TEST_HOOK is unset" in unset.err
    assert "oncall was not reached: it answered 403 Forbidden" in refused.err
    assert "hunter2" not in refused.err


def test_what_is_to_be_hidden_is_hidden_here_as_well(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that fails is quoted, and may have printed its environment."""
    monkeypatch.setenv("CRM_TOKEN", "hunter2hunter2")
    target = '[notify.oncall]\ncommand = ["sh", "-c", "echo it is $CRM_TOKEN; exit 1"]\n'
    hide = '[logging]\nhide = ["env:CRM_TOKEN"]\n'
    Path("statepipe.toml").write_text(CONFIG + target + hide, encoding="utf-8")

    said = project.call("notify", "test", "oncall")
    redact.forget()

    assert "oncall was not reached: sh ended with 1: it is ***" in said.err


def test_an_unknown_target_names_the_nearest(told: Project) -> None:
    """And without any target there is nothing to send."""
    said = told.call("notify", "test", "oncal")
    assert said.code == 3
    assert 'did you mean "oncall"?' in said.err

    Path("statepipe.toml").write_text(CONFIG, encoding="utf-8")
    said = told.call("notify", "send")
    assert said.code == 2
    assert "there is nobody to tell" in said.err


def test_a_notice_for_a_target_that_is_gone_says_so(told: Project) -> None:
    """Another process may know it; after a month it is given up."""
    config = CONFIG + TELL.replace(sys.executable, "no-such-program")
    Path("statepipe.toml").write_text(config, encoding="utf-8")
    fail(told)
    Path("statepipe.toml").write_text(CONFIG, encoding="utf-8")

    assert "no such target here" in told.call("notify", "ls").out


def test_check_proves_that_whoever_is_named_is_there(told: Project) -> None:
    """And that whoever is there is told of something."""
    Path("machines/numbers.toml").write_text('notify = "oncal"\n' + MACHINE, encoding="utf-8")
    Path("statepipe.toml").write_text(
        CONFIG + TELL + '[notify.deaf]\nurl = "env:X"\n', encoding="utf-8"
    )

    said = told.call("check")
    assert said.code == 6
    assert 'notify: there is no target "oncal"; did you mean "oncall"?' in said.out
    assert "warning: notify.deaf is told of nothing" in said.out
    assert told.call("run", "numbers").code == 2
    Path("machines/numbers.toml").write_text('notify = "deaf"\n' + MACHINE, encoding="utf-8")
    said = told.call("check")
    assert (said.code, said.out) == (0, "numbers: ok\n")


def test_a_policy_says_who_is_told_and_where_that_was_said(told: Project) -> None:
    """Of an end, also if it is nobody, and of retries that were of no use."""
    Path("machines/numbers.toml").write_text('notify = "team"\n' + MACHINE, encoding="utf-8")
    Path("statepipe.toml").write_text(
        CONFIG + TELL + '[notify.team]\nurl = "env:X"\n', encoding="utf-8"
    )

    final = told.call("policy", "explain", "numbers.failed", "-o", "json").json
    acting = told.call("policy", "explain", "numbers.loading").out

    assert final == [
        {
            "setting": "notify failed",
            "value": "oncall",
            "from": f"{Path.cwd() / 'statepipe.toml'} [notify.oncall]",
        },
        {"setting": "notify failed", "value": "team", "from": "machine numbers"},
    ]
    assert "notify retries_exhausted  team " in acting
    unheard = {"setting": "notify done", "value": None, "from": "default"}
    assert told.call("policy", "explain", "numbers.done", "-o", "json").json == [unheard]
    assert "notify done  nobody  default" in told.call("policy", "explain", "numbers.done").out
    Path("machines/ends.toml").write_text(ENDS, encoding="utf-8")
    (end,) = told.call("policy", "explain", "ends.failed", "-o", "json").json
    assert (end["value"], end["from"]) == ("oncall", "machine ends, state failed")


def test_a_worker_that_is_stopped_tells_what_is_due(told: Project) -> None:
    """The first SIGTERM is an orderly end."""
    told.call("start", "numbers", "--id", "one")
    told.break_it()
    worker = told.spawn("worker")
    until(Path("told").exists)
    worker.terminate()
    worker.communicate()

    assert json.loads(Path("told").read_text(encoding="ascii"))["instance"] == "one"


def test_a_long_list_is_cut_and_says_so(told: Project) -> None:
    """The newest are what people look for."""
    fail(told)
    fail(told, "two")
    said = told.call("notify", "ls", "--limit", "1")

    assert said.out.splitlines()[1].split()[3] == "two"
    assert "the newest 1 are shown" in said.err
    assert told.call("notify", "ls", "--pending", "-o", "json").json == []


def test_the_doctor_warns_of_what_was_given_up(told: Project) -> None:
    """Nobody else would say that nobody was told."""
    fail(told)
    assert "0 wait, 0 of the last 30 days were given up" in told.call("doctor").out
    _change(told, "UPDATE notice SET outcome = 'given up'")
    said = told.call("doctor")

    assert said.code == 0
    assert "0 wait, 1 of the last 30 days were given up" in said.out
    assert "fix: statepipe notify ls" in said.out


def _hurry(project: Project) -> None:
    """Let the time of all notices have come, as if somebody had waited."""
    _change(project, "UPDATE notice SET next_at_ms = 0")


def _change(project: Project, sql: str) -> None:
    connection = sqlite3.connect(project.root / "statepipe.db")
    connection.execute(sql)
    connection.commit()
    connection.close()
