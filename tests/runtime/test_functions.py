"""From "module:function" to the function: exactly the author's file, and its kind of task."""

import functools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from statepipe.errors import DefinitionError
from statepipe.runtime.tasks.functions import kind_of, resolve


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a test does to sys.path; its modules have names of their own."""
    monkeypatch.setattr(sys, "path", list(sys.path))


def written(folder: Path, name: str, text: str) -> Path:
    """Write a module of the author."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_file_beside_the_machine_is_loaded_and_run_once(tmp_path: Path) -> None:
    """Two functions of a module share what the module holds."""
    written(
        tmp_path, "shop_a", "seen = []\ndef one(task): return seen\ndef two(task): return seen\n"
    )

    one, two = (resolve(f"shop_a:{name}", tmp_path) for name in ("one", "two"))

    assert one(None) is two(None)
    assert sys.modules["shop_a"].__file__ == str(tmp_path / "shop_a.py")


def test_a_module_may_be_called_like_one_that_is_installed(tmp_path: Path) -> None:
    """The author's json.py is used for the machine, and only there."""
    json = sys.modules["json"]
    written(
        tmp_path,
        "json",
        "import dataclasses\n@dataclasses.dataclass\nclass Row:\n    n: 'int'\n"
        "def extract(task): return Row(1)\n",
    )

    function = resolve("json:extract", tmp_path)

    assert function(None).n == 1
    assert sys.modules["json"] is json


def test_a_name_is_taken_before_its_owner_is_imported(tmp_path: Path) -> None:
    """Whoever imports the standard module later still gets the standard module."""
    assert "colorsys" not in sys.modules
    written(tmp_path, "colorsys", "def extract(task): return task\n")

    assert resolve("colorsys:extract", tmp_path)(3) == 3
    assert "colorsys" not in sys.modules


def test_two_folders_may_have_a_module_of_one_name(tmp_path: Path) -> None:
    """Each machine gets the one beside it."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        written(tmp_path / folder, "shop_b", f"def f(task): return {folder!r}\n")

    assert [resolve("shop_b:f", tmp_path / folder)(None) for folder in ("a", "b", "a")] == [
        "a",
        "b",
        "a",
    ]


def test_siblings_can_be_imported_but_never_hide_what_is_installed(tmp_path: Path) -> None:
    """The folder is at the end of sys.path, once."""
    written(tmp_path, "shop_helper", "VALUE = 7\n")
    written(tmp_path, "shop_c", "import shop_helper\ndef f(task): return shop_helper.VALUE\n")

    assert resolve("shop_c:f", tmp_path)(None) == 7
    resolve("shop_c:f", tmp_path)
    assert sys.path[-1] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


def test_a_sibling_that_was_imported_is_not_run_again(tmp_path: Path) -> None:
    """The module a sibling imported is the module whose function is named."""
    written(tmp_path, "shop_rates", "def f(task): return f\n")
    written(tmp_path, "shop_k", "import shop_rates\ndef f(task): return shop_rates.f\n")

    assert resolve("shop_k:f", tmp_path)(None) is resolve("shop_rates:f", tmp_path)


def test_modules_of_a_package_beside_the_machine_can_be_named(tmp_path: Path) -> None:
    """And one that fails is told by its cause."""
    package = tmp_path / "shop_pkg"
    package.mkdir()
    written(package, "__init__", "")
    written(package, "good", "def f(task): return 1\n")
    written(package, "bad", "1 / 0\n")
    written(package, "lacking", "import gone_y\n")

    assert resolve("shop_pkg.good:f", tmp_path)(None) == 1
    with pytest.raises(DefinitionError, match=r"shop_pkg\.bad cannot be imported: ZeroDivision"):
        resolve("shop_pkg.bad:f", tmp_path)
    with pytest.raises(DefinitionError, match="No module named 'gone_y'"):
        resolve("shop_pkg.lacking:f", tmp_path)
    with pytest.raises(DefinitionError, match=r'there is no module "shop_pkg\.none"'):
        resolve("shop_pkg.none:f", tmp_path)


def test_an_interrupt_while_a_module_is_loaded_is_an_interrupt(tmp_path: Path) -> None:
    """Ctrl-C is no mistake of the machine."""
    written(tmp_path, "shop_l", "raise KeyboardInterrupt\n")

    with pytest.raises(KeyboardInterrupt):
        resolve("shop_l:f", tmp_path)
    assert "shop_l" not in sys.modules


def test_an_installed_module_and_a_nested_name_can_be_named(tmp_path: Path) -> None:
    """For tasks that ship in a package."""
    assert resolve("posixpath:join", tmp_path)("a", "b") == "a/b"
    assert resolve("os.path:join", tmp_path)("a", "b") == "a/b"
    assert resolve("pathlib:Path.exists", tmp_path) is Path.exists


@pytest.mark.parametrize(
    ("ref", "text", "said"),
    [
        (
            "shop_d:extrct",
            "def extract(task): ...",
            'no function "extrct"; did you mean "extract"?',
        ),
        ("shop_e:VALUE", "VALUE = 3", '"VALUE" in {path} is int, not a function'),
        ("shop_f:f", "def f(:", "{path} cannot be imported: SyntaxError: "),
        ("shop_g:f", "x = 1\nboom\n", "NameError: name 'boom' is not defined (line 2)"),
        (
            "shop_h:f",
            "import sys\nsys.exit(3)\n",
            "cannot be imported: SystemExit: 3 (line 2)",
        ),
        ("shop_i:f", "import gone_x\n", "ModuleNotFoundError: No module named 'gone_x' (line 1)"),
        (
            "shop_j:f",
            "class E(Exception):\n  __str__ = None\nraise E\n",
            "cannot be imported: E (line 3)",
        ),
        ("shop_kk:f", "", '{path} has no function "f"'),
    ],
)
def test_what_cannot_be_loaded_is_named(tmp_path: Path, ref: str, text: str, said: str) -> None:
    """File, function, line and cause; the worker lives on, and no half module is kept."""
    name = ref.split(":", maxsplit=1)[0]
    path = written(tmp_path, name, text)

    for _again in range(2):
        with pytest.raises(DefinitionError) as refusal:
            resolve(ref, tmp_path)
        assert said.format(path=path) in refusal.value.message


def test_a_module_that_is_nowhere_names_the_file_and_the_nearest(tmp_path: Path) -> None:
    """The path that was looked at, and what lies beside it."""
    written(tmp_path, "flights_x", "")

    with pytest.raises(DefinitionError) as refusal:
        resolve("flight_x:extract", tmp_path)

    assert refusal.value.message == (
        f'there is no module "flight_x": no {tmp_path / "flight_x.py"}, and nothing of that name'
        ' is installed; did you mean "flights_x"?'
    )


@pytest.mark.parametrize("ref", ["f", "a:", ":f", "a/b:f", "../a:f", "a b:f", "a:f()", "", "a:b:c"])
def test_only_a_module_and_a_name_can_be_referred_to(tmp_path: Path, ref: str) -> None:
    """No path, no expression."""
    with pytest.raises(DefinitionError, match="does not name a function"):
        resolve(ref, tmp_path)


def source(task: object) -> Iterator[object]:
    """Yield."""
    yield task


async def async_source(task: object) -> AsyncIterator[object]:
    """Yield, sometimes."""
    yield task


def lazy(task: object) -> Iterator[object]:
    """Return an iterator without being a generator."""
    return iter([task])


def quoted(task: object) -> "Iterator[object]":
    """Say so in quotes."""
    return iter([task])


def streamed(task: object) -> pa.RecordBatchReader:
    """Return an Arrow stream."""
    return task


def streamed_in_words(task: object) -> "polars.DataFrame":  # type: ignore[name-defined]  # noqa: F821  (a name that is not there is what is tested)
    """Name the class of a library that is not even here."""
    return task


def mapped(task: object, batch: object) -> object:
    """Take a batch."""
    return task, batch


def called(task: object) -> list[object]:
    """Return plain data."""
    return [task]


async def async_called(task: object, *, loud: bool = False, **_more: object) -> bool:
    """Return, sometimes."""
    return bool(task) or loud


def tuned(task: object, limit: int = 3) -> object:
    """Have a default that nobody need give."""
    return limit or task


@functools.wraps(source)
def wrapped(*args: object) -> object:
    """Hide a source behind a decorator, as retry and timing decorators do."""
    return source(*args)


class Extractor:
    """Objects that are called."""

    def __call__(self, task: object) -> Iterator[object]:
        """Yield."""
        yield task

    def method(self, task: object, batch: object) -> object:
        """Take a batch."""
        return self, task, batch


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (source, "source"),
        (async_source, "source"),
        (lazy, "source"),
        (quoted, "source"),
        (streamed, "source"),
        (streamed_in_words, "source"),
        (functools.partial(mapped, 1), "call"),
        (functools.partial(source), "source"),
        (wrapped, "source"),
        (Extractor(), "source"),
        (Extractor().method, "map"),
        (mapped, "map"),
        (called, "call"),
        (async_called, "call"),
        (tuned, "call"),
        (lambda *args: args, "call"),
    ],
    ids=map(str, range(16)),
)
def test_the_kind_of_a_task_is_read_from_its_signature(
    function: Callable[..., Any], kind: str
) -> None:
    """One parameter and a generator, two parameters, or anything else."""
    assert kind_of(function) == kind


class Unreadable:
    """Has a signature that cannot be read."""

    __signature__ = 3

    def __call__(self) -> None:
        """Do nothing."""


def nothing() -> None:
    """Take nothing."""


def three(task: object, batch: object, more: object) -> None:
    """Take too much."""


def keyword(task: object, *, loud: bool) -> None:
    """Need a keyword."""


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (nothing, "nothing cannot be a task: it needs 0 arguments"),
        (three, "three cannot be a task: it needs 3 arguments"),
        (Unreadable(), "cannot be a task: its signature cannot be read"),
        (keyword, 'keyword cannot be a task: it needs the keyword "loud"'),
    ],
)
def test_a_function_that_cannot_be_called_as_a_task_is_refused(
    function: Callable[..., Any], why: str
) -> None:
    """Before anything is run, with the two forms it may have."""
    with pytest.raises(DefinitionError, match=why) as refusal:
        kind_of(function)

    assert refusal.value.next_step.startswith("def ")
