"""
Machines from configuration: one template, and for each machine a file with its values.

    machines/replicate.template.toml    a machine, with "{template.NAME}" where values go
    machines/replicate/orders.toml      the values of the machine `orders`

    template_of     the template that a file of values belongs to
    files_of        the files that make a machine, one or two
    templates, members      the templates in a folder, and a template's files of values
    listed, is_file     files in a folder; whether something is one
    expanded        the machine's table, as if it stood in a file of its own

Both files are TOML and are parsed first; values are put into values, typed, and never text into
TOML. What is "{template.NAME}" and nothing else becomes the value itself, be it a number or a
list; in a longer text it is written out.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from statepipe.errors import DefinitionError
from statepipe.filling import value_of, whole
from statepipe.machine.names import check_name
from statepipe.machine.reading import at, needed, parsed, table_of, text_of
from statepipe.suggest import did_you_mean
from statepipe.tables import known, refusal, there

_SUFFIX: Final = ".template.toml"
_PARAM_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_REFERENCE: Final = re.compile(r"\{template\.([^{}]*)\}")
_TYPES: Final[Mapping[str, type]] = {
    "text": str,
    "int": int,
    "float": float,
    "bool": bool,
    "list": list,
}
#: What can be written out in a longer text.
_WRITTEN_OUT: Final = ("text", "int")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Param:
    """A parameter that a template declares; `default` None: each machine gives a value."""

    name: str
    type: str
    default: Any = None

    def __post_init__(self) -> None:
        if not _PARAM_NAME.fullmatch(self.name):
            raise refusal(
                f'"{self.name}" is not a name for a parameter',
                next_step="a name is a-z, then a-z, 0-9 or _, at most 64 characters",
            )
        if self.type not in _TYPES:
            raise refusal(
                f"type is {self.type!r}{did_you_mean(self.type, _TYPES)}",
                next_step=f"type is one of {', '.join(_TYPES)}",
            )
        if self.default is not None:
            self.refuse_misfit(self.default)

    def refuse_misfit(self, value: object) -> None:
        """Refuse a value of another type; nothing is converted."""
        wanted = (int, float) if self.type == "float" else _TYPES[self.type]
        if not isinstance(value, wanted) or (isinstance(value, bool) and self.type != "bool"):
            raise refusal(
                f"{self.name} is {value!r}, and not of type {self.type}",
                next_step=f"{self.name} = a value of type {self.type}",
            )


def template_of(path: Path) -> Path | None:
    """Return the template that the file of values at `path` belongs to; None if it is none."""
    folder = path.parent
    found = folder.parent / f"{folder.name}{_SUFFIX}"
    return found if folder.name and is_file(found) else None


def files_of(path: Path) -> list[Path]:
    """Return the files that make the machine whose file is at `path`."""
    template = template_of(path)
    return [path] if template is None else [template, path]


def templates(machines_dir: Path) -> list[Path]:
    """Return the templates in a folder, by name."""
    return listed(machines_dir, f"*{_SUFFIX}")


def listed(folder: Path, pattern: str) -> list[Path]:
    """
    Return the files in `folder` that `pattern` fits, sorted; none if it is not there.

    Raises:
        DefinitionError: It cannot be read.
    """
    try:
        # Not Path.glob: before Python 3.13 it finds nothing in a folder that may not be read.
        with os.scandir(folder) as found:
            return sorted(folder / each.name for each in found if fnmatchcase(each.name, pattern))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DefinitionError(
            f"{folder} cannot be read: {error.strerror}",
            meaning="nothing was run, for nobody knows which machines there are",
            next_step=f"ls -ld {folder}   # then the same again",
        ) from error


def is_file(path: Path) -> bool:
    """
    Return whether `path` is a file, or a link to one.

    Raises:
        DefinitionError: Nobody can tell, for its folder may not be searched.
    """
    return there(path) and path.is_file()


def name_of(template: Path) -> str:
    """Return what a template is called, as its folder is."""
    return template.name.removesuffix(_SUFFIX)


def members(template: Path) -> Iterator[Path]:
    """Give a template's files of values, one a machine, by name."""
    for path in listed(template.parent / name_of(template), "*.toml"):
        try:
            check_name("machine", path.stem)
        except DefinitionError:
            continue  # as with files of machines: none can have that name
        if is_file(path):
            yield path


def expanded(template: Path, path: Path) -> dict[str, Any]:
    """
    Return the machine that `template` makes of the values at `path`, as a file would say it.

    Raises:
        DefinitionError: One of the two cannot be read; a parameter is unknown, missing, unused
            or of another type. The file that is to be mended and the key are named.
    """
    with at(str(template)):
        body = parsed(template)
        params = _params(body.pop("template", {}))
        if "machine" in body:
            raise refusal(
                "machine: each machine of a template is called as its file of values is",
                next_step="remove machine",
            )
        _refuse_misused(body, params)
    with at(str(path)):
        values = _values(parsed(path), params, template=template)
    return {"machine": path.stem, **{key: _put(value, values) for key, value in body.items()}}


def _params(table: object) -> dict[str, _Param]:
    with at("template"):
        declared = table_of(None, table)
        known(declared, ("params",))
        needed(declared, ("params",))
        return {
            name: _param(name, value)
            for name, value in table_of("params", declared["params"]).items()
        }


def _param(name: str, value: object) -> _Param:
    with at(f"params.{name}"):
        table: Mapping[str, Any] = (
            {"type": value} if isinstance(value, str) else table_of(None, value)
        )
        known(table, ("type", "default"))
        needed(table, ("type",))
        return _Param(name=name, type=text_of("type", table["type"]), default=table.get("default"))


def _values(
    given: Mapping[str, Any], params: Mapping[str, _Param], *, template: Path
) -> dict[str, Any]:
    for name in given:
        if name not in params:
            raise refusal(
                f"{template.name} has no parameter {name!r}{did_you_mean(name, params)}",
                next_step=f"its parameters are {', '.join(params)}",
            )
    for name, param in params.items():
        if name in given:
            param.refuse_misfit(given[name])
        elif param.default is None:
            raise refusal(
                f"the parameter {name!r} of {template.name} is missing",
                next_step=f"{name} = a value of type {param.type}",
            )
    return {name: given.get(name, param.default) for name, param in params.items()}


def _refuse_misused(body: Mapping[str, Any], params: Mapping[str, _Param]) -> None:
    """Refuse a reference to no parameter, one that cannot be written out, and an unused one."""
    used = set()
    for place, text in _texts(body, ""):
        for name in _REFERENCE.findall(text):
            if name not in params:
                raise refusal(
                    f"{place}: there is no parameter {name!r}{did_you_mean(name, params)}",
                    next_step=f'declare it: [template.params] {name} = "text", or correct it there',
                )
            used.add(name)
            if whole(text, _REFERENCE) is None and params[name].type not in _WRITTEN_OUT:
                raise refusal(
                    f"{place}: {name!r} is of type {params[name].type} and stands in a longer text",
                    next_step=f'write "{{template.{name}}}" alone, or declare it as text',
                )
    if unused := [name for name in params if name not in used]:
        raise refusal(
            f"template.params.{unused[0]}: nothing uses it",
            next_step=f'write "{{template.{unused[0]}}}" where it belongs, or remove it',
        )


def _texts(value: object, place: str) -> Iterator[tuple[str, str]]:
    """Give each text among values, and its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _texts(each, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _texts(each, f"{place}[{number}]")


def _put(value: Any, values: Mapping[str, Any]) -> Any:  # noqa: ANN401  (any TOML value)
    if isinstance(value, Mapping):
        return {key: _put(each, values) for key, each in value.items()}
    if isinstance(value, list):
        return [_put(each, values) for each in value]
    return value_of(value, values, _REFERENCE) if isinstance(value, str) else value
