"""
One worker process, as its driver sees it.

    Worker.start    a fresh process, in its own session, marked, with a wire and a lifeline
    Worker.call     one call: send it, answer what it asks, drain what it prints
    Worker.ask_to_stop, Worker.end    SIGTERM to the group; SIGKILL to everything, from any thread
    Worker.bury     end it, reap it and everything it started, say how it died

All waiting is one `poll` over the wire, the process (a pidfd), and its three outputs: the
standard streams, and a pipe for log records. So a worker that stalls in the middle of a
frame, prints without end, or dies while a child of its own keeps the wire open, cannot
hold the driver's thread.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from statepipe.observe import redact
from statepipe.runtime.executors import processes, wire
from statepipe.runtime.output.capture import Capture

_BOOT: Final = (
    "import sys; sys.path[:] = sys.argv[5:];"
    " from statepipe.runtime.executors.child import main; main()"
)
#: How much of the end of each output of a worker is kept.
OUTPUT_BYTES_MAX: Final = 65_536

_READ_BYTES: Final = 1 << 18
_ENDING_MS_MAX: Final = 1_000
_SHOWN_CHARS_MAX: Final = 2_000
#: Reads of one output in a row: a pipe holds less, unless somebody goes on writing.
_READS_MAX: Final = 4

Answer = Callable[[wire.Message], bytes]


class Worker:
    """
    A process that serves one call at a time.

    Attributes:
        worn: True if it must not be given another call.
    """

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        *,
        link: socket.socket,
        lifeline: int,
        records: int,
        token: str,
        output_bytes_max: int,
    ) -> None:
        self.worn = False
        self._process = process
        self._pid = process.pid
        self._pidfd = os.pidfd_open(process.pid)
        self._link = link
        self._lifeline = lifeline
        self._token = token
        self._inbox = wire.Inbox()
        self._outgoing = bytearray()
        self._complaint = ""
        self._lock = threading.Lock()
        self._reaped = False
        self._killed: list[processes.Started] = []
        self._poll = select.poll()
        self._poll.register(link, select.POLLIN)
        self._poll.register(self._pidfd, select.POLLIN)
        self._capture: Capture | None = None
        self._told_secrets = 0
        self._records = records
        assert process.stderr is not None, "Popen was asked for pipes"
        assert process.stdout is not None, "Popen was asked for pipes"
        self._outputs = {
            process.stderr.fileno(): "stderr",
            process.stdout.fileno(): "stdout",
            records: "log",
        }
        self._ends = dict.fromkeys(self._outputs, b"")
        self._output_bytes_max = output_bytes_max
        self._open_outputs = set(self._outputs)
        for fd in self._outputs:
            os.set_blocking(fd, False)
            self._poll.register(fd, select.POLLIN)

    @classmethod
    def start(
        cls, *, output_bytes_max: int = OUTPUT_BYTES_MAX, imports: Sequence[str] = ()
    ) -> "Worker":
        """
        Start a process and do not wait for it: it reads its first call when it is ready.

        Args:
            output_bytes_max: How much of the end of each of its outputs is kept, at least 1.
            imports: Modules of ours that it imports before it reads a call.

        Raises:
            OSError: If there are no processes, descriptors or memory left.
        """
        processes.adopt_orphans()
        token = os.urandom(12).hex()
        ours, theirs = socket.socketpair()
        watched, lifeline = os.pipe()
        records, logged = os.pipe()
        # -P: what lies in the folder somebody happens to stand in is nobody's module.
        # The worker imports from where its driver does, and from nowhere else.
        path = [str(Path.cwd()) if each == "" else each for each in sys.path]
        passed = (theirs.fileno(), watched, logged)
        command = [sys.executable, "-P", "-c", _BOOT, *map(str, passed), ",".join(imports), *path]
        try:
            process = processes.start(
                command,
                env={**os.environ, processes.MARK: token},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                close_fds=True,
                pass_fds=passed,
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            os.close(lifeline)
            os.close(records)
            raise
        finally:
            theirs.close()
            os.close(watched)
            os.close(logged)
        ours.setblocking(False)  # noqa: FBT003 the standard signature
        return cls(
            process,
            link=ours,
            lifeline=lifeline,
            records=records,
            token=token,
            output_bytes_max=output_bytes_max,
        )

    @property
    def alive(self) -> bool:
        """Whether the process has not ended, as far as the kernel knows now."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return not poll.poll(0)

    def call(
        self, frame: bytes, answer: Answer, *, output: Capture | None = None
    ) -> wire.Message | None:
        """
        Send the call `frame` and return the worker's last message, "result" or "error".

        Args:
            frame: The packed call.
            answer: Given each "ask" message, returns the packed reply.
            output: Given what the worker prints and logs meanwhile, until `bury` if it dies.

        Returns:
            None if the worker died, or its wire cannot be trusted any more; `bury` says which.
        """
        self._capture = None
        self._drain_all(
            self._outputs
        )  # what threads of the last call print between calls is nobody's
        self._ends = dict.fromkeys(self._outputs, b"")
        self._capture = output
        for secret in redact.hidden(since=self._told_secrets):
            self._outgoing += wire.pack(["hide", secret])
            self._told_secrets += 1
        self._outgoing += frame
        while True:
            sending = select.POLLOUT if self._outgoing else 0
            self._poll.modify(self._link, select.POLLIN | sending)
            ready = dict(self._poll.poll())
            events = ready.get(self._link.fileno(), 0)
            if events & select.POLLOUT:
                self._push()
            open_ = self._pull()
            try:
                messages = self._heard()
            except wire.WireDamaged as error:
                self._complaint = f"something wrote to the worker's own descriptors ({error})"
                return None
            # After the wire, where a secret is told before it can be printed; and before an
            # answer, which may be the commit of what was printed about.
            self._drain_all(self._outputs.keys() if messages else ready.keys())
            for message in messages:
                if message[0] != "ask":
                    self._capture = None
                    self.worn |= bool(message[-1])
                    return message
                self._outgoing += answer(message)
            if self._pidfd in ready and not events:
                return None  # it ended, and what it had sent has been read
            if not open_:
                self._await_end()
                return None

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the worker's process group; from any thread."""
        with self._lock:
            if not self._reaped:
                with suppress(ProcessLookupError):
                    os.killpg(self._pid, signal.SIGTERM)

    def end(self) -> None:
        """Kill the worker and everything it started, without waiting; from any thread."""
        with self._lock:
            if self._reaped:
                return
            try:
                self._killed += processes.end(self._pid, self._token)
            finally:  # whatever becomes of the search, the worker itself ends here
                with suppress(ProcessLookupError):
                    os.killpg(self._pid, signal.SIGKILL)

    def bury(self) -> str:
        """
        Kill what is left of the worker and everything it started, and reap it.

        Returns:
            How it died and its last words, for people. Waits until the kernel lets go
            of the process, for ever if it never does: then it is still at work.
        """
        self.end()
        with self._lock:
            status = self._process.wait()
            left = [*(each for each in self._killed if each.pid != self._pid)]
            processes.bury([*left, *processes.zombies_of(self._pid)])
            self._reaped = True
        self._drain_all(self._outputs)
        self._link.close()
        os.close(self._lifeline)
        os.close(self._pidfd)
        os.close(self._records)
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None, "Popen was asked for pipes"
            stream.close()
        return f"{self._complaint or _describe(status)}{self._last_words()}"

    def _heard(self) -> list[wire.Message]:
        """Return what the worker asks, and its last message; secrets are hidden from now on."""
        messages = []
        while (message := self._inbox.take()) is not None:
            if message[0] == "hide":
                redact.hide(message[1])
            else:
                messages.append(message)
        return messages

    def _push(self) -> None:
        try:
            sent = self._link.send(self._outgoing)
        except BlockingIOError:
            return
        except OSError:  # the reading side of the same poll says what happened
            sent = len(self._outgoing)
        del self._outgoing[:sent]

    def _pull(self) -> bool:
        """Read what has come; False if the other end is closed."""
        try:
            data = self._link.recv(_READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._inbox.feed(data)
        return bool(data)

    def _drain_all(self, wanted: Collection[int]) -> None:
        """Read what these outputs hold now, in the same order each time: first what is printed."""
        for fd in self._outputs:
            reads = 0
            while (
                fd in wanted and fd in self._open_outputs and reads < _READS_MAX and self._drain(fd)
            ):
                reads += 1

    def _drain(self, fd: int) -> bool:
        """Read one output, and keep its tail; False if it held nothing."""
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if data:
            self._ends[fd] = (self._ends[fd] + data)[-self._output_bytes_max :]
            if self._capture is not None:
                self._capture.feed(self._outputs[fd], data)
            return True
        # Closed by the task: another call would find it closed.
        self.worn = True
        self._open_outputs.remove(fd)
        self._poll.unregister(fd)
        return False

    def _await_end(self) -> None:
        # A dying process closes its files a moment before it is dead.
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        if not poll.poll(_ENDING_MS_MAX):
            self._complaint = (
                "the worker closed its wire to the driver (did the task close all descriptors?)"
            )

    def _last_words(self) -> str:
        printed = [tail for fd, tail in self._ends.items() if self._outputs[fd] != "log"]
        said = next((tail for tail in printed if tail.strip()), b"")
        text = said.decode("utf-8", "replace").strip()
        if not text:
            return ""
        return f"; its last words:\n{redact.end(text, chars_max=_SHOWN_CHARS_MAX).strip()}"


def _describe(status: int) -> str:
    if status >= 0:
        return f"the worker exited with status {status} in the middle of the task"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    guess = " (out of memory?)" if -status == signal.SIGKILL else ""
    return f"the worker was killed by {name}{guess}"
