"""The rules of docs/contributing.md that a parser can hold, over every Python file."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.repository import ROOT, modules, texts

FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 400

#: Packages whose docstring is about something else: the public names, and the commands.
LISTED_ELSEWHERE = (Path("statepipe/__init__.py"), Path("statepipe/cli/__init__.py"))

#: Put together here, so that this file does not contain what it looks for.
MARKERS = re.compile(r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX"]) + r")\b")
WORKPLACES = re.compile("/(?:" + "|".join(["wo" + "rk", "ro" + "ot"]) + ")/")


def _function_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count from `def` to the last line, the docstring left out: prose is not complexity."""
    first = function.body[0]
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def _names_in(folder: Path) -> set[str]:
    """Return the names of the modules and packages in a package."""
    paths = [module.path for module in modules()]
    below = [path.relative_to(folder) for path in paths if folder in path.parents]
    return {path.parts[0].removesuffix(".py") for path in below} - {"__init__"}


def test_no_function_is_longer_than_a_screen() -> None:
    """A function that needs scrolling has two subjects."""
    long = [
        f"{module.path}:{node.lineno} {node.name} has {lines} lines"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (lines := _function_lines(node)) > FUNCTION_LINES_MAX
    ]

    assert not long, f"over {FUNCTION_LINES_MAX} lines:\n" + "\n".join(long)


def test_no_module_is_longer_than_one_subject() -> None:
    """A module beyond 400 lines is two modules."""
    long = [
        f"{module.path} has {lines} lines"
        for module in modules()
        if (lines := len(module.text.splitlines())) > MODULE_LINES_MAX
    ]

    assert not long, f"over {MODULE_LINES_MAX} lines:\n" + "\n".join(long)


def test_a_package_lists_what_is_in_it() -> None:
    """Its docstring is where one looks first."""
    missing = [
        f"{package.path} does not name {name}"
        for package in modules()
        if package.path.name == "__init__.py" and package.path not in LISTED_ELSEWHERE
        for name in _names_in(package.path.parent)
        if not re.search(rf"\b{name}\b", ast.get_docstring(package.tree) or "")
    ]

    assert not missing, "\n".join(missing)


def test_nothing_is_left_for_later_in_the_text() -> None:
    """What is to be done stands in an issue, where somebody sees it."""
    left = [
        f"{path}:{number} {line.strip()}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if MARKERS.search(line)
    ]

    assert not left, "\n".join(left)


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    """A clone works anywhere, so no file may point at somebody's folders."""
    named = [
        f"{path}:{number} {line.strip()}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if WORKPLACES.search(line)
    ]

    assert not named, "\n".join(named)


@pytest.mark.parametrize("place", ["statepipe/x.py", "machines/x.py", "tests/unit/test_x.py"])
def test_the_linter_asks_every_public_name_for_a_docstring(place: str) -> None:
    """Module, class, method, function and test: ruff's D1 rules are on, in the tests as well."""
    source = "class Shown:\n    def it(self) -> None: ...\n\n\ndef test_it() -> None: ...\n"

    command = f"-m ruff check --no-cache --output-format=concise --stdin-filename {place} -"
    told = subprocess.run(
        [sys.executable, *command.split()],
        cwd=ROOT,
        input=source,
        capture_output=True,
        check=False,
        text=True,
    ).stdout

    assert {"D100", "D101", "D102", "D103"} <= set(re.findall(r"\bD1\d\d\b", told)), told


def test_every_rule_we_switch_off_has_its_reason_beside_it() -> None:
    """All rules are on; whoever ignores one says why, in the same line."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lint = tomllib.loads(text)["tool"]["ruff"]["lint"]
    ignored = [
        *lint["ignore"],
        *(code for codes in lint["per-file-ignores"].values() for code in codes),
    ]

    assert lint["select"] == ["ALL"]
    for code in ignored:
        assert re.search(rf'^  "{code}", +# \S', text, flags=re.MULTILINE), f"{code}: why?"


def test_no_import_hides_behind_type_checking() -> None:
    """A block that only type checkers see hides a circle from everybody else."""
    hidden = [
        f"{module.path}:{node.lineno}"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]

    assert not hidden, "\n".join(hidden)
