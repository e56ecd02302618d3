"""On a terminal: colours, progress that goes away, and questions."""

import fcntl
import os
import struct
import subprocess
import sys
import termios

from statepipe.cli.shared.render import first_line
from tests.cli.project import Project


def test_a_run_shows_its_progress_and_takes_it_away(project: Project) -> None:
    """Lines of moves stay; the live table and the hidden cursor do not."""
    shown = _at_a_terminal(project, "run", "numbers", "--id", "one")

    assert "loading -> done" in shown
    assert "\x1b[?25l" in shown
    assert shown.rindex("\x1b[?25h") < shown.index("one done: 4 records loaded, 1 rejected")


def test_colours_can_be_turned_off(project: Project) -> None:
    """--no-color and NO_COLOR; what ended badly is red otherwise."""
    project.break_it()
    project.call("run", "numbers", "--id", "one")

    assert "\x1b[1;31mfailed\x1b[0m" in _at_a_terminal(project, "inspect", "one")
    assert "\x1b[" not in _at_a_terminal(project, "inspect", "one", "--no-color")
    assert "\x1b[31m" not in _at_a_terminal(project, "ls", NO_COLOR="1")


def test_a_question_takes_no_for_an_answer(project: Project) -> None:
    """And does what was asked on a yes."""
    project.call("start", "numbers", "--id", "one")

    refused = _at_a_terminal(project, "cancel", "one", typed="n\n")
    done = _at_a_terminal(project, "cancel", "one", typed="y\n")

    assert "statepipe: not confirmed" in refused
    assert "one cancelled in extracting" in done


def _at_a_terminal(project: Project, *argv: str, typed: str = "", **environ: str) -> str:
    """Run a command at a terminal of 120 columns and return what it showed."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    kept = {k: v for k, v in os.environ.items() if "STATEPIPE" not in k and k != "NO_COLOR"}
    process = subprocess.Popen(
        [sys.executable, "-m", "statepipe", *argv],
        cwd=project.root,
        env={**kept, "TERM": "xterm", **environ},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    shown = b""
    try:
        while data := os.read(ours, 65_536):
            shown += data
    except OSError:
        pass  # how a terminal says that the other side has closed it
    process.wait(timeout=20)
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def test_a_line_that_announces_more_says_that_more_follows() -> None:
    """Of a crash with its last words a table shows the first line; it must not end in a colon."""
    assert first_line("killed by SIGSEGV; its last words:\nFatal") == (
        "killed by SIGSEGV; its last words: …"
    )
    assert first_line("it failed\nfor a reason") == "it failed"
    assert first_line(None) == ""
