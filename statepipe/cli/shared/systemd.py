"""
What systemd is told of a worker: that it is ready, that it lives, that it ends.

    Systemd     the service manager; nobody, if this process is no service of `Type=notify`

The protocol is one datagram of text to the socket that NOTIFY_SOCKET names (sd_notify(3)). The
libraries for it are no help: `sdnotify` has had no release since 2017, and `systemd-python` needs
a compiler and libsystemd, which a container has not.

WATCHDOG=1 is sent from the loop's own thread, after a turn of it: a thread of its own would say
that the process lives while its loop hangs.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from statepipe.clock import Clock

_US_A_MS: Final = 1_000


class Systemd:
    """
    The service manager of this process.

    Args:
        environ: NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are read.
        clock: Time.
    """

    def __init__(self, environ: Mapping[str, str], *, clock: Clock) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._clock = clock
        self._pause_ms = _watchdog_ms(environ) // 2  # as sd_watchdog_enabled(3) asks for
        self._due_ms = 0
        self._said = ""

    def turned(self, *, stopping: bool) -> None:
        """Tell it what is new, after a turn of the loop; costs nothing if there is nobody."""
        if not self._address:
            return
        state = "STOPPING=1" if stopping else "READY=1"
        if state != self._said and self._send(state):
            self._said = state
        now_ms = self._clock.boot_ms()
        if self._pause_ms and now_ms >= self._due_ms and self._send("WATCHDOG=1"):
            self._due_ms = now_ms + self._pause_ms

    def _send(self, text: str) -> bool:
        """Return False if it is to be sent again: it has no room for more at the moment."""
        # A name that begins with @ is none of the file system: its first byte is 0.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with (
            suppress(OSError),  # nobody listens: the worker works all the same
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to,
        ):
            try:
                to.sendto(text.encode(), socket.MSG_DONTWAIT, address)
            except BlockingIOError:
                return False
        return True


def _watchdog_ms(environ: Mapping[str, str]) -> int:
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0  # it is another process that is watched
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) // _US_A_MS if text.isdecimal() else 0
