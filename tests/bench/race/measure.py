"""
One whole command as the operating system saw it, its children included.

    measured    run it to its end: wall and CPU seconds, the largest process, all together

CPU is what the kernel counted for the process and all that it started. The largest
process is the high-water mark of its own memory; `together` is the highest sum of all
processes that was seen at once, looked at twenty times a second, shared pages counted twice.
"""

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from statepipe.runtime.executors.processes import adopt_orphans
from tests.bench.report import ROOT

_LOOK_S: Final = 0.05
_KIB_A_PAGE: Final = os.sysconf("SC_PAGE_SIZE") // 1024


class Measured(NamedTuple):
    """What one run took."""

    wall_s: float
    cpu_s: float
    largest_mib: float
    together_mib: float


def measured(
    command: Sequence[str | Path], *, cwd: Path, environ: Mapping[str, str], bound_s: float
) -> Measured:
    """
    Run `command`, its output in `output.log`.

    Raises:
        AssertionError: If it failed, or took longer than `bound_s`.
    """
    log, told = cwd / "output.log", cwd / "measured.json"
    with log.open("ab") as output:
        ended = subprocess.run(
            [sys.executable, "-m", __name__, told, str(bound_s), *command],
            cwd=cwd,
            env={**environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    said = log.read_text(encoding="utf-8", errors="replace")[-2_000:]
    assert ended.returncode == 0, f"{command} ended with {ended.returncode}:\n{said}"
    return Measured(*json.loads(told.read_text(encoding="utf-8")))


def main(told: str, bound_s: str, *command: str) -> int:
    """Run `command` in a process that inherits what it leaves behind, so that all is counted."""
    adopt_orphans()
    began = time.perf_counter()
    process = subprocess.Popen(["setpriv", "--pdeathsig=KILL", *command])  # as we end, so does it
    watch = _Watch(os.getpid())
    watch.start()
    try:
        code = process.wait(float(bound_s))
    finally:
        process.kill()
    took_s = time.perf_counter() - began
    watch.stop()
    with suppress(ChildProcessError):
        while True:
            os.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = used.ru_utime + used.ru_stime
    found = Measured(took_s, cpu_s, watch.largest_mib, watch.together_mib)
    Path(told).write_text(json.dumps(found), encoding="utf-8")
    return code


class _Watch(threading.Thread):
    """Looks at the memory of all below a process."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.largest_mib = 0.0
        self.together_mib = 0.0
        self._pid = pid
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(_LOOK_S):
            together = 0
            for pid in _below(self._pid):
                highest_kib, now_kib = _memory_of(pid)
                together += now_kib
                self.largest_mib = max(self.largest_mib, highest_kib / 1024)
            self.together_mib = max(self.together_mib, together / 1024)

    def stop(self) -> None:
        self._over.set()
        self.join()


def _below(pid: int) -> Iterator[int]:
    """Yield all descendants of `pid`."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text(encoding="ascii").split()
        except OSError:
            continue
        for child in children:
            yield int(child)
            yield from _below(int(child))


def _memory_of(pid: int) -> tuple[int, int]:
    """Return the highest and the present resident memory of a process, in KiB."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0, 0
    highest = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(highest[0]) if highest else 0, int(pages) * _KIB_A_PAGE


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
