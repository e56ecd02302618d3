"""
The kind of trigger that listens to an event, whoever emits it.

    KIND            position: the number of the last emit that was decided upon
    occasion_of     the occasion that an emit is

The first emit of an event and key is a row that stays, so nothing is lost while nobody looks;
the key of an occasion is the key of the event.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from statepipe.machine.triggers.cron import local
from statepipe.machine.triggers.events import Emitted
from statepipe.runtime.triggers.kinds import Asked, Due, Kind, Occasion
from statepipe.store.codec import decode
from statepipe.store.triggers.deciding import GROUP
from statepipe.store.walk import emissions
from statepipe.store.walk.emissions import Row


def occasion_of(event: str, key: str, params: Mapping[str, Any], *, at_ms: int) -> Occasion:
    """Return the occasion that the emit of an event is for whoever listens to it."""
    facts = {"event.name": event, "event.key": key, "event.at": local(at_ms, "UTC")}
    given = {f"event.params.{name}": value for name, value in params.items()}
    return Occasion(key, given | facts)


def _begin(asked: Asked) -> int:
    return emissions.newest(asked.connection)


def _look(asked: Asked, position: int) -> Due:
    rows = emissions.since(asked.connection, _event(asked), after=position, most=asked.most)
    return Due(
        [_occasion(row) for row in rows],
        position=rows[-1].n if rows else position,
        look_at_ms=asked.now_ms if len(rows) == asked.most else None,
    )


def _between(asked: Asked, from_ms: int, until_ms: int | None) -> Iterator[Occasion]:
    after = 0
    if asked.connection is None:  # nothing was ever emitted
        return
    while rows := emissions.since(asked.connection, _event(asked), after=after, most=GROUP):
        for row in rows:
            if from_ms <= row.at_ms and (until_ms is None or row.at_ms <= until_ms):
                yield _occasion(row)
        after = rows[-1].n


def _occasion(row: Row) -> Occasion:
    return occasion_of(row.event, row.key, decode(row.params), at_ms=row.at_ms)


def _event(asked: Asked) -> str:
    emitted = asked.trigger.on
    assert isinstance(emitted, Emitted)
    return emitted.event


KIND: Final = Kind(begin=_begin, look=_look, between=_between)
