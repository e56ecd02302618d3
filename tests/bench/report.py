"""
The page a bench prints: the machine it ran on, then tables.

    facts       what a figure means nothing without
    table       rows as aligned text
"""

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from statepipe.sqlite import sqlite3
from tests.bench import cores

ROOT = Path(__file__).parents[2]


def facts(folder: Path, *, fsync_ms: float) -> list[tuple[str, str]]:
    """Return what the figures depend on."""
    count = len(os.sched_getaffinity(0))
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return [
        ("cores", f"{count} ({_cpu()})"),
        ("two processes at once, of one alone", f"{cores.slowdown():.2f} times as long"),
        ("load while measuring began", load),
        ("disk", f"{_file_system(folder)}, 4 KiB append + fdatasync p50 {fsync_ms:.2f} ms"),
        ("SQLite", f"{sqlite3.sqlite_version} ({sqlite3.__name__})"),
        ("Python", platform.python_version()),
        ("kernel", platform.release()),
        ("commit", _commit()),
    ]


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns; all but the first to the right."""
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = [("-" * (width - 1) + ":") if at else "-" * width for at, width in enumerate(widths)]
    return "\n".join(["", f"{title}", "", line(head), line(rule), *(line(row) for row in rows), ""])


def _cpu() -> str:
    for text in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if text.startswith("model name"):
            return text.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """Return the type of the file system `folder` is on."""
    best = ("", "unknown")
    for text in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, mount, kind, *_ = text.split()
        if folder.resolve().is_relative_to(mount) and len(mount) > len(best[0]):
            best = (mount, kind)
    return best[1]


def _commit() -> str:
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip() or "unknown"
