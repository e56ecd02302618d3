"""
From the text "flights:extract" to the author's function, and what kind of task it is.

    resolve     import the function, from exactly the file beside the machine if there is one
    kind_of     "source", "map" or "call", read from the signature alone
    importable  the name of a function that is given as itself
    refuse_missing      see that the module is there, importing nothing

Importing runs the author's module; only text of a machine file that the operator
named reaches `resolve`, never text of a store (R13 of docs/reliability.md).
"""

import collections.abc
import hashlib
import importlib
import importlib.util
import inspect
import sys
import threading
import traceback
import typing
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

from statepipe.errors import DefinitionError
from statepipe.suggest import did_you_mean

Kind = Literal["source", "map", "call"]

_ITERATORS: Final = (
    "Iterator",
    "Iterable",
    "Generator",
    "AsyncIterator",
    "AsyncIterable",
    "AsyncGenerator",
)
#: Tables and streams that speak the Arrow stream interface, by what pyarrow, polars, pandas and
#: DuckDB call them.
_STREAMS: Final = ("Table", "RecordBatchReader", "DataFrame", "DuckDBPyRelation")
#: Parameters of a map: the task and the batch.
_OF_A_MAP: Final = 2

_lock = threading.RLock()
_loaded: dict[Path, ModuleType] = {}


def resolve(ref: str, machines_dir: Path) -> Callable[..., Any]:
    """
    Return the function that `ref` ("module:name") names.

    `machines_dir/<module>.py` is loaded if it exists, and nothing else under that
    name; otherwise the module is imported from `sys.path`, to whose end
    `machines_dir` is added. A module is executed once per process.

    Raises:
        DefinitionError: If `ref` has another form, the module cannot be imported,
            or has no such function.
    """
    module_name, _, qualified = ref.partition(":")
    if not qualified or not all(map(str.isidentifier, f"{module_name}.{qualified}".split("."))):
        raise DefinitionError(
            f'"{ref}" does not name a function',
            meaning="nothing was run",
            next_step='write "module:function", for example "flights:extract"',
        )
    with _lock:
        module = _module(module_name, machines_dir)
    found: Any = module
    for name in qualified.split("."):
        if not hasattr(found, name):
            known = [each for each, value in vars(found).items() if callable(value)]
            raise DefinitionError(
                f'{_place(module)} has no function "{name}"{did_you_mean(name, known)}',
                meaning="nothing was run",
                next_step=f"define {name} there, or correct the machine's file",
            )
        found = getattr(found, name)
    if not callable(found):
        raise DefinitionError(
            f'"{qualified}" in {_place(module)} is {type(found).__name__}, not a function',
            meaning="nothing was run",
            next_step="name a function in the machine's file",
        )
    return typing.cast(Callable[..., Any], found)


def importable(reference: str, *, of: str) -> str:
    """
    Return the name by which a worker process can import a function that is given as itself.

    Raises:
        DefinitionError: It has none; the message says that the function is `of` a state.
    """
    if "<" in reference or reference.startswith("__main__:"):
        raise DefinitionError(
            f"{reference} of {of} cannot be imported by a process",
            meaning="nothing was run or changed",
            next_step='give "module:function", or settings={"executor": "thread"}',
        )
    return reference


def refuse_missing(ref: str, machines_dir: Path) -> None:
    """
    Refuse a function whose module is not there; import nothing, so that looking is cheap.

    Raises:
        DefinitionError: If neither `machines_dir` nor `sys.path` has the module.
    """
    name = ref.partition(":")[0]
    top = name.partition(".")[0]
    if (machines_dir / f"{top}.py").is_file() or (machines_dir / top).is_dir():
        return
    if top in sys.modules or (top.isidentifier() and importlib.util.find_spec(top) is not None):
        return
    raise _no_module(name, machines_dir)


def kind_of(function: Callable[..., Any]) -> Kind:
    """
    Return what kind of task `function` is.

    "map" takes two arguments, a task and a batch; "source" takes the task and is a generator
    (or is annotated to return an iterator, or an Arrow stream); "call" takes the task.

    Raises:
        DefinitionError: If it can be called with neither one argument nor two.
    """
    required, optional = _positional(function)
    if required == _OF_A_MAP:
        return "map"
    if required > _OF_A_MAP or required + optional == 0:
        raise _signature_refused(function, f"it needs {required} arguments")
    return "source" if _yields(function) else "call"


def _positional(function: Callable[..., Any]) -> tuple[int, int]:
    """How many arguments by position must, and may further, be given."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise _signature_refused(function, "its signature cannot be read") from None
    required = optional = 0
    for parameter in parameters:
        has_default = parameter.default is not parameter.empty
        if parameter.kind is parameter.KEYWORD_ONLY:
            if not has_default:
                raise _signature_refused(function, f'it needs the keyword "{parameter.name}"')
        elif parameter.kind is parameter.VAR_POSITIONAL:
            optional += _OF_A_MAP
        elif parameter.kind is not parameter.VAR_KEYWORD:
            required, optional = required + (not has_default), optional + has_default
    return required, optional


def _yields(function: Callable[..., Any]) -> bool:
    plain = inspect.unwrap(function)
    called = plain if inspect.isroutine(plain) else getattr(plain, "__call__", plain)  # noqa: B004 - an object that is called
    if any(
        is_generator(each)
        for each in (plain, called)
        for is_generator in (inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    ):
        return True
    # A plain function that returns an iterator or a stream is a source too; only its
    # annotation can tell before it is called.
    annotation = getattr(plain, "__annotations__", {}).get("return")
    if isinstance(annotation, str):
        return annotation.split("[")[0].rsplit(".")[-1] in _ITERATORS + _STREAMS
    origin = typing.get_origin(annotation) or annotation
    if hasattr(origin, "__arrow_c_stream__"):
        return True
    return origin in [getattr(collections.abc, name) for name in _ITERATORS]


def _signature_refused(function: Callable[..., Any], why: str) -> DefinitionError:
    name = getattr(function, "__qualname__", repr(function))
    return DefinitionError(
        f"{name} cannot be a task: {why}",
        meaning="nothing was run",
        next_step=f"def {name.rsplit('.')[-1]}(task) or def {name.rsplit('.')[-1]}(task, batch)",
    )


def _module(name: str, machines_dir: Path) -> ModuleType:
    folder = machines_dir.resolve()
    # At the end: siblings can be imported, but never in place of an installed module.
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    beside = folder / f"{name}.py"
    if "." not in name and beside.is_file():
        return _from_file(name, beside)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise _no_module(name, folder) from None
        raise _import_failed(name, error) from error
    except Exception as error:
        raise _import_failed(name, error) from error


def _no_module(name: str, folder: Path) -> DefinitionError:
    beside = folder / f"{name}.py"
    files = [path.stem for path in folder.glob("*.py")]
    return DefinitionError(
        f'there is no module "{name}": no {beside}, and nothing of that name is installed'
        f"{did_you_mean(name, files)}",
        meaning="nothing was run",
        next_step=f"write {beside}, or correct the machine's file",
    )


def _from_file(name: str, path: Path) -> ModuleType:
    if path in _loaded:
        return _loaded[path]
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    # A taken name (machines/json.py) stays with its owner; the author's module
    # is still registered, since dataclasses and typing look their module up.
    suffix = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    registered = name if _is_free(name, path) else f"{name}_{suffix}"
    spec = importlib.util.spec_from_file_location(registered, path)
    assert spec is not None, "every .py file has a loader"
    assert spec.loader is not None, "every .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[registered] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(registered, None)
        # sys.exit() at the top of a module must not end the worker.
        if isinstance(error, Exception | SystemExit):
            raise _import_failed(str(path), error) from error
        raise
    _loaded[path] = module
    return module


def _is_free(name: str, path: Path) -> bool:
    """True if nobody else has a claim on `name`, imported already or importable later."""
    if name in sys.modules:
        return False
    spec = importlib.util.find_spec(name)
    return spec is None or spec.origin == str(path)


def _import_failed(what: str, error: BaseException) -> DefinitionError:
    if isinstance(error, SyntaxError) and error.lineno is not None:
        at = f" (line {error.lineno})"
    else:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == what]
        at = f" (line {frames[-1].lineno})" if frames else ""
    return DefinitionError(
        f"{what} cannot be imported: {_said(error)}{at}",
        meaning="nothing was run",
        next_step=f"correct it until `python -c 'import {Path(what).stem}'` works there",
    )


def _said(error: BaseException) -> str:
    """Class and text of an error; its own `__str__` may fail."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - the text is the author's code; the class must do
        return type(error).__name__


def _place(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or f"module {module.__name__}"
