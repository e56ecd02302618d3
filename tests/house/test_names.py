"""What `import statepipe` gives, what it costs, and what the shipped machines may use."""

import ast
import json
import subprocess
import sys
import tomllib
from types import ModuleType

import pytest

import statepipe
from tests.house.repository import ROOT, modules

#: Each costs 15 to 100 ms of start-up, or is an extra that may be missing.
HEAVY = (
    "jsonschema_rs",
    "prometheus_client",
    "pyarrow",
    "rich",
    "sqlite_utils",
    "transitions",
)


def _loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh Python has after `statement`."""
    program = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return set(json.loads(printed))


def test_all_names_what_can_be_imported_and_nothing_else() -> None:
    """The public API is a list in one place, sorted, and true."""
    listed = [name for name in statepipe.__all__ if not name.startswith("__")]
    found = {
        name
        for name in dir(statepipe)
        if not name.startswith("_") and not isinstance(getattr(statepipe, name), ModuleType)
    }

    assert listed, "statepipe exports nothing"
    assert set(listed) == found
    assert list(statepipe.__all__) == sorted(statepipe.__all__)


@pytest.mark.parametrize("statement", ["import statepipe", "import statepipe.cli"])
def test_starting_up_loads_no_heavy_library(statement: str) -> None:
    """`statepipe inspect` answers at once, and an extra that is not installed is not missed."""
    loaded = _loaded_by(statement)

    assert loaded.isdisjoint(HEAVY), f"{statement} loads {sorted(loaded & set(HEAVY))}"


def test_a_shipped_machine_uses_the_public_names_only() -> None:
    """If our own machines need more, so does every author: then it is exported."""
    machines = [module for module in modules() if module.path.parts[0] == "machines"]
    siblings = {module.path.stem for module in machines}
    elsewhere = {
        f"{module.path}: {name}"
        for module in machines
        for node in ast.walk(module.tree)
        for name in _imported(node)
        if name.partition(".")[0] not in sys.stdlib_module_names | siblings
        if name not in {"statepipe", "statepipe.testing"}
    }

    assert not elsewhere


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "."]
    return []


def test_every_exception_of_a_fence_is_a_module_that_exists() -> None:
    """A renamed module would leave the fence with a hole for nobody, unnoticed."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    excepted = {
        exception.partition(" -> ")[0].removesuffix(".**")
        for contract in settings["tool"]["importlinter"]["contracts"]
        for exception in contract.get("ignore_imports", ())
    }
    names = {".".join(module.path.with_suffix("").parts) for module in modules()}

    assert excepted <= names | {name.removesuffix(".__init__") for name in names}
