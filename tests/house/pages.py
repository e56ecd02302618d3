"""
The examples of a page, played in order as a reader would.

    Block           one fenced block: its language, what stands after it, its text
    blocks          all blocks of a page
    play            write the files, run the programs, type the commands

What stands after the language says what a block is:

    ```toml machines/orders.toml    a file of that path; so are python, json and csv blocks
    ```toml fragment                a part of something: only parsed
    ```python                       a program, run in the folder
    ```console                      commands after `$`, and what they print; `…` is anything,
                                    and `# exits 1` says that a command is to fail
"""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

_FENCE = re.compile(r"^```(\w+)?(?: ([^\n]+))?\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_EXITS = re.compile(r"# exits (\d+)$")

#: What reads a part of a file without running it.
PARSERS: dict[str, Callable[[str], Any]] = {
    "toml": tomllib.loads,
    "python": ast.parse,
    "json": json.loads,
}


class Block(NamedTuple):
    """One fenced block of a page."""

    language: str
    argument: str
    text: str

    @property
    def is_file(self) -> bool:
        """True if it is the content of a file."""
        return "." in self.argument

    @property
    def is_fragment(self) -> bool:
        """True if its page says that it is only a part of something."""
        return self.argument == "fragment"


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page, given as text, in order."""
    return [
        Block(language or "", argument or "", text)
        for language, argument, text in _FENCE.findall(page)
    ]


def play(page: str, folder: Path) -> None:
    """Do in `folder` what the page's examples say; AssertionError if one does not hold."""
    for block in blocks(page):
        if block.is_file:
            path = folder / block.argument
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            _type_in(block.text, folder)
        elif block.language == "python" and not block.is_fragment:
            done = _run([sys.executable, "-c", block.text], folder)
            assert done.returncode == 0, f"{block.text}\n{done.stdout}{done.stderr}"
        elif block.language in PARSERS:
            assert block.is_fragment, f"neither a file nor marked as a fragment:\n{block.text}"
            PARSERS[block.language](block.text)


def _type_in(text: str, folder: Path) -> None:
    _, *commands = re.split(r"^\$ ", text, flags=re.MULTILINE)
    assert commands, f"no command after a $:\n{text}"
    for each in commands:
        command, _, printed = each.partition("\n")
        exits = _EXITS.search(command)
        done = _run(["sh", "-c", command], folder)
        said = done.stdout + done.stderr
        assert done.returncode == (int(exits[1]) if exits else 0), f"{command}\n{said}"
        _compare(printed.splitlines(), said, command)


def _compare(documented: list[str], said: str, command: str) -> None:
    """Find each documented line among those that were printed, in their order."""
    rest = iter(said.splitlines())
    for line in filter(None, map(str.rstrip, documented)):
        pattern = re.escape(line).replace("…", ".*")
        assert any(re.fullmatch(pattern, each.rstrip()) for each in rest), (
            f"{command}\nshould print: {line}\nprinted:\n{said}"
        )


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if "STATEPIPE" not in key}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
