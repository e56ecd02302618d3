"""A command: how it is told, and that nothing it does holds us up or fills our memory."""

import json
import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from statepipe.clock import SystemClock
from statepipe.observe import redact
from statepipe.observe.notices.body import Occasion, body_of
from statepipe.observe.notices.command import QUOTED_CHARS_MAX, run
from statepipe.observe.notices.letter import Letter, Undelivered

OCCASION = Occasion(
    event="failed",
    at_ms=1,
    store="s",
    env=None,
    machine="orders",
    version=1,
    instance="$(touch x); `id` {event}",
    state="loading",
    target_state="failed",
    attempt=3,
    error_class="ValueError",
    error="-n 'quoted'\nsecond line",
)
LETTER = Letter("the-key", body_of(OCCASION, key="the-key"))


def python(program: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a program."""
    return (sys.executable, "-c", textwrap.dedent(program), *arguments)


def failing(argv: tuple[str, ...], folder: Path, *, timeout_ms: int = 20_000) -> str:
    """Run, and return why it failed."""
    with pytest.raises(Undelivered) as failure:
        run(argv, LETTER, cwd=folder, timeout_ms=timeout_ms)
    return str(failure.value)


def test_it_is_told_by_input_environment_and_arguments(tmp_path: Path) -> None:
    """No shell reads any of it, so nothing in it is a command or an option of ours."""
    program = """
        import json, os, sys
        told = {key: value for key, value in os.environ.items() if "STATEPIPE_NOTICE" in key}
        json.dump([sys.argv[1:], told, json.load(sys.stdin)], open("told", "w"))
    """
    argv = python(program, "-s", "{summary}", "[{event}|{machine}|{instance}|{state}]", "{key}{}")

    run(argv, LETTER, cwd=tmp_path, timeout_ms=20_000)

    arguments, environment, said = json.loads((tmp_path / "told").read_text(encoding="utf-8"))
    assert said == json.loads(LETTER.body)
    assert arguments == [
        "-s",
        said["summary"],
        "[failed|orders|$(touch x); `id` {event}|loading]",
        "the-key{}",
    ]
    assert "\n" not in said["summary"]
    assert environment == {
        "STATEPIPE_NOTICE_SUMMARY": said["summary"],
        "STATEPIPE_NOTICE_EVENT": "failed",
        "STATEPIPE_NOTICE_MACHINE": "orders",
        "STATEPIPE_NOTICE_INSTANCE": "$(touch x); `id` {event}",
        "STATEPIPE_NOTICE_STATE": "loading",
        "STATEPIPE_NOTICE_KEY": "the-key",
    }
    assert not (tmp_path / "x").exists()


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    """The end of what it printed, on either stream, and its status."""
    program = "import sys; print('one'); print('two', file=sys.stderr); sys.exit(3)"

    assert failing(python(program), tmp_path).endswith("ended with 3: one\ntwo") or failing(
        python(program), tmp_path
    ).endswith("ended with 3: two\none")
    killed = failing(python("import os; os.kill(os.getpid(), 9)"), tmp_path)
    assert killed.endswith("was ended by signal 9")


def test_a_program_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    """Or may not be started, or whose folder is gone."""
    assert failing(("no-such-program",), tmp_path) == (
        "no-such-program cannot be started: No such file or directory"
    )
    assert "cannot be started" in failing((str(tmp_path),), tmp_path)
    assert "cannot be started" in failing(("true",), tmp_path / "gone")


def test_a_program_that_hangs_is_killed_with_all_it_started(tmp_path: Path) -> None:
    """Its child would otherwise go on for ever."""
    program = """
        import os, signal, subprocess, sys
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        open("child.new", "w").write(str(child.pid))
        os.rename("child.new", "child")
        signal.pause()
    """
    clock = SystemClock()
    began_ms = clock.boot_ms()

    why = failing(python(program), tmp_path, timeout_ms=2_000)

    assert why.endswith("did not end within 2000 ms and was killed")
    assert clock.boot_ms() - began_ms < 10_000
    child = int((tmp_path / "child").read_text(encoding="ascii"))
    _gone(child)


def test_however_much_it_prints_it_is_not_held_up_and_little_is_kept(tmp_path: Path) -> None:
    """A full pipe would stop it; all of it in memory would stop us."""
    program = "import sys; [print('x' * 99) for _ in range(200_000)]; print('the end'); sys.exit(1)"

    why = failing(python(program), tmp_path)

    assert why.endswith("the end")
    assert len(why) < len(sys.executable) + QUOTED_CHARS_MAX + 100


def test_what_it_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    """A mail program may hand its mail over in the background, with our pipe in its hands."""
    program = """
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        open("child", "w").write(str(child.pid))
    """
    clock = SystemClock()
    began_ms = clock.boot_ms()

    run(python(program), LETTER, cwd=tmp_path, timeout_ms=60_000)
    took_ms = clock.boot_ms() - began_ms

    child = int((tmp_path / "child").read_text(encoding="ascii"))
    os.kill(child, signal.SIGKILL)  # it still runs
    assert took_ms < 30_000


def test_a_secret_that_it_prints_is_not_repeated(tmp_path: Path) -> None:
    """Its environment is ours."""
    redact.hide("hunter2hunter2")
    program = "import sys; print('x' * 500, 'hunter2hunter2' * 10, 'token=abcdef'); sys.exit(1)"

    why = failing(python(program), tmp_path)
    redact.forget()

    assert "hunter2" not in why
    assert why.endswith("token=***")


def _gone(pid: int) -> None:
    """Wait until a process is gone; it may be init's to reap."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        stat = Path(f"/proc/{pid}/stat")
        while (
            stat.exists() and stat.read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
        ):
            os.sched_yield()
    except FileNotFoundError:
        pass
    finally:
        os.close(fd)
