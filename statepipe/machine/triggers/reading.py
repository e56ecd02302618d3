"""
`[triggers.NAME]` of a machine file as triggers.

    triggers_of     all of them
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from statepipe.machine.reading import at, duration_of, needed, table_of, text_of
from statepipe.machine.triggers.arrivals import Arriving
from statepipe.machine.triggers.events import Emitted
from statepipe.machine.triggers.listening import Listens
from statepipe.machine.triggers.schedules import Schedule
from statepipe.machine.triggers.trigger import Trigger
from statepipe.machine.triggers.upstreams import FORMS, After
from statepipe.tables import known, refusal


class _Kind(NamedTuple):
    """The keys that go with the one that says the kind, and what makes it of them."""

    keys: tuple[str, ...]
    made: Callable[[Mapping[str, Any]], Listens]


def triggers_of(value: object) -> tuple[Trigger, ...]:
    """
    Return the triggers of the table `triggers`.

    Raises:
        DefinitionError: With the trigger and the key that is wrong.
    """
    tables = table_of("triggers", value)
    return tuple(_trigger(name, table) for name, table in tables.items())


def _trigger(name: str, value: object) -> Trigger:
    with at(f"triggers.{name}"):
        table = table_of(None, value)
        kinds = [kind for kind in _KINDS if kind in table]
        if len(kinds) != 1:
            known(
                table, (*_KINDS, *(key for kind in _KINDS.values() for key in kind.keys), "params")
            )
            raise refusal(
                f"must have exactly one of {', '.join(_KINDS)}",
                next_step='schedule = "0 3 * * *", or event = "order-ready"',
            )
        kind = _KINDS[kinds[0]]
        known(table, (kinds[0], *kind.keys, "params"))
        return Trigger(
            name=name,
            on=kind.made(table),
            params=table_of("params", table.get("params", {})),
        )


def _schedule(table: Mapping[str, Any]) -> Schedule:
    return Schedule(
        cron=text_of("schedule", table["schedule"]),
        jitter_ms=duration_of("jitter", table.get("jitter")) or 0,
        **{key: table[key] for key in ("tz", "catchup") if key in table},
    )


def _emitted(table: Mapping[str, Any]) -> Emitted:
    return Emitted(event=text_of("event", table["event"]))


def _after(table: Mapping[str, Any]) -> After:
    with at("after"):
        said = table_of(None, table["after"])
        known(said, ("machine", *FORMS))
        needed(said, ("machine",))
        return After(**said)


def _arriving(table: Mapping[str, Any]) -> Arriving:
    return Arriving(
        file=text_of("file", table["file"]),
        stable_ms=duration_of("stable", table.get("stable")),
        marker=table.get("marker"),
        every_ms=duration_of("every", table.get("every", "10s")) or 0,
    )


_KINDS: Final = {
    Schedule.kind: _Kind(("tz", "catchup", "jitter"), _schedule),
    Emitted.kind: _Kind((), _emitted),
    Arriving.kind: _Kind(("stable", "marker", "every"), _arriving),
    After.kind: _Kind((), _after),
}
