"""
Tasks that do what tasks must not be able to do harm with. Imported by worker processes.

Functions that never end take `tell`, which the test gives them to learn that they began.
"""

import contextlib
import ctypes
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from statepipe.runtime.executors import cancellation

Tell = Callable[[object], object]

for_ever = threading.Event()


def add(a: int, b: int) -> int:
    """Behave."""
    return a + b


def pid() -> int:
    """Say which process this is."""
    return os.getpid()


def exit_at_once() -> None:
    """End the process behind Python's back."""
    os._exit(7)


def segfault() -> None:
    """Read address 0."""
    ctypes.string_at(0)


def kill_itself() -> None:
    """Die as the kernel's out-of-memory killer would have it."""
    os.kill(os.getpid(), signal.SIGKILL)


def abort() -> None:
    """Die by SIGABRT."""
    os.abort()


def print_100_mb() -> str:
    """Fill the standard output."""
    line = "x" * (1 << 20)
    for _ in range(100):
        print(line)  # noqa: T201  (a task that prints is what is tested)
    return "printed"


def write_20_mb_to_stderr() -> str:
    """Fill the standard error, past Python."""
    for _ in range(320):
        os.write(2, b"y" * 65_536)
    return "written"


def say_and_exit() -> None:
    """Leave last words."""
    sys.stderr.write("the disk is on fire\n")
    sys.stderr.flush()
    os._exit(9)


def close_all_descriptors() -> str:
    """Close the wire and everything else."""
    os.closerange(0, 1_000)
    return "closed"


def close_stdout() -> str:
    """Close what the next call would print to."""
    os.close(1)
    return "closed"


class UnprintableError(Exception):
    """Raises instead of telling."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class UnpicklableError(Exception):
    """Holds a lock and wants three arguments."""

    def __init__(self, one: object, two: object, three: object) -> None:
        super().__init__("three things")
        self.lock = threading.Lock()
        self.things = (one, two, three)


class BareError(BaseException):
    """Not even an Exception."""


def raise_unprintable() -> None:
    """Raise what cannot be shown."""
    raise UnprintableError


def raise_unpicklable() -> None:
    """Raise what cannot be copied."""
    raise UnpicklableError(1, 2, 3)


def raise_bare() -> None:
    """Raise what `except Exception` does not catch."""
    raise BareError("bare")


def raise_interrupt() -> None:
    """Raise what Ctrl-C raises."""
    raise KeyboardInterrupt


def raise_surrogates() -> None:
    """Raise a text that is no Unicode."""
    raise ValueError("half \ud800 a pair")


def raise_10_mb() -> None:
    """Raise a very long story."""
    raise ValueError("z" * 10_000_000)


def raise_text(text: str) -> None:
    """Raise a given story."""
    raise ValueError(text)


def sys_exit_with_status() -> None:
    """Leave politely."""
    sys.exit(3)


def sys_exit_with_text() -> None:
    """Leave with a word."""
    sys.exit("enough")


def recurse(depth: int = 0) -> int:
    """Never come back."""
    return recurse(depth + 1) + 1


def return_20_mb() -> bytes:
    """Return what belongs into a batch."""
    return b"b" * 20_000_000


def return_a_lambda() -> object:
    """Return code."""
    return lambda: None


def rearrange_the_process() -> None:
    """Change what the next call takes for granted."""
    os.chdir("/")
    os.umask(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdout = None


def look_around() -> list[object]:
    """Say what `rearrange_the_process` could have changed."""
    umask = os.umask(0o022)
    os.umask(umask)
    handler = signal.getsignal(signal.SIGTERM)
    return [os.getcwd(), umask, handler is signal.SIG_IGN, sys.stdout is None]  # noqa: PTH109  (a task may)


def leave_an_alarm() -> str:
    """Have a signal sent to the next call."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    return "armed"


def outlast_an_alarm() -> str:
    """Be there for 150 ms."""
    for_ever.wait(0.15)
    return "survived"


def leave_threads(tell: Tell) -> str:
    """Leave a thread that goes on asking, and one that keeps the interpreter from ending."""

    def nag() -> None:
        with contextlib.suppress(BaseException):
            while True:
                tell("nag")

    threading.Thread(target=nag, daemon=True).start()
    threading.Thread(target=for_ever.wait).start()
    return "left"


def scribble_on_all_descriptors() -> str:
    """Write garbage wherever it can."""
    for fd in range(3, 64):
        with contextlib.suppress(OSError):
            os.write(fd, b"\xff" * 64)
    return "scribbled"


def lower_the_descriptor_limit() -> str:
    """Leave no room for more files."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
    return "lowered"


def leave_a_child() -> str:
    """Start something that outlives the call."""
    subprocess.Popen(["sleep", "1000"])
    return "left"


def leave_an_escaped_child() -> str:
    """Start something that leaves the session and forgets its parent."""
    subprocess.run(["sh", "-c", "setsid sleep 1000 & :"], check=True)
    return "left"


def leave_a_nameless_child() -> str:
    """Start something that leaves the session, the parent and the environment."""
    subprocess.run(["sh", "-c", "setsid env -i sleep 1000 & :"], check=True)
    return "left"


def come_back_twice() -> int:
    """Fork, and return from both sides."""
    os.fork()
    return os.getpid()


def fork_ten() -> str:
    """Leave ten forks of itself."""
    for _ in range(10):
        if os.fork() == 0:
            for_ever.wait()
    return "forked"


def crash_with_a_fork_left() -> None:
    """Die while a fork of the process lives on, with all its descriptors."""
    if os.fork() == 0:
        os.setsid()
        for_ever.wait()
    os._exit(5)


# ---- these never end by themselves ----------------------------------------------------


def sleep_for_ever(tell: Tell) -> None:
    """Wait."""
    tell("began")
    for_ever.wait()


def ignore_sigterm(tell: Tell) -> None:
    """Wait, and will not be asked to stop."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell("began")
    for_ever.wait()


def spin(tell: Tell) -> NoReturn:
    """Compute."""
    tell("began")
    while True:
        pass


def hold_the_gil_in_c(tell: Tell) -> None:
    """Let no other Python code run, signal handlers included."""
    tell("began")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    ctypes.PyDLL(None).pause()


def stop_itself(tell: Tell) -> None:
    """Be stopped, as by Ctrl-Z."""
    tell("began")
    os.kill(os.getpid(), signal.SIGSTOP)


def stall_in_a_frame(tell: Tell) -> None:
    """Send half a frame."""
    tell("began")
    for fd in range(3, 64):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, b"\x00\x10\x00\x00half")
    for_ever.wait()


def hang_with_children(tell: Tell) -> None:
    """Wait with children that ignore SIGTERM, one of them in a session of its own."""
    subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 1000; :"])
    subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 1000; :"], start_new_session=True)
    subprocess.Popen(["env", "-i", "setsid", "sleep", "1000"])
    tell("began")
    for_ever.wait()


def swallow_everything(tell: Tell) -> NoReturn:
    """Wait, whatever is raised."""
    tell("began")
    while True:
        with contextlib.suppress(BaseException):
            while True:
                tell("more")


def print_for_ever(tell: Tell) -> NoReturn:
    """Print."""
    tell("began")
    while True:
        os.write(1, b"again\n" * 10_000)


def die_while_asked(tell: Tell) -> None:
    """End by itself when it is told to stop, but badly."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    tell("began")
    for_ever.wait()


def stop_when_asked(tell: Tell, path: str) -> str:
    """Notice the flag, clean up, and end."""
    tell("began")
    while not cancellation.current().raised:
        for_ever.wait(0.005)
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123  (a task may)
        file.write("cleaned up")
    return "stopped early"


def ask_after_the_stop(tell: Tell) -> None:
    """Ask once more after it was told to stop."""
    tell("began")
    while not cancellation.current().raised:
        for_ever.wait(0.005)
    tell("must not arrive")
