"""
The system calls of a run, as strace sees them: their order, and what happens if one fails.

    traced      run the driver under strace, optionally with one call made to fail
    Call        one system call of the main thread that had to do with the run's own files
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.crash import scene
from tests.crash.processes import ROOT, Ended

#: What makes something durable, or could stop it from becoming so, or reads it back.
CALLS: Final = (
    "openat",
    "write",
    "pwrite64",
    "read",
    "pread64",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "ftruncate",
)

_LINE: Final = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)")

#: Files of the test, not of the engine.
_OURS: Final = ("calls.log", "acks.log", "points.log", "deadly", "/machines/", "statepipe.toml")


class Call(NamedTuple):
    """One system call; `number` counts those of its name in its thread, from 1."""

    name: str
    number: int
    arguments: str

    @property
    def path(self) -> str:
        """The path behind its first descriptor, "" if it has none."""
        found = re.match(r"(?:AT_FDCWD|\d+)<([^>]*)>", self.arguments)
        return found.group(1) if found else ""


def traced(
    root: Path, *, fault: str | None = None, string_bytes: int = 32, mutant: str | None = None
) -> tuple[Ended, list[Call]]:
    """
    Run the driver for `root` under strace; return how it ended, and its calls in order.

    Args:
        root: A folder made by `scene.set_up`.
        fault: What strace shall inject, for example "fsync:error=EIO:when=3".
        string_bytes: How much of what is written the trace shows.
        mutant: As the driver's.
    """
    strace = shutil.which("strace")
    assert strace is not None, "these tests need strace. Type: make tools"
    log = root / "strace.log"
    command = [strace, "-f", "-y", "--seccomp-bpf", "-s", str(string_bytes), "-o", str(log)]
    command += ["-e", "trace=" + ",".join(CALLS), "-e", "signal=none"]
    command += ["-e", f"inject={fault}"] if fault else []
    command += [sys.executable, "-m", "tests.crash.driver", str(root)]
    command += ["--mutant", mutant] if mutant else []
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        text=True,
    )
    assert "strace:" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr), _calls(log, root)


def is_of_the_engine(call: Call, root: Path) -> bool:
    """Return whether a call has to do with the run's files, and not with the test's."""
    return str(root) in call.arguments and not any(name in call.arguments for name in _OURS)


def _calls(log: Path, root: Path) -> list[Call]:
    counts: dict[str, int] = {}
    found = []
    main = ""
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        matched = _LINE.match(line)
        if matched is None:
            continue
        pid, name, arguments, _ = matched.groups()
        main = main or pid
        if pid != main:
            continue
        counts[name] = counts.get(name, 0) + 1
        if str(root) in arguments:
            found.append(Call(name, counts[name], arguments))
    return found


def store_name(path: str) -> str:
    """Return which of the run's files a path is: "wal", "warehouse", "stage", "acks", ""."""
    name = Path(path).name
    if name == scene.store_of(Path()).name + "-wal":
        return "wal"
    if name.startswith("warehouse.db"):
        return "warehouse"
    return {"acks.log": "acks"}.get(name, "stage" if "/stage/" in path else "")


def unsynced(calls: Sequence[Call]) -> list[str]:
    """
    Return where something was relied on that a power cut could have taken.

    A write to the WAL relies on staged files, their names and the destination; a line in
    `acks.log`, which stands for everybody who was told, relies on the WAL.
    """
    waiting: dict[str, str] = {}  # what is not on the disk yet, and what it belongs to
    found = []
    for call in calls:
        path, kind = call.path, store_name(call.path)
        if call.name == "pwrite64" and kind == "wal":
            found += [f"{what} before the WAL" for what, of in waiting.items() if of != "wal"]
        if call.name == "write" and kind == "acks":
            found += [f"{what} before the acknowledgement" for what in waiting]
        if call.name in ("write", "pwrite64") and kind in ("wal", "warehouse", "stage"):
            waiting[path] = kind
        elif call.name in ("fsync", "fdatasync"):
            waiting.pop(path, None)
        elif call.name == "renameat":
            # The name is an entry of its folder; the content goes on under it.
            old, new = re.findall(r'"([^"]+)"', call.arguments)
            if f"{path}/{old}" in waiting:
                waiting[f"{path}/{new}"] = waiting.pop(f"{path}/{old}")
            waiting[path] = "stage"
        elif call.name == "unlink" and "warehouse.db-journal" in call.arguments:
            # The commit of a rollback journal is the entry's disappearance.
            journal = call.arguments.strip('"')
            waiting.pop(journal, None)
            waiting[str(Path(journal).parent)] = "warehouse"
    return found
