"""
The points of a run at which a process can die: where they are, and the signal at the n-th.

    Points            counts what the process is about to do, and has just done
    Points.install    watches this process: the store, the stage, the destination

A point lies before and after each COMMIT and each WAL checkpoint of every SQLite connection,
and before and after each write, fsync, rename, unlink and making of a file or folder. Nothing
of this is in the engine: `install` replaces the functions that it calls, in a process that
lives for one test.
"""

import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from statepipe.sqlite import sqlite3 as chosen
from statepipe.store.file.files import Files

#: Statements that make something durable; what is between them is lost as one.
_DURABLE: Final = ("COMMIT", "PRAGMA wal_checkpoint")

_OPERATIONS: Final = ("fsync", "rename", "unlink", "mkdir", "rmdir")

_write = os.write


class Points:
    """
    Counts points from 0 and sends this process a signal at one of them.

    Args:
        root: Where `points.log` gets a line for the point that was reached; in the
            log of all points (`at` is None) one for each.
        at: Which point, by its number, or by what it is called and how often it came
            before ("after warehouse COMMIT#2"); None for none.
        signum: The signal.

    Attributes:
        others: Held while the signal is sent: a process that is stopped while another thread of
            it is in a transaction of the store keeps everybody out (F7), which is another test.
    """

    def __init__(self, root: Path, *, at: int | str | None, signum: int = signal.SIGKILL) -> None:
        self.others = threading.RLock()
        self.count = 0
        self._log = root / "points.log"
        self._at = at
        self._signum = signum
        self._seen: dict[str, int] = {}
        self._thread = threading.current_thread()

    def reach(self, label: str) -> None:
        """Take note of one point; what happens in another thread is no point."""
        if threading.current_thread() is not self._thread:
            return
        number, self.count = self.count, self.count + 1
        times = self._seen.get(label, 0)
        self._seen[label] = times + 1
        name = f"{label}#{times}"
        if self._at is None:
            self._note(f"{number} {name}\n")
        elif self._at in (number, name):
            self._note(f"{number} {name}\n")
            with self.others:
                os.kill(os.getpid(), self._signum)

    def around(self, label: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401 whatever it returns
        """Do `call` between two points."""
        self.reach(f"before {label}")
        result = call()
        self.reach(f"after {label}")
        return result

    def install(self) -> None:
        """Watch this process from now on; nothing takes it back."""
        for name in _OPERATIONS:
            setattr(os, name, self._watched(getattr(os, name), name))
        for name in ("write", "create"):
            setattr(Files, name, self._watched(getattr(Files, name), name))
        self._watch_sqlite()

    def _watched(self, real: Callable[..., Any], label: str) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 any function's
            return self.around(label, lambda: real(*args, **kwargs))

        return watched

    def _watch_sqlite(self) -> None:
        real = chosen.connect
        around = self.around

        class Watched(chosen.Connection):  # type: ignore[misc]  # chosen is Any
            """A connection whose durable statements lie between points."""

            label = ""

            def execute(
                self, sql: str, parameters: Sequence[Any] | dict[str, Any] = (), /
            ) -> sqlite3.Cursor:
                """Execute, and count if it makes something durable."""
                run = super().execute
                cursor: sqlite3.Cursor
                if sql.startswith(_DURABLE):
                    what = f"{self.label} {'COMMIT' if sql == 'COMMIT' else 'checkpoint'}"
                    cursor = around(what, lambda: run(sql, parameters))
                else:
                    cursor = run(sql, parameters)
                return cursor

        def connect(database: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 as sqlite3's
            connection = real(database, *args, factory=Watched, **kwargs)
            is_ours = Path(str(database)).name.startswith("statepipe.db")
            connection.label = "store" if is_ours else "warehouse"
            return connection

        chosen.connect = connect

    def _note(self, line: str) -> None:
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        _write(log, line.encode())
        os.close(log)
