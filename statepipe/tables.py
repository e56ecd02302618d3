"""
Tables of `statepipe.toml`, read key by key: what is no table, or unknown, is named.

    table       the table under a key; the empty one if there is none
    known       refuses a key that is none of those there are
    refusal     the error for settings that are wrong
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from statepipe.errors import DefinitionError
from statepipe.suggest import did_you_mean

_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


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


def known(values: Mapping[str, Any], keys: Collection[str], *, where: str) -> None:
    """
    Refuse a key that is none of `keys`.

    Raises:
        DefinitionError: With the nearest of them, and all of them.
    """
    for key in values:
        if key not in keys:
            raise refusal(
                f'{where}: unknown key "{key}"{did_you_mean(key, keys)}',
                next_step=f"the keys here are {', '.join(keys)}",
            )


def refusal(message: str, *, next_step: str) -> DefinitionError:
    """Return the error for settings that are wrong: what is, and what to write instead."""
    return DefinitionError(message, meaning="nothing was run", next_step=next_step)
