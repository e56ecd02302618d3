"""
docs/errors.md, made from the classes of `statepipe.errors`.

    python -m tests.house.errors_page    writes the page; a test compares it
"""

import inspect
from typing import TypeVar

from statepipe import errors
from tests.house.repository import ROOT

Raised = TypeVar("Raised", bound=BaseException)

PAGE = ROOT / "docs" / "errors.md"

_SIGNAL_BASE = 128  # the shell's convention: 128 + number of the signal

#: What the command line exits with, and what that says about the instance.
EXIT_CODES = {
    0: "Success: what was asked for is done.",
    1: "The instance ended failed, data could not be kept or trusted, or something was not sent.",
    2: "Usage: the request cannot be understood; nothing was done.",
    3: "Not found: no such machine, instance or state.",
    4: "The store cannot be used; nothing more was written.",
    5: "The definition is not the one the instance began with; nothing was changed.",
    6: "A check or a drill found a defect.",
    70: "A defect of statepipe: what was committed is safe; report it with the output of --debug.",
    74: "The answer could not be written where it should go, a full disk; what was done is done.",
    75: "Busy: another live process has the store or the instance. Try again later.",
    76: "Fenced: another process has taken the instance over; the late write was refused.",
    124: "Waited too long: `wait --timeout` is over, as with timeout(1); nothing was changed.",
    _SIGNAL_BASE + 2: "Interrupted (SIGINT): stopped in order; `resume` goes on.",
    _SIGNAL_BASE + 15: "Terminated (SIGTERM): stopped in order; `resume` goes on.",
}

_HEAD = """\
# Errors

Every error on the command line says three things: what happened, what it means, what to type next.
A command that was asked for JSON prints only JSON on standard output; errors go to standard error.

This page is made from the classes: `python -m tests.house.errors_page`.

"""

_TASKS = """
## What an attempt fails with

A task raises these, or any other exception; the runtime raises the rest for it.
The policy of the state decides by class name, bases included, whether another attempt follows.

"""


def errors_raised() -> list[type[errors.StatepipeError]]:
    """Return the root and everything below it, a class before its subclasses."""
    return [errors.StatepipeError, *_below(errors.StatepipeError)]


def task_errors() -> list[type[errors.TaskError]]:
    """Return what an attempt may fail with, a class before its subclasses."""
    return [errors.TaskError, *_below(errors.TaskError)]


def render() -> str:
    """Return the whole page."""
    raised = [
        f"| `{kind.__name__}` | `{_parent(kind)}` | {kind.exit_code} | {_first_line(kind)} |"
        for kind in errors_raised()
    ]
    tasks = [f"| `{kind.__name__}` | {_first_line(kind)} |" for kind in task_errors()]
    lines = [
        _HEAD,
        "## Exit codes\n",
        "| code | means |",
        "| --: | --- |",
        *(f"| {code} | {says} |" for code, says in EXIT_CODES.items()),
        "\n## What statepipe raises\n",
        "| class | is a | exit | means |",
        "| --- | --- | --: | --- |",
        *raised,
        _TASKS,
        "| class | means |",
        "| --- | --- |",
        *tasks,
        "\n## What is not a failure\n",
        "| class | means |",
        "| --- | --- |",
        f"| `Reject` | {_first_line(errors.Reject)} |",
    ]
    return "\n".join(lines) + "\n"


def _parent(kind: type) -> str:
    return kind.__bases__[0].__name__


def _below(kind: type[Raised]) -> list[type[Raised]]:
    # Only the house's own: a test may have made subclasses in this process.
    own = [below for below in kind.__subclasses__() if below.__module__ == errors.__name__]
    return [one for below in own for one in (below, *_below(below))]


def _first_line(kind: type) -> str:
    """Return the class's first sentence, on one line, safe inside a table."""
    paragraph = (inspect.getdoc(kind) or "").split("\n\n", maxsplit=1)[0]
    return " ".join(paragraph.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
