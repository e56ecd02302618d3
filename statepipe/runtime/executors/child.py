"""
The program of a worker process: take a call, run it, send its result, again.

    main        arm the ways to die, then serve calls until the driver closes the wire
    _Child      one worker: the wire, the flag, and what a call may have left behind

It is started by worker.py with three descriptors, the wire, the lifeline and a pipe for
log records, the modules to import beforehand, and the driver's import path. It dies with
its driver in two independent ways: the kernel's parent-death signal, and a SIGKILL to its
whole process group when the driver's end of the lifeline closes; neither needs the
interpreter, so both work while a task holds the GIL in C. It has no store handle.

SIGTERM asks the task to stop: it raises the flag behind `task.cancelled` and kills
nothing. The driver follows with SIGKILL when the grace is over.
"""

import ctypes
import faulthandler
import fcntl
import gc
import importlib
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from io import TextIOWrapper
from typing import Any, Final, NoReturn, cast

from statepipe.errors import DataError, TaskCancelled
from statepipe.observe import redact
from statepipe.runtime import failure
from statepipe.runtime.executors import cancellation, wire
from statepipe.runtime.output.records import PipeHandler, listen

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
#: New objects that are looked at for circles, together.
_GC_AFTER: Final = 50_000
#: Numbers of mallopt(3).
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
#: What is free at the end of the heap, and is kept.
_TRIM_BYTES: Final = 64 << 20
#: Blocks that come from the kernel and go back there. With those of up to 512 KiB on the heap as
#: well, it grew with the number of batches by a sixth before it came to rest.
_MMAP_BYTES: Final = 256 << 10
_WALL: Final = 0x40000000  # children of every kind, those of bare clone() included

#: Signals whose handlers a call may have changed and the next must not inherit.
_RESTORED: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGPIPE,
    signal.SIGALRM,
    signal.SIGCHLD,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def main() -> NoReturn:
    """Serve calls until the driver closes the wire; the arguments are as worker.py gives them."""
    wire_fd, lifeline, records = map(int, sys.argv[1:4])
    imports = sys.argv[4].split(",") if sys.argv[4] else []
    sys.argv = ["statepipe-worker"]
    for fd in (wire_fd, lifeline, records):
        os.set_inheritable(fd, False)  # noqa: FBT003 the standard signature
    _die_with_the_driver(lifeline)
    faulthandler.enable()
    # A batch is many thousand small objects, none of them in a circle: looking for circles after
    # each 700, as Python does, took a tenth of the time of a map.
    gc.set_threshold(_GC_AFTER)
    gc.freeze()
    _keep_memory()
    for stream in (sys.stdout, sys.stderr):
        # Whoever follows the output sees each line when it is printed.
        cast("TextIOWrapper", stream).reconfigure(line_buffering=True, errors="backslashreplace")
    child = _Child(wire_fd, lifeline, PipeHandler(records))
    redact.on_hide(child.tell_secret)
    for module in imports:
        importlib.import_module(module)
    while (message := wire.receive(wire_fd)) is not None:
        if message[0] == "hide":
            redact.hide(message[1])
        else:
            child.serve(message)
    os._exit(0)


def _keep_memory() -> None:
    """
    Let a batch have the memory of the one before it.

    What is given back to the kernel between two batches comes again page by page, each
    with a fault; and of Arrow's own pools the default one gives back the soonest.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    with suppress(AttributeError):  # not every C library has it
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)


def _die_with_the_driver(lifeline: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # Orphans of the task come to us and not to init, so that they can be found.
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    if poll.poll(0):
        os._exit(1)  # the driver died before any of this was armed


class _Child:
    """What lives from call to call."""

    def __init__(self, wire_fd: int, lifeline: int, handler: logging.Handler) -> None:
        self._wire = wire_fd
        self._lifeline = lifeline
        self._handler = handler
        self._pid = os.getpid()
        self._flag = cancellation.PlainFlag(own_process=True)
        self._asking = threading.Lock()
        self._calls = 0
        cancellation.enter(self._flag)
        signal.signal(signal.SIGTERM, self._stop_asked)
        self._handlers = [(number, signal.getsignal(number)) for number in _RESTORED]
        self._folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        os.register_at_fork(after_in_child=self._forked)

    def serve(self, message: wire.Message) -> None:
        """Run one call and send what came of it."""
        _kind, name, args, kwargs, proxied = message
        if self._handler not in logging.getLogger().handlers:  # a call may have taken it away
            listen(self._handler)
        for place in proxied:
            proxy = partial(self._ask, self._calls, place)
            if isinstance(place, int):
                args[place] = proxy
            else:
                kwargs[place] = proxy
        try:
            reply = ["result", _find(name)(*args, **kwargs)]
        except SystemExit as error:
            self._leave(error)
        except BaseException as error:  # noqa: BLE001 whatever a task raises is its result
            told = failure.describe(error)
            reply = ["error", told["names"], told["message"], told["traceback"]]
        if os.getpid() != self._pid:
            os._exit(1)  # a forked child came back from the task: it has no business here
        # A thread that the call left may be in the middle of a question: wait for its answer,
        # or it would take the next call for it. The lock refuses all questions after this one.
        with self._asking:
            self._calls += 1
        worn = not self._tidy()
        try:
            frame = wire.pack([*reply, worn])
        except DataError as error:
            frame = wire.pack(["error", failure.names_of(error), str(error), "", worn])
        wire.send(self._wire, frame)

    def tell_secret(self, value: str) -> None:
        """Let the driver, which stores what we print, replace `value` as well."""
        if os.getpid() != self._pid:
            return
        with self._asking, suppress(OSError, DataError):
            wire.send(self._wire, wire.pack(["hide", value]))

    def _ask(self, call: int, place: int | str, *args: object, **kwargs: object) -> object:
        """Stand for a callable of the driver: send the arguments, wait for the answer."""
        frame = wire.pack(["ask", place, list(args), kwargs])
        with self._asking:
            if self._flag.raised or call != self._calls or os.getpid() != self._pid:
                raise TaskCancelled("the attempt was asked to stop")
            wire.send(self._wire, frame)
            reply = wire.receive(self._wire)
        if reply is None:
            os._exit(1)  # the driver is gone
        if reply[0] == "raised":
            raise failure.rebuild(reply[1], reply[2])
        return reply[1]

    def _tidy(self) -> bool:
        """Undo what the call did to the process; False if it cannot serve another call."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # the author's stream, perhaps closed
                stream.flush()
        try:
            os.fchdir(self._folder)
            os.umask(self._umask)
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in self._handlers:
                if signal.getsignal(number) is not handler:
                    signal.signal(number, handler)
        except (OSError, TypeError, ValueError):
            return False
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        return _childless()

    def _stop_asked(self, _number: int, _frame: object) -> None:
        self._flag.raised = True

    def _forked(self) -> None:
        # The wire of a forked child would keep the driver waiting for the end of it.
        for fd in (self._wire, self._lifeline, self._folder):
            with suppress(OSError):
                os.close(fd)

    def _leave(self, asked: SystemExit) -> NoReturn:
        """Do as `sys.exit` would, but without waiting for threads that the task left."""
        code = asked.code
        if code is not None and not isinstance(code, int):
            with suppress(Exception):
                sys.stderr.write(f"{code}\n")
            code = 1
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit((code or 0) & 0xFF)


def _childless() -> bool:
    """Reap what has ended; True if no child or orphaned grandchild is left alive."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG | _WALL) == (0, 0):
                return False
        except ChildProcessError:
            return True


@cache
def _find(name: str) -> Callable[..., Any]:
    module, _, qualified = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in qualified.split("."):
        found = getattr(found, part)
    assert callable(found), "the driver has looked"
    return found  # type: ignore[no-any-return]  # what a module has under a name is of any type
