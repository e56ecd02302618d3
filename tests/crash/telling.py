"""
The process that dies while people are to be told, as `python -m tests.crash.telling FOLDER`.

    run         create an instance that fails, and drive it
    send        as `statepipe notify send`

    --die       send ourselves SIGKILL right after the commit that fails the instance

What another process must wait for before it may send what we were about to is short.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from unittest.mock import patch

from statepipe.cli import main as command_line
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Change, Status, Task
from statepipe.runtime.driving.drive import Drive
from statepipe.runtime.notices import post, sender

#: Instead of seconds, beside the timeout of the target.
MARGIN_MS: Final = 100


def fail(task: Task) -> None:
    """Fail."""
    raise ValueError(task.instance)


def machine() -> Machine:
    """Return a machine whose instances fail."""
    first = State(
        name="working",
        task=Run(function=fail),
        on=(Transition(event="ok", target="done"),),
        settings={"executor": "inline"},
    )
    return Machine(name="m", initial="working", states=(first, State(name="done", final="success")))


def die(_drive: Drive, change: Change) -> None:
    """Be told of a change, and live no longer if it is the one."""
    if change.status == Status.FAILED:
        os.kill(os.getpid(), signal.SIGKILL)


def main(argv: Sequence[str]) -> int:
    """Do what is asked; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("verb", choices=["run", "send"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--die", action="store_true")
    asked = parser.parse_args(argv)
    patch.object(post, "_LEASE_MARGIN_MS", MARGIN_MS).start()
    os.chdir(asked.folder)
    if asked.verb == "send":
        return command_line(["notify", "send"])
    if asked.die:
        # Only the end of the process would send, and there is none.
        patch.object(sender, "POLL_MS", 3_600_000).start()
    config = load_config(start=asked.folder, environ={})
    with Engine(config, machines=[machine()], observe=die if asked.die else None) as engine:
        for name in asked.names:
            engine.create("m", instance_id=name)
        engine.run(asked.names)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
