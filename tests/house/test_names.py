"""What `import statepipe` gives, what it costs, and what the shipped machines may use."""

import ast
import json
import subprocess
import sys
import tomllib
from types import ModuleType

import pytest

import statepipe
from statepipe.cli import COMMANDS
from tests.house.repository import ROOT, modules

#: Each costs 15 to 100 ms of start-up, or is an extra that may be missing.
HEAVY = (
    "apprise",
    "fsspec",
    "httpx2",
    "jsonschema_rs",
    "opentelemetry",
    "prometheus_client",
    "pyarrow",
    "rich",
    "s3fs",
    "sqlalchemy",
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


def _listed() -> list[str]:
    # Through vars: the stub has no __all__, since each line of it says the same.
    return [name for name in vars(statepipe)["__all__"] if not name.startswith("__")]


def test_all_names_what_can_be_imported_and_nothing_else() -> None:
    """The public API is a list in one place, sorted, and true."""
    for name in _listed():
        getattr(statepipe, name)
    ours_by_accident = {
        name
        for name, value in vars(statepipe).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
        if getattr(value, "__module__", "").startswith("statepipe")
    } - set(_listed())

    assert _listed() == sorted(_listed())
    assert not ours_by_accident


def test_a_public_name_comes_from_the_module_that_owns_it() -> None:
    """Its repr, its traceback and its docs then all name the same place."""
    for name in _listed():
        assert getattr(statepipe, name).__module__ == vars(statepipe)["_HOMES"][name]


def test_type_checkers_are_told_the_same_names_as_python() -> None:
    """The stub stands beside a lazy module; what one says and the other does not is a lie."""
    stub = ast.parse((ROOT / "statepipe" / "__init__.pyi").read_text(encoding="utf-8"))
    told = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert told == {name: f"{home}.{name}" for name, home in vars(statepipe)["_HOMES"].items()}


@pytest.mark.parametrize("statement", ["import statepipe", "import statepipe.cli"])
def test_starting_up_loads_no_heavy_library(statement: str) -> None:
    """`statepipe inspect` answers at once, and an extra that is not installed is not missed."""
    loaded = _loaded_by(statement)

    assert loaded.isdisjoint(HEAVY), f"{statement} loads {sorted(loaded & set(HEAVY))}"


def test_only_the_metrics_command_loads_the_library_of_prometheus() -> None:
    """It takes 80 ms; a worker that serves metrics loads it when it does."""
    modules = {module for module, _ in COMMANDS.values()} - {"metrics"}
    imports = ", ".join(f"statepipe.cli.{module}" for module in sorted(modules))

    assert "prometheus_client" not in _loaded_by(f"import {imports}")
    assert "prometheus_client" in _loaded_by("import statepipe.cli.metrics")


def test_a_run_that_tells_nobody_loads_nothing_to_tell_with() -> None:
    """HTTP and TLS cost a short run 40 ms; they are loaded with the first target."""
    loaded = _loaded_by("import statepipe.cli.run, statepipe.cli.resume")

    assert loaded.isdisjoint({"http.client", "ssl", "statepipe.runtime.notices.sender"})


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
