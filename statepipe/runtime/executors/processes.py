"""
Finding, freezing and ending everything a worker process started. Linux only.

    Started        one process, told apart from a later one with the same number
    everything_of  whatever belongs to a worker and is alive
    end            freeze all of it, then kill all of it
    bury           wait until it is gone, and reap what was left to us
    zombies_of     what it left to us that had died already
    adopt_orphans  make this process the one that orphans come to
    start          start a process from a thread that lives as long as we do

A process belongs to a worker if it descends from it, is in its group or session, or
carries its mark in the environment: a child may leave any one of these behind by
double-forking, `setsid` or a cleared environment. Everything is stopped before anything
is killed, because a killed parent's children are no longer its descendants, and a
running one goes on forking while its children are counted.
"""

import ctypes
import os
import select
import signal
import subprocess
import threading
from collections.abc import Collection, Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, NamedTuple

MARK: Final = "STATEPIPE_WORKER"

_PR_SET_CHILD_SUBREAPER: Final = 36
_ROUNDS_MAX: Final = 100
_GONE_MS_MAX: Final = 2_000
_DEAD: Final = frozenset("ZXx")


class Started(NamedTuple):
    """A process as /proc shows it; `ticks` since boot at its start tell it from a namesake."""

    pid: int
    ticks: int
    state: str
    parent: int
    group: int
    session: int


def everything_of(root: int, token: str) -> list[Started]:
    """
    Return the live processes of the worker `root` with the mark `token`, itself included.

    `root` must not have been reaped, or its number may belong to somebody else.
    """
    mark = f"{MARK}={token}".encode()
    family = {root}
    found = []
    # Parents before children, as far as the clock tells; `end` looks again anyway.
    for process in sorted(_all(), key=lambda each: (each.ticks, each.pid)):
        ours = process.pid != os.getpid() and (
            process.pid == root
            or process.parent in family
            or root in (process.group, process.session)
            or mark in _environment(process.pid)
        )
        if ours:
            family.add(process.pid)
            if process.state not in _DEAD:
                found.append(process)
    return found


def end(root: int, token: str) -> list[Started]:
    """
    Stop everything of the worker, then kill it; return what was killed.

    Does not wait: a process may take a moment to die, or for ever in an uninterruptible call.
    """
    frozen: dict[int, Started] = {}
    for _ in range(_ROUNDS_MAX):
        fresh = [each for each in everything_of(root, token) if each.pid not in frozen]
        if not fresh:
            break
        for process in fresh:
            frozen[process.pid] = process
            _signal(process, signal.SIGSTOP)
    for process in frozen.values():
        _signal(process, signal.SIGKILL)
    return list(frozen.values())


def bury(dead: Collection[Started]) -> None:
    """Wait, at most 2 seconds each, until killed processes are gone; reap those that are ours."""
    for process in dead:
        with suppress(OSError):  # it is gone
            fd = os.pidfd_open(process.pid)
            try:
                if _read(process.pid) is not None:
                    poll = select.poll()
                    poll.register(fd, select.POLLIN)
                    poll.poll(_GONE_MS_MAX)
            finally:
                os.close(fd)
        # Orphans are ours to reap (see adopt_orphans); all others are somebody else's.
        now = _read(process.pid)
        if now is not None and (now.ticks, now.parent) == (process.ticks, os.getpid()):
            with suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)


def zombies_of(root: int) -> list[Started]:
    """Return our own dead, unreaped children that came from the worker `root`."""
    return [
        process
        for process in _all()
        if process.state in _DEAD
        and process.parent == os.getpid()
        and process.pid != root
        and root in (process.group, process.session)
    ]


@cache
def adopt_orphans() -> None:
    """Make this process the one that its descendants' orphans come to, once and for good."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _all() -> Iterable[Started]:
    for folder in Path("/proc").iterdir():
        pid = int(folder.name) if folder.name.isdecimal() else 0
        if pid > 1 and (process := _read(pid)):
            yield process


def _read(pid: int) -> Started | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the name in parentheses, which may itself hold anything.
    rest = text[text.rindex(")") + 2 :].split()
    return Started(
        pid=pid,
        ticks=int(rest[19]),
        state=rest[0],
        parent=int(rest[1]),
        group=int(rest[2]),
        session=int(rest[3]),
    )


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # gone, or somebody else's
        return []


def _signal(process: Started, number: signal.Signals) -> None:
    """Signal exactly this process: a number that was given away meanwhile is left alone."""
    # One that has changed its user may not be ours to signal, and one that is just being
    # reaped fails in its own way: the others must be reached all the same.
    with suppress(OSError):
        fd = os.pidfd_open(process.pid)
        try:
            now = _read(process.pid)
            if now is not None and now.ticks == process.ticks:
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)


# ---- starting -------------------------------------------------------------------------

_Order = tuple[Future["subprocess.Popen[bytes]"], list[str], dict[str, Any]]


def start(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":  # noqa: ANN401 of Popen
    """
    `subprocess.Popen(command, **options)`, from the one thread that never ends.

    The kernel's parent-death signal follows the *thread* that started a process, so a
    worker started from a pool's thread would be killed with the pool.
    """
    future: Future[subprocess.Popen[bytes]] = Future()
    _starter(os.getpid()).put((future, command, options))
    return future.result()


@cache
def _starter(_pid: int) -> "SimpleQueue[_Order]":
    # By process number, because a fork copies the queue but not the thread.
    orders: SimpleQueue[_Order] = SimpleQueue()
    threading.Thread(
        target=_start_all, args=(orders,), name="statepipe-starter", daemon=True
    ).start()
    return orders


def _start_all(orders: "SimpleQueue[_Order]") -> None:
    while True:
        future, command, options = orders.get()
        try:
            future.set_result(_popen(command, options))
        except Exception as error:  # noqa: BLE001 the caller gets it
            future.set_exception(error)
        del future


def _popen(command: list[str], options: dict[str, Any]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, **options)  # noqa: S603 our own program
