"""
Tasks that print and log. Imported by worker processes.

Those that talk in turns take `turn`, which the test gives them to keep each other's pace.
"""

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from statepipe.batch import Batch
from statepipe.model import Task
from statepipe.observe import redact
from statepipe.runtime.tasks import asynchronous

#: No record that `PipeHandler` would write.
SCRIBBLED = (
    b'\xff no record\n[1, "loud", "x"]\n[1]\nnull\n[99999999999999999999, "info", "x"]\n'
    b'[1, "info", "\\ud800"]\n[1, {}, "x"]\n'
)

log = logging.getLogger("statepipe.task.talkers.talking")


def talk(name: str) -> None:
    """Use every way there is."""
    print(f"{name} prints")  # noqa: T201  (a task that prints is what is tested)
    print(f"{name} complains", file=sys.stderr)  # noqa: T201  (a task that prints is what is tested)
    sys.stdout.buffer.write(f"{name} in bytes\n".encode())
    sys.stdout.flush()
    sys.stdout.writelines([f"{name} writes ", "lines\n"])
    log.debug("%s thinks", name)
    log.info("%s tells", name)
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logging.getLogger("somebody.else").exception("%s fails", name)
    logging.getLogger("somebody.else").debug("not even this")
    sys.stdout.write(f"{name} without an end")


def log_what_cannot_be_formatted() -> None:
    """Log what Python's own handlers complain about."""
    log.info("%d", "is no number")


def take_turns(name: str, turn: Callable[[], object]) -> None:
    """Print a line in pieces, and let the others print between them."""
    for piece in ("one ", "two ", "three\n"):
        sys.stdout.write(f"{name} {piece}")
        turn()


def talk_from_coroutines(name: str, turn: Callable[[], object]) -> None:
    """Print on the event loop that all async tasks share, and from its threads."""

    async def speak() -> None:
        print(f"{name} awaits")  # noqa: T201  (a task that prints is what is tested)
        await asyncio.to_thread(print, f"{name} in a thread")
        await asyncio.to_thread(turn)
        log.info("%s awaited", name)

    asynchronous.run(speak())


def talk_from_a_thread() -> None:
    """Print from a thread of its own, which nobody can tell from any other."""
    thread = threading.Thread(target=print, args=("from a thread",))
    thread.start()
    thread.join()


def talk_through_a_child() -> None:
    """Let a child process and C's own write speak."""
    subprocess.run(["sh", "-c", "echo a child speaks; echo it complains >&2"], check=True)
    os.write(1, b"past Python\n")


def talk_and_die(signal_number: int) -> NoReturn:
    """Say something, half a line of it, and be killed."""
    print("first")  # noqa: T201  (a task that prints is what is tested)
    log.warning("it gets dark")
    os.write(1, b"and the")
    os.kill(os.getpid(), signal_number)
    raise AssertionError


def talk_and_hang(tell: Callable[[str], object]) -> None:
    """Say something, and never end."""
    print("still here")  # noqa: T201  (a task that prints is what is tested)
    log.info("and waiting")
    tell("began")
    threading.Event().wait()


def find_a_secret(value: str) -> None:
    """Learn a secret at run time, and print it, whole and in two writes."""
    redact.hide(value)
    os.write(1, f"it is {value}\n".encode())
    os.write(2, f"it is {value[:5]}".encode())
    os.write(2, f"{value[5:]}, really\n".encode())
    log.info("logged %s", value)


def take_the_handlers_away() -> None:
    """Configure logging as if one were alone."""
    logging.basicConfig(force=True, level=logging.ERROR, format="own: %(message)s")
    logging.getLogger().handlers.clear()
    log.error("nobody hears this")


def write_through_the_log_pipe() -> None:
    """Write to descriptors that are not one's own."""
    handler = next(
        each for each in logging.getLogger().handlers if type(each).__name__ == "PipeHandler"
    )
    pipe: int = handler._pipe  # type: ignore[attr-defined]  # untyped, or private
    os.write(pipe, SCRIBBLED)
    log.info("after it")


def print_a_flood() -> None:
    """Print 50 MB in lines of all lengths, as fast as can be."""
    block = b"".join(b"%d " % n * (n % 40) + b"\n" for n in range(2_000))
    for _ in range(50_000_000 // len(block)):
        os.write(1, block)
    os.write(1, b"the end\n")


# ---- tasks of machines ----------------------------------------------------------------


def say_and_fail(task: Task) -> None:
    """Say which attempt this is, know a secret, and fail with it; succeed the third time."""
    redact.hide("hunter2hunter2")
    print(f"attempt {task.attempt}, hunter2hunter2")  # noqa: T201  (a task that prints is what is tested)
    task.log.warning("%s is not well", task.instance)
    if task.attempt < 3:
        raise ConnectionError("no way to postgresql://ann:topsecret@db with hunter2hunter2")


def say_and_crash(task: Task) -> None:
    """Say something and be gone."""
    print(f"{task.instance} was here")  # noqa: T201  (a task that prints is what is tested)
    os._exit(3)


def say_and_wait(task: Task) -> None:
    """Say something, and wait until somebody asks to stop."""
    print("waiting")  # noqa: T201  (a task that prints is what is tested)
    while not task.cancelled:
        threading.Event().wait(0.01)
    print("asked to stop")  # noqa: T201  (a task that prints is what is tested)


def say_by_batch(task: Task) -> Iterator[Batch]:
    """Say something about each batch."""
    for number in range(task.cursor or 0, 3):
        print(f"batch {number}")  # noqa: T201  (a task that prints is what is tested)
        yield Batch([{"n": number}], cursor=number + 1)
    print("that was all")  # noqa: T201  (a task that prints is what is tested)
