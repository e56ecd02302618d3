"""
Values of a machine file, read one by one: what is no table, no text, or missing is named.

    parsed          a TOML file as a table
    at              puts a place in front of what is refused inside
    needed          the keys that a table must have
    table_of, text_of, duration_of, names_of, retry_of    a value of that kind
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from statepipe.errors import DefinitionError, NotFound
from statepipe.tables import read, refusal
from statepipe.units import parse_duration_ms


def parsed(path: Path) -> dict[str, Any]:
    """
    Return what the TOML file at `path` says.

    Raises:
        NotFound: There is no such file.
        DefinitionError: It is no TOML, too large, or cannot be read.
    """
    try:
        return read(path, where="", kind="machine file")
    except FileNotFoundError:
        raise NotFound(
            f"there is no file {path}", meaning="nothing was run", next_step=f"write {path}"
        ) from None
    except OSError as error:
        raise refusal(
            f"cannot be read: {error.strerror}", next_step="make it a file that you may read"
        ) from None


@contextmanager
def at(place: str) -> Iterator[None]:
    """Put `place`, a file or a key path, in front of what a refusal says, unless it is there."""
    try:
        yield
    except DefinitionError as error:
        told = error.message.startswith(f"{place}: ")  # a short form is a key of the long one, too
        raise DefinitionError(
            error.message if told else f"{place}: {error.message}",
            meaning=error.meaning,
            next_step=error.next_step,
        ) from None


def needed(table: Mapping[str, Any], keys: Collection[str]) -> None:
    """
    Refuse a table that lacks one of `keys`.

    Raises:
        DefinitionError: It does.
    """
    for key in keys:
        if key not in table:
            raise refusal(f'key "{key}" is missing', next_step=f"{key} = …")


def table_of(key: str | None, value: object) -> Mapping[str, Any]:
    """
    Return `value`, which must be a table.

    Raises:
        DefinitionError: It is none.
    """
    if not isinstance(value, Mapping):
        name = f"{key} is " if key else "is "
        raise refusal(f"{name}{value!r}, not a table", next_step="write { key = value }")
    return value


def text_of(key: str | None, value: object) -> str:
    """
    Return `value`, which must be text.

    Raises:
        DefinitionError: It is none.
    """
    if not isinstance(value, str):
        name = f"{key} is " if key else "is "
        raise refusal(f"{name}{value!r}, not text", next_step='write it in quotes: "…"')
    return value


def duration_of(key: str, value: object) -> int | None:
    """
    Return `value` in milliseconds; None if there is none.

    Raises:
        DefinitionError: It is no duration.
    """
    if value is None:
        return None
    try:
        return parse_duration_ms(text_of(key, value))
    except (ValueError, OverflowError) as error:
        raise refusal(f"{key}: {error}", next_step=f'{key} = "6h"') from None


def names_of(key: str, table: Mapping[str, Any], *, example: str) -> tuple[str, ...]:
    """
    Return the names that `table` has under `key`: one, a list of them, or none.

    Raises:
        DefinitionError: It is neither text nor a list.
    """
    named = table.get(key, [])
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list):
        raise refusal(
            f"{key} is {named!r}, neither a name nor a list of names",
            next_step=f'{key} = "{example}", or {key} = ["{example}", …]',
        )
    return tuple(names)


def retry_of(table: Mapping[str, Any]) -> str | Mapping[str, Any] | None:
    """
    Return what `table` says of retries: the name of a policy, its keys, or nothing.

    Raises:
        DefinitionError: It is neither text nor a table.
    """
    retry = table.get("retry")
    if not isinstance(retry, str | Mapping | None):
        raise refusal(
            f"retry is {retry!r}, neither the name of a policy nor a table",
            next_step='retry = "transient", or retry = { max_attempts = 5 }',
        )
    return retry
