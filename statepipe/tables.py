"""
Tables of TOML files, read key by key: what is no table, or unknown, is named.

    read        what a TOML file says
    there       whether there is anything at a path
    table       the table under a key; the empty one if there is none
    known       refuses a key that is none of those there are
    refusal     the error for settings, or a definition, that are wrong
"""

import codecs
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from statepipe.errors import DefinitionError
from statepipe.suggest import did_you_mean

FILE_BYTES_MAX: Final = 1_000_000

_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


def read(path: Path, *, where: str, kind: str) -> dict[str, Any]:
    """
    Return what the TOML file at `path` says.

    Args:
        path: The file.
        where: What stands before each message: the file, or nothing.
        kind: What it should be, such as "machine file".

    Raises:
        OSError: It cannot be read.
        DefinitionError: It is no TOML, or too large.
    """
    with path.open("rb") as file:
        data = file.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise refusal(
            f"{where}is larger than {FILE_BYTES_MAX:,} bytes", next_step=f"is this a {kind}?"
        )
    if data.startswith(codecs.BOM_UTF8):
        raise refusal(
            f"{where}begins with a byte order mark (BOM), which TOML does not allow",
            next_step='save it as "UTF-8", not as "UTF-8 with BOM"',
        )
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise refusal(f"{where}is not UTF-8 (line {line})", next_step="save it as UTF-8") from None
    except RecursionError:
        raise refusal(f"{where}is nested too deep", next_step=f"is this a {kind}?") from None
    except ValueError as error:
        raise refusal(f"{where}is not TOML: {error}", next_step="correct it there") from None


def there(path: Path) -> bool:
    """
    Return whether there is anything at `path`, be it a link that leads nowhere.

    Raises:
        DefinitionError: Nobody can tell: a folder on the way may not be searched, for example.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise refusal(
            f"whether there is a {path} cannot be seen: {error.strerror}",
            next_step=f"namei -l {path}   # then the same again",
        ) from error
    return True


def table(values: Mapping[str, Any], key: str, *, where: str) -> Mapping[str, Any]:
    """
    Return the table that `values` has under `key`, the empty one if there is none.

    Raises:
        DefinitionError: It is no table.
    """
    found = values.get(key, _EMPTY)
    if not isinstance(found, Mapping):
        raise refusal(f"{where}: {key} is {found!r}, not a table", next_step=f"write [{key}]")
    return found


def known(values: Mapping[str, Any], keys: Collection[str], *, where: str = "") -> None:
    """
    Refuse a key that is none of `keys`; `where` is put in front of the message.

    Raises:
        DefinitionError: With the nearest of them, and all of them.
    """
    for key in values:
        if key not in keys:
            raise refusal(
                f'{where and f"{where}: "}unknown key "{key}"{did_you_mean(key, keys)}',
                next_step=f"the keys here are {', '.join(keys)}",
            )


def refusal(message: str, *, next_step: str) -> DefinitionError:
    """Return the error for what somebody wrote: what is wrong, and what to write instead."""
    return DefinitionError(message, meaning="nothing was run", next_step=next_step)
