"""
What the house tests look at: the files of this repository.

    ROOT            the top of the checkout
    files()         every file that is or would be committed
    texts()         those of them that are text, with their content
    modules()       the Python ones, parsed
"""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Module(NamedTuple):
    """One Python file: its path from the top, its text, its syntax tree."""

    path: Path
    text: str
    tree: ast.Module


@cache
def files() -> tuple[Path, ...]:
    """Return the paths, from the top, of all files that git has or would take."""
    # safe.directory: CI may own the checkout by another user than it runs as.
    command = "git -c safe.directory=* ls-files -z --cached --others --exclude-standard"
    listing = subprocess.run(
        command.split(),
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = sorted({Path(name) for name in listing.split("\0") if name})
    return tuple(path for path in paths if (ROOT / path).is_file())


def texts() -> Iterator[tuple[Path, str]]:
    """Yield path and content of every text file; data files are not ours to judge."""
    for path in files():
        if path.suffix in {".csv", ".db", ".parquet"}:
            continue
        try:
            yield path, (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


@cache
def modules() -> tuple[Module, ...]:
    """Return every Python file of the package, the machines and the tests."""
    return tuple(
        Module(path, text, ast.parse(text, filename=str(path)))
        for path, text in texts()
        if path.suffix == ".py"
    )
