"""top: every machine in a line, what failed with what to type; live on a terminal."""

import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest

from statepipe.cli.shared.render import Table
from statepipe.config import load_config
from statepipe.engine import Engine
from tests.cli.project import Project, until

Seen = Callable[[], bytes]

LINE = re.compile(
    r"MOMENT  0 processes alive, 0 of 0 slots in use; 1 ready, 0 waiting; what ended since MOMENT"
)
MACHINE = re.compile(
    r"numbers  unattended  failed 2, extracting 1  0 +0 +33\.3% +1 +2 +0\.\d+ +0\.\d+ +TOOK +AGE"
)
FAILURE = re.compile(
    r"2 +numbers  transforming  ConnectionError: the other side hung up  AGE  "
    r"statepipe resume --failed --machine numbers --canary 1"
)


def _neutral(text: str) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "MOMENT", text)
    text = re.sub(r"just now|\d+(\.\d+)?m?s ago", "AGE", text)
    return re.sub(r"\b\d+(\.\d+)?(ms|s)\b", "TOOK", text)


def _filled(project: Project) -> None:
    project.call("run", "numbers", "--id", "well")
    project.break_it()
    for name in ("one", "two"):
        project.call("run", "numbers", "--id", name)
    project.call("start", "numbers", "--id", "fresh")


def test_top_shows_machines_and_failures(project: Project) -> None:
    """Without a terminal it looks once: for a report, or a mail."""
    _filled(project)

    said = project.call("top")

    assert (said.code, said.err) == (0, "")
    line, _, heads, machine, _, failure_heads, failure = _neutral(said.out).splitlines()
    assert LINE.fullmatch(line), line
    assert heads.split()[:5] == ["MACHINE", "HEALTH", "STATES", "DRIVEN", "STALLED"]
    assert MACHINE.fullmatch(machine), machine
    assert failure_heads.split() == ["FAILED", "MACHINE", "IN", "ERROR", "LAST", "TYPE"]
    assert FAILURE.fullmatch(failure), failure


def test_top_says_the_same_as_json(project: Project) -> None:
    """Everything, not what a line has room for."""
    _filled(project)

    facts = project.call("top", "-o", "json").json

    (machine,) = facts["machines"]
    assert machine["health"] == "unattended"
    assert machine["states"] == {"done": 1, "failed": 2, "extracting": 1}
    assert machine["finished"]["done"] == 1
    assert machine["finished"]["failed"] == 2
    assert [each["instances"] for each in facts["failures"]] == [2]
    assert (facts["drivers"], facts["slots"]) == (0, 0)


def test_one_failure_is_asked_why(project: Project) -> None:
    """Many get a canary first."""
    project.break_it()
    project.call("run", "numbers", "--id", "one")

    assert project.call("top").out.rstrip().endswith("  statepipe why one")


def test_a_store_without_machines_says_what_to_type(project: Project) -> None:
    """An empty page would leave one wondering."""
    with Engine(load_config(start=project.root, environ={})) as engine:
        assert engine._store.path.exists()

    said = project.call("top")

    assert said.code == 0
    assert "next: statepipe run MACHINE" in said.err


def test_a_narrow_terminal_is_spared_what_matters_least() -> None:
    """One column after the other is left out, until the rest fits or none may be."""
    table = Table(["WHO", "HOW", "WHY"], [["one", "well enough", "no"]], spare=["WHY", "HOW"])

    assert table.fitted(21).heads == ["WHO", "HOW", "WHY"]
    assert table.fitted(20) == Table(["WHO", "HOW"], [["one", "well enough"]])
    assert table.fitted(15).heads == table.fitted(1).heads == ["WHO"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_on_a_terminal_it_goes_on_until_it_is_told_to_stop(
    project: Project, number: int, code: int
) -> None:
    """What happens meanwhile is seen; the screen and the cursor are given back."""
    project.call("start", "numbers", "--id", "one")
    with _terminal(project, "top", "--every", "100ms") as (process, seen):
        until(lambda: b"unattended" in seen())
        project.call("resume", "one")
        until(lambda: b"100.0%" in seen())
        process.send_signal(number)
        assert process.wait(timeout=20) == code
        shown = seen()

    assert shown.count(b"\x1b[?1049h") == shown.count(b"\x1b[?1049l") == 1
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")


def test_once_looks_once_on_a_terminal_too(project: Project) -> None:
    """For those who want to keep what they saw."""
    project.call("start", "numbers", "--id", "one")
    with _terminal(project, "top", "--once") as (process, seen):
        assert process.wait(timeout=20) == 0
        until(lambda: b"numbers" in seen())

        assert b"\x1b[?1049h" not in seen()


def test_a_duration_that_is_none_is_refused(project: Project) -> None:
    """With how to write one."""
    project.call("start", "numbers", "--id", "one")

    said = project.call("top", "--since", "yesterday")

    assert said.code == 2
    assert "next:    --since 2h" in said.err


@contextmanager
def _terminal(project: Project, *argv: str) -> Generator[tuple["subprocess.Popen[bytes]", Seen]]:
    """Run a command at a terminal of 160 columns; give it, and a look at what it has shown."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    os.set_blocking(ours, False)
    process = subprocess.Popen(
        [sys.executable, "-m", "statepipe", *argv],
        cwd=project.root,
        env={**{k: v for k, v in os.environ.items() if "STATEPIPE" not in k}, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = bytearray()

    def seen() -> bytes:
        try:
            while data := os.read(ours, 65_536):
                shown.extend(data)
        except OSError:
            pass  # nothing more now, or the other side has closed it
        return bytes(shown)

    try:
        yield process, seen
    finally:
        process.kill()
        process.wait(timeout=20)
        os.close(ours)
