"""
What is around the store's file: permissions, file system, room, speed, and who holds its lock.

Nothing here opens the store, its WAL or its shared memory in this process: closing them
again would drop SQLite's locks (F4). The lock is asked for by a helper
process, the speed is that of a temporary file beside the store.
"""

import os
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

_FSYNCS: Final = 21
_PAGE: Final = b"\0" * 4096
_HELPER_S_MAX: Final = 10

# SQLite's write lock of a WAL store is byte 120 of the -shm file (F7). F_GETLK answers
# who is in the way without taking anything.
_ASK: Final = """
import fcntl, os, struct, sys
layout = "hhqqi"
fd = os.open(sys.argv[1], os.O_RDONLY)
asked = struct.pack(layout, fcntl.F_WRLCK, os.SEEK_SET, 120, 1, 0)
kind, _, _, _, pid = struct.unpack(layout, fcntl.fcntl(fd, fcntl.F_GETLK, asked))
print(0 if kind == fcntl.F_UNLCK else pid)
"""


class LockHolder(NamedTuple):
    """The process that holds the store's write lock right now."""

    pid: int
    name: str
    stopped: bool  # by SIGSTOP or a debugger: it will hold the lock until it goes on


def permissions(path: Path) -> int:
    """Return the permission bits of a file, 0o000..0o777."""
    return stat.S_IMODE(path.stat().st_mode)


def free_bytes(path: Path) -> int:
    """Return how much room there is on the file system of `path`, in bytes."""
    room = os.statvfs(path.parent)
    return room.f_bavail * room.f_frsize


def fsync_us(folder: Path) -> int:
    """
    Return the median duration of writing and syncing one page in `folder`, in microseconds.

    Raises:
        OSError: If no file can be made there.
    """
    took = []
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".statepipe-probe-") as file:
        for _ in range(_FSYNCS):
            began_ns = time.perf_counter_ns()
            os.pwrite(file.fileno(), _PAGE, 0)
            os.fsync(file.fileno())
            took.append(time.perf_counter_ns() - began_ns)
    return sorted(took)[_FSYNCS // 2] // 1_000


def lock_holder(path: Path) -> LockHolder | None:
    """Return who holds the write lock of the store at `path`, None if nobody or unknown."""
    shared = path.with_name(path.name + "-shm")
    if not shared.exists():
        return None
    asked = subprocess.run(  # noqa: S603  (our own program, and the path of the store)
        [sys.executable, "-I", "-c", _ASK, str(shared.absolute())],
        capture_output=True,
        check=False,
        text=True,
        timeout=_HELPER_S_MAX,
    )
    pid = int(asked.stdout.strip() or 0) if asked.returncode == 0 else 0
    # -1 is a process of another pid namespace.
    return None if pid <= 0 else LockHolder(pid, *_name_and_state(pid))


def _name_and_state(pid: int) -> tuple[str, bool]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "?", False
    head, _, fields = text.rpartition(")")
    return head.partition("(")[2], fields.split()[0] in ("T", "t")
