"""
`[resources.NAME]` of `statepipe.toml`: what outside can be used only so much.

    Resource            one of them, complete
    resource_fields     what people write in one table, as fields of a Resource
    merged_resources    the tables of all levels as Resources; an overlay wins key by key
    refuse_unknown      names of resources that nobody has declared
    held_back           which of the resources of a state a server's Retry-After is about
    staged_bytes        `staged_max = "10GB"`, beside the tables: room for staged batches

    slots = 4           # attempts at once, over all processes of the store
    rate  = "10/s"      # permits, evenly: one each 100 ms
    burst = 5           # so many at once after a silence; 1 if it is not said

How a resource is shared is the subject of `store.resources`, who waits for it that of
`runtime.permits`.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from statepipe.suggest import did_you_mean
from statepipe.tables import known, refusal
from statepipe.units import Rate, parse_rate, parse_size

SLOTS_MAX: Final = 100_000
BURST_MAX: Final = 100_000

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_US_A_MS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """
    Something outside that can be used only so much.

    Attributes:
        name: What machine files call it.
        slots: Attempts that may use it at once, 1..100,000; None for any number.
        rate: Permits in a time; None for any number.
        burst: Permits that may come at once after a silence, 1..100,000. In any time there are
            never more than the rate gives, and `burst` besides.
    """

    name: str
    slots: int | None = None
    rate: Rate | None = None
    burst: int = 1

    @property
    def pause_us(self) -> int:
        """Microseconds from one permit to the next, rounded up; 0 without a rate."""
        if self.rate is None:
            return 0
        return -(-self.rate.per_ms * _US_A_MS // self.rate.n)

    def __str__(self) -> str:
        said = [] if self.slots is None else [f"slots = {self.slots:,}"]
        if self.rate is not None:
            said.append(f"rate = {self.rate}")
        if self.burst > 1:
            said.append(f"burst = {self.burst:,}")
        return ", ".join(said)


def resource_fields(values: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """
    Return people's `values` as fields of a Resource, by field name; only what they say.

    Args:
        values: One table `[resources.NAME]`.
        where: Names the table in error messages.

    Raises:
        DefinitionError: If a key is unknown, or a value of the wrong kind or range.
    """
    known(values, _KEYS, where=where)
    return {key: _KEYS[key](f"{where}: {key}", value) for key, value in values.items()}


def merged_resources(
    levels: Iterable[Mapping[str, Mapping[str, Any]]], *, where: str
) -> dict[str, Resource]:
    """
    Return the resources by name, from their fields at each level, the weakest level first.

    Raises:
        DefinitionError: If a name is none, or a resource says nothing.
    """
    tables: dict[str, dict[str, Any]] = {}
    for level in levels:
        for name, fields in level.items():
            tables.setdefault(name, {}).update(fields)
    for name, table in tables.items():
        if not _NAME.fullmatch(name):
            raise refusal(
                f"{where}: resources: {name!r} is not a name",
                next_step="a name is a-z, then a-z, 0-9, - or _, at most 64 characters",
            )
        if "slots" not in table and "rate" not in table:
            raise refusal(
                f"{where}: resources.{name} has neither slots nor rate: it would limit nothing",
                next_step='slots = 4, or rate = "10/s"',
            )
        if "burst" in table and "rate" not in table:
            raise refusal(
                f"{where}: resources.{name} has a burst and no rate", next_step='rate = "10/s"'
            )
    return {name: Resource(name=name, **table) for name, table in tables.items()}


def refuse_unknown(named: Iterable[str], resources: Collection[str], *, where: str) -> None:
    """
    Refuse a name that is no resource: what it stands for would be used without a limit.

    Args:
        named: What `where` names.
        resources: All that there are.
        where: Names the place in error messages.

    Raises:
        DefinitionError: If there is one.
    """
    for name in named:
        if name not in resources:
            raise refusal(
                f'{where}: uses: there is no resource "{name}"{did_you_mean(name, resources)}',
                next_step=f"add [resources.{name}] with slots or rate to statepipe.toml",
            )


def held_back(uses: Sequence[Resource]) -> list[Resource]:
    """
    Return what a server means that asks users of these resources to stay away for a while.

    That is the one resource there is, or those that have a rate; among several that only
    have slots nobody can tell, and none is held back.
    """
    rated = [each for each in uses if each.rate is not None]
    return rated or (list(uses) if len(uses) == 1 else [])


def staged_bytes(value: object, *, where: str) -> int | None:
    """
    Return `staged_max` in bytes; None if it is not said.

    Raises:
        DefinitionError: It is no size of at least a byte.
    """
    if value is None:
        return None
    try:
        size = parse_size(value if isinstance(value, str) else repr(value))
    except ValueError as error:
        raise refusal(f"{where}staged_max: {error}", next_step='staged_max = "10GB"') from None
    if size < 1:
        raise refusal(f"{where}staged_max is nothing", next_step='staged_max = "10GB"')
    return size


def _read_count(most: int) -> Callable[[str, object], int]:
    def read(key: str, value: object) -> int:
        if type(value) is not int or not 1 <= value <= most:
            raise refusal(
                f"{key} is {value!r}, not a whole number from 1 to {most:,}", next_step="4"
            )
        return value

    return read


def _read_rate(key: str, value: object) -> Rate:
    try:
        return parse_rate(value if isinstance(value, str) else repr(value))
    except ValueError as error:
        raise refusal(f"{key}: {error}", next_step='rate = "10/s"') from None


_KEYS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "slots": _read_count(SLOTS_MAX),
    "rate": _read_rate,
    "burst": _read_count(BURST_MAX),
}
