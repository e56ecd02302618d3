"""
A command: a program of the user's, told by its arguments, its environment and its input.

The notice is its standard input, as JSON; `STATEPIPE_NOTICE_EVENT` and the like are in its
environment; words in braces among its arguments are replaced. No shell reads any of it.
Success is exit status 0. Out of time, it is killed with its process group; what it leaves
running after it ended well is its own business, as a mail that is still being handed over.
"""

import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from statepipe.notify import PLACEHOLDERS
from statepipe.observe import redact
from statepipe.observe.notices import body as bodies
from statepipe.observe.notices.letter import Letter, Undelivered

#: Of what it prints, the end is quoted if it fails.
QUOTED_CHARS_MAX: Final = 200

_READ_BYTES: Final = 65_536
#: More than is quoted, so that a secret is found that the quotation would cut in two.
_TAIL_BYTES: Final = 16_384
#: For what a program that has ended left in its pipe.
_DRAIN_S: Final = 0.2

_BRACES = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")


def run(argv: Sequence[str], letter: Letter, *, cwd: Path, timeout_ms: int) -> None:
    """
    Run a program until it ends.

    Args:
        argv: The program and its arguments.
        letter: What to say.
        cwd: The folder it is started in.
        timeout_ms: How long it may take.

    Raises:
        Undelivered: It cannot be started, does not end in time, or fails.
    """
    words = _words(bodies.read(letter.body))
    arguments = [_BRACES.sub(lambda found: words[found[1]], each) for each in argv]
    given = {f"STATEPIPE_NOTICE_{name.upper()}": word for name, word in words.items()}
    with tempfile.TemporaryFile() as said:
        said.write(letter.body.encode())
        said.seek(0)
        try:
            process = subprocess.Popen(  # noqa: S603  (the user's own program, by a list)
                arguments,
                cwd=cwd,
                env={**os.environ, **given},
                stdin=said,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise Undelivered(f"{argv[0]} cannot be started: {error.strerror}") from None
    assert process.stdout is not None, "it was asked for"
    tail = _Tail(process.stdout)
    try:
        status = process.wait(timeout_ms / 1_000)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise Undelivered(f"{argv[0]} did not end within {timeout_ms} ms and was killed") from None
    if status != 0:
        how = f"ended with {status}" if status > 0 else f"was ended by signal {-status}"
        raise Undelivered(f"{argv[0]} {how}{tail.quoted()}")


def _words(said: Mapping[str, Any]) -> dict[str, str]:
    """Return what may be put into arguments and environment: text without NUL."""
    return {name: str(said[name] or "").replace("\0", "") for name in PLACEHOLDERS}


class _Tail:
    """The end of what a program prints; the rest is read and forgotten."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._end = b""
        self._thread = threading.Thread(target=self._drain, name="statepipe-notice", daemon=True)
        self._thread.start()

    def quoted(self) -> str:
        """Return the end of it as part of a sentence; "" if it printed nothing."""
        # What it left running may hold the pipe open for as long as it likes.
        self._thread.join(_DRAIN_S)
        text = self._end.decode(errors="replace").strip()
        return f": {redact.end(text, chars_max=QUOTED_CHARS_MAX)}" if text else ""

    def _drain(self) -> None:
        with self._pipe:
            while read := os.read(self._pipe.fileno(), _READ_BYTES):
                self._end = (self._end + read)[-_TAIL_BYTES:]
