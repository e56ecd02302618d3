"""
The task of a state that judges records: by which contract, and how many may break it.

    Validate    the task itself
    Older       an older version of the contract that is accepted as well
    exceeds     were more rejected than may be?

A contract has a version if its file says so: `contracts/order@2.json`. Older versions lie
beside it. A record that keeps an older one is brought to the next accepted version by the
author's function for it, and so on to the contract itself, which then judges it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from statepipe.machine.names import check_contract, check_limit, is_function_name
from statepipe.tables import refusal
from statepipe.units import parse_share

VERSIONS_MAX: Final = 100

_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_VERSIONED = re.compile(r"(.+)@([1-9][0-9]{0,8})\.json", re.ASCII)


class Older(NamedTuple):
    """An accepted version below the contract's own."""

    version: int
    contract: str  # path of its schema
    upcast: tuple[str, ...]  # the functions that lead from it to the contract's own, in order


@dataclass(frozen=True, slots=True, kw_only=True)
class Validate:
    """
    Judge the records of a batch by a contract; rejected ones go to quarantine.

    Attributes:
        contract: Path of a JSON Schema, relative to the folder of the machines; "…@2.json"
            is version 2.
        accepts: The versions that are accepted, the contract's own included; () for it alone.
        upcast: By each older accepted version, the function ("module:name") that makes a
            record of the next accepted version from one of it.
        max_rejects: How many of the records that a stay reads may be rejected: a number, or
            a share of them such as "5%". If more are, the state ends in the event `invalid`
            and not in `ok`. None for no limit; 0 if only `on.invalid` is said.
    """

    contract: str
    accepts: Sequence[int] = ()
    upcast: Mapping[int, str] = field(default_factory=dict)
    max_rejects: int | str | None = None

    def __post_init__(self) -> None:
        """Refuse what names no contract, versions that lead nowhere, and a limit that is none."""
        check_contract(self.contract)
        if self.max_rejects is not None:
            check_limit("max_rejects", self.max_rejects, of="records")
        accepts, upcast = _versions(self.accepts), _upcasters(self.upcast)
        object.__setattr__(self, "accepts", accepts)
        object.__setattr__(self, "upcast", MappingProxyType(upcast))
        if accepts:
            self._check_versions()
        elif upcast:
            raise refusal(
                "upcast says what to do with older versions, and accepts names none",
                next_step="accepts = [1, 2]",
            )

    @property
    def older(self) -> tuple[Older, ...]:
        """The accepted versions below the contract's own, newest first."""
        found = _VERSIONED.fullmatch(self.contract)
        if found is None or not self.accepts:
            return ()
        below = [version for version in self.accepts if version < int(found[2])]
        return tuple(
            Older(
                version=version,
                contract=f"{found[1]}@{version}.json",
                upcast=tuple(self.upcast[each] for each in below if each >= version),
            )
            for version in reversed(below)
        )

    @property
    def contracts(self) -> tuple[str, ...]:
        """The paths of all schemas it needs, the contract's own first."""
        return (self.contract, *(each.contract for each in self.older))

    def _check_versions(self) -> None:
        found = _VERSIONED.fullmatch(self.contract)
        if found is None:
            raise refusal(
                f'accepts names versions, and contract "{self.contract}" has none',
                next_step='name the file with its version: contract = "contracts/order@2.json"',
            )
        own = int(found[2])
        if own != max(self.accepts):
            raise refusal(
                f"accepts is {list(self.accepts)}, and the contract is version {own}",
                next_step=f"accept version {own} and versions below it",
            )
        older = set(self.accepts) - {own}
        for version in sorted(older.symmetric_difference(self.upcast)):
            if version in older:
                raise refusal(
                    f"version {version} is accepted, and nothing makes its records newer",
                    next_step=f'upcast = {{ "{version}" = "module:function" }}',
                )
            raise refusal(
                f"upcast has version {version}, which is not an older one that is accepted",
                next_step=f"remove it, or accept version {version}",
            )


def exceeds(rejected: int, max_rejects: int | str, *, read: int) -> bool:
    """
    Return True if more records were rejected than may be.

    Args:
        rejected: How many were, from 0.
        max_rejects: As in `Validate`.
        read: How many were read; none of none is never too many.
    """
    if isinstance(max_rejects, int):
        return rejected > max_rejects
    return rejected > parse_share(max_rejects) * read


def _versions(accepts: object) -> tuple[int, ...]:
    if not isinstance(accepts, list | tuple) or not all(type(each) is int for each in accepts):
        raise refusal(
            f"accepts is {accepts!r}, not a list of versions", next_step="accepts = [1, 2]"
        )
    if len(set(accepts)) != len(accepts) or len(accepts) > VERSIONS_MAX:
        raise refusal(
            f"accepts names a version twice, or more than {VERSIONS_MAX} of them",
            next_step="accepts = [1, 2]",
        )
    return tuple(sorted(accepts))


def _upcasters(upcast: object) -> dict[int, str]:
    example = 'upcast = { "1" = "orders:from_v1" }'
    if not isinstance(upcast, Mapping):
        raise refusal(f"upcast is {upcast!r}, not a table", next_step=example)
    found: dict[int, str] = {}
    for key, function in upcast.items():
        version = str(key)
        if not _NUMBER.fullmatch(version):
            raise refusal(f"upcast: {key!r} is not a version", next_step=example)
        if not isinstance(function, str) or not is_function_name(function):
            raise refusal(f"upcast: {function!r} does not name a function", next_step=example)
        found[int(version)] = function
    return dict(sorted(found.items()))
