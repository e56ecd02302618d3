"""Signals, pipes and rivals: real processes, real signals, real exit codes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from statepipe.cli.shared.driving import Signals
from statepipe.testing import ManualClock
from tests.cli.project import Project, until

SLOW = ("run", "numbers", "--id", "one", "-p", "slow:=true")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"]
)
def test_the_first_signal_releases_the_instance(
    project: Project, number: signal.Signals, code: int
) -> None:
    """It is ready for whoever comes next, with everything it had committed."""
    process = project.spawn(*SLOW)
    project.begun()

    process.send_signal(number)
    out, err = process.communicate(timeout=20)

    assert process.returncode == code, err
    assert "next: statepipe resume one" in out.splitlines()[-1]
    facts = project.call("inspect", "one", "-o", "json").json
    assert (facts["status"], facts["batches"], facts["driver"]) == ("ready", 3, None)
    (project.root / "machines" / "go").touch()
    assert project.call("resume", "one").code == 0


def test_the_second_signal_leaves_at_once(project: Project) -> None:
    """Even while the task does not listen; the next command takes over."""
    functions = project.root / "machines" / "numbers_.py"
    text = functions.read_text(encoding="utf-8")
    functions.write_text(text.replace("task.cancelled or ", ""), encoding="utf-8")
    process = project.spawn(*SLOW)
    project.begun()

    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)

    assert process.returncode in (130, 143)
    (project.root / "machines" / "go").touch()
    assert project.call("resume", "one").code == 0


def test_the_same_signal_again_at_once_is_the_same_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    """`timeout` signals the process and then its group: one stop, and nobody leaves by it."""
    left = list[int]()
    monkeypatch.setattr(os, "_exit", left.append)
    clock = ManualClock()
    signals = Signals(clock)
    try:
        signal.raise_signal(signal.SIGTERM)
        clock.advance(499)
        signal.raise_signal(signal.SIGTERM)
        assert (signals.received, left) == (signal.SIGTERM, [])
        clock.advance(1)
        signal.raise_signal(signal.SIGTERM)
        assert left == [143]
    finally:
        signals.restore()


def test_a_killed_run_is_shown_as_stalled_and_resumed_at_once(project: Project) -> None:
    """Nobody waits out a lease after kill -9."""
    process = project.spawn(*SLOW)
    project.begun()

    process.kill()
    process.communicate(timeout=20)

    assert [each["id"] for each in project.call("ls", "--stalled", "-o", "json").json] == ["one"]
    said = project.call("inspect", "one")
    assert f"cause       the process that drove it ({process.pid}) died" in said.out
    assert "runs extracting from batch 3 (cursor 6), then validating" in said.out
    assert project.call("ls", "-o", "json", "--failed").json == []
    (project.root / "machines" / "go").touch()
    assert project.call("resume", "--all", "--yes").code == 0


def test_a_second_resume_is_busy_and_names_the_holder(project: Project) -> None:
    """One wins; the other exits 75 and changes nothing, also if the machine has changed since."""
    process = project.spawn(*SLOW)
    project.begun()

    said = [project.call("resume", "one")]
    machine = project.root / "machines" / "numbers.toml"
    text = machine.read_text(encoding="utf-8")
    machine.write_text(text.replace("version = 1", "version = 2"), encoding="utf-8")
    said.append(project.call("resume", "one"))
    process.kill()
    process.communicate(timeout=20)

    assert [each.code for each in said] == [75, 75]
    assert all(f"is driven by process {process.pid}" in each.err for each in said)


def test_a_running_instance_can_be_cancelled_from_outside(project: Project) -> None:
    """Its driver is asked, honours it, and says so."""
    process = project.spawn(*SLOW)
    project.begun()

    said = project.call("cancel", "one", "--yes")
    out, _ = process.communicate(timeout=20)

    assert said.code == 0
    assert "its driver was asked to cancel it" in said.out
    assert process.returncode == 1
    assert "one cancelled in extracting" in out
    assert project.call("inspect", "one", "-o", "json").json["status"] == "cancelled"


def test_a_reader_that_goes_away_stops_the_lines_and_not_the_run(project: Project) -> None:
    """`statepipe run numbers | head -1` loads everything."""
    reading, writing = os.pipe()
    os.close(reading)

    process = project.spawn("run", "numbers", "--id", "one", stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=20)

    assert process.returncode == 0, err
    assert err == ""
    assert project.call("inspect", "one", "-o", "json").json["status"] == "done"


def test_a_list_into_a_closed_pipe_is_quiet(project: Project) -> None:
    """No traceback for `statepipe ls | head -1`."""
    project.call("start", "numbers")
    reading, writing = os.pipe()
    os.close(reading)

    process = project.spawn("ls", stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=20)

    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize("gone", ["stdout", "stderr"])
def test_a_failed_run_says_so_also_when_a_reader_has_gone(project: Project, gone: str) -> None:
    """Its exit code and its JSON are the answer; of those nothing is lost with progress."""
    project.break_it()
    reading, writing = os.pipe()
    os.close(reading)

    process = project.spawn("run", "numbers", "--id", "one", "-o", "json", **{gone: writing})
    os.close(writing)
    out, err = process.communicate(timeout=20)

    assert process.returncode == 1, err
    if gone == "stderr":
        assert [each["status"] for each in json.loads(out)] == ["failed"]


@pytest.mark.parametrize("many", [1, 300], ids=["at the end", "while it writes"])
def test_a_check_fails_also_if_nobody_reads_what_it_found(project: Project, many: int) -> None:
    """`statepipe check | true` exits 6: whoever asks for the code need not want the text."""
    for n in range(many):
        (project.root / "machines" / f"bad{n}.toml").write_text("machine = ", encoding="utf-8")
    reading, writing = os.pipe()
    os.close(reading)

    process = project.spawn("check", stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=20)

    assert (process.returncode, err) == (6, "")


def test_a_full_disk_takes_the_lines_and_not_the_instances(project: Project) -> None:
    """`statepipe worker >> log` drives all there is when the disk of the log is full."""
    names = ["one", "two", "three"]
    for name in names:
        project.call("start", "numbers", "--id", name)

    with Path("/dev/full").open("w", encoding="utf-8") as full:
        process = project.spawn("worker", "--until-idle", stdout=full)
        _, err = process.communicate(timeout=20)

    assert process.returncode == 0, err
    assert err.count("standard output cannot be written to: No space left on device") == 1
    assert {project.call("inspect", each, "-o", "json").json["status"] for each in names} == {
        "done"
    }


@pytest.mark.parametrize("rows", [1, 100], ids=["at the end", "while it writes"])
def test_an_answer_that_is_lost_is_no_success(project: Project, rows: int) -> None:
    """`statepipe ls -o json > file` on a full disk: who reads an empty file has the exit code."""
    for _ in range(rows):
        project.call("start", "numbers")

    with Path("/dev/full").open("w", encoding="utf-8") as full:
        process = project.spawn("ls", "--limit", "100", "-o", "json", stdout=full)
        _, err = process.communicate(timeout=20)

    assert process.returncode == 74
    assert err.count("standard output cannot be written to: No space left on device") == 1


@pytest.mark.parametrize("argv", ["--help", "--version", "ls --help", "metrics verify --help"])
def test_a_help_that_is_lost_is_no_defect(project: Project, argv: str) -> None:
    """The parser writes these itself."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        process = project.spawn(*argv.split(), stdout=full)
        _, err = process.communicate(timeout=20)

    assert (process.returncode, err.count("\n")) == (74, 3)
    assert err.startswith("statepipe: standard output cannot be written to: No space left")


@pytest.mark.parametrize(
    ("closed", "argv", "code"),
    [
        (">&-", "run numbers --id one", 0),
        ("2>&-", "run numbers --id one -o json", 0),
        ("2>&-", "run nosuch", 3),
        ("<&-", "prune --older-than 1d", 0),
        ("<&- >&- 2>&-", "run numbers", 0),
        ("2>/dev/full", "run nosuch", 3),
    ],
)
def test_a_closed_stream_changes_no_exit_code(
    project: Project, closed: str, argv: str, code: int
) -> None:
    """As cron and service managers start programs; what is said there goes nowhere."""
    project.call("start", "numbers")
    text = f"{sys.executable} -m statepipe {argv} {closed}"

    said = subprocess.run(["/bin/sh", "-c", text], capture_output=True, text=True, check=False)

    assert (said.returncode, said.stderr) == (code, "")


@pytest.mark.parametrize("command", ["history", "logs"])
def test_following_ends_when_its_reader_has_gone(project: Project, command: str) -> None:
    """`statepipe history ID --follow | head -1` does not wait for the end of an instance."""
    functions = project.root / "machines" / "numbers_.py"
    text = functions.read_text(encoding="utf-8")
    said = text.replace('(HERE / "begun")', "print('begun')\n        (HERE / \"begun\")")
    functions.write_text(said, encoding="utf-8")
    driver = project.spawn(*SLOW)
    project.begun()
    driver.send_signal(signal.SIGTERM)
    driver.communicate(timeout=20)
    reading, writing = os.pipe()
    os.close(reading)

    process = project.spawn(command, "one", "--follow", stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=20)

    assert (process.returncode, err) == (0, "")


def test_the_doctor_names_a_stopped_process_that_holds_the_lock(project: Project) -> None:
    """A driver stopped inside a transaction blocks everybody; somebody must say who it is."""
    project.call("start", "numbers")
    program = (
        "import sqlite3; c = sqlite3.connect('statepipe.db', isolation_level=None);"
        " c.execute('BEGIN IMMEDIATE'); print('held', flush=True); input()"
    )
    holder = subprocess.Popen(
        ["python3", "-c", program],
        cwd=project.root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGSTOP)
    until(
        lambda: os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT | os.WNOHANG) is not None
    )

    said = project.call("doctor")
    holder.kill()
    holder.communicate()

    assert said.code == 6
    assert f"process {holder.pid} (python3) holds the write lock, and it is stopped" in said.out
