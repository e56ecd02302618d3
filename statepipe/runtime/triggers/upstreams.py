"""
The kind of trigger that listens to what another machine has done.

    KIND    position: the number of the last dataset that was decided upon; of "latest" its key
            as well, of a watermark the last period that it had passed

What is done is a row of the store, in the commit of its end, and what is done again moves to
the end of them: so nothing is lost while nobody looks, and nothing is told by a clock. The key
of an occasion is that of the partition, group or period, or the id of the instance: each exists
once, however often it is done.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from statepipe.machine.triggers.periods import begin_of, parts_of, period_of
from statepipe.machine.triggers.upstreams import After
from statepipe.runtime.triggers import passing
from statepipe.runtime.triggers.kinds import Asked, Due, Kind, Occasion
from statepipe.store.codec import decode
from statepipe.store.triggers import arrivals
from statepipe.store.triggers.arrivals import ALL, Done
from statepipe.store.triggers.deciding import GROUP
from statepipe.units import plural


@dataclass(frozen=True, slots=True)
class _Later:
    """A partition's key, in the order of partitions: numbers by number, moments as text."""

    key: str

    def __lt__(self, other: "_Later") -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[int, str]:
        is_number = self.key.lstrip("-").isdecimal()
        return (int(self.key), "") if is_number else (0, self.key)


def after_of(asked: Asked) -> After:
    """Return what the trigger listens to."""
    after = asked.trigger.on
    assert isinstance(after, After)
    return after


def _begin(asked: Asked) -> Any:  # noqa: ANN401  (plain JSON)
    after, connection = after_of(asked), asked.connection
    if after.watermark is not None:
        return passing.begin(after, asked)
    n = arrivals.newest(connection)
    if after.partition != "latest":
        return n
    keys = arrivals.keys(connection, after.machine)
    return {"n": n, "key": max(keys, key=_Later, default=None)}


def _look(asked: Asked, position: Any) -> Due:  # noqa: ANN401  (plain JSON)
    after, connection = after_of(asked), asked.connection
    if after.watermark is not None:
        return passing.look(after, asked, position)
    n = position["n"] if isinstance(position, dict) else position
    kind = "partition" if after.covers else after.form
    is_latest = after.partition == "latest"
    # Of a period's partitions only the last one found makes an occasion: many are looked at.
    most = ALL if is_latest else GROUP if after.covers else asked.most
    found = arrivals.since(connection, kind, after.machine, after=n, most=most)
    if is_latest:
        return _latest(after, found, {**position, "n": found[-1].n if found else n})
    done = _first_periods(asked, found) if after.covers else found
    is_all = len(done) == len(found) < most
    n = done[-1].n if done else n
    return Due(list(_occasions(asked, done)), n, None if is_all else asked.now_ms)


def _first_periods(asked: Asked, done: list[Done]) -> list[Done]:
    """Return as many of `done` as make no more occasions than are asked for."""
    after = after_of(asked)
    assert after.covers is not None, "asked of periods"
    whole: set[str | None] = set()
    for at, each in enumerate(done):
        period = period_of(each.key, after.covers)
        if period is None or period in whole or not _is_whole(asked, period, like=each.key):
            continue
        if len(whole) == asked.most:
            return done[:at]
        whole.add(period)
    return done


def _latest(after: After, done: list[Done], position: dict[str, Any]) -> Due:
    known = position["key"]
    later = [each for each in done if known is None or _Later(known) < _Later(each.key)]
    if not later:
        return Due((), position, None)
    last = max(later, key=lambda each: _Later(each.key))
    passed = len(later) - 1
    note = f"{plural(passed, 'partition')} before {last.key} passed over" if passed else None
    occasions = [_occasion(after, last)]
    return Due(occasions, {**position, "key": last.key}, None, passed, note)


def _between(asked: Asked, from_ms: int, until_ms: int | None) -> Iterator[Occasion]:
    after, connection = after_of(asked), asked.connection
    if connection is None:  # nothing was ever done
        return
    if after.watermark is not None:
        yield from passing.between(after, asked, from_ms, until_ms)
        return
    kind = "partition" if after.covers else after.form
    done = arrivals.between(connection, kind, after.machine, from_ms, until_ms)
    yield from _occasions(asked, done)


def _occasions(asked: Asked, done: Iterator[Done] | list[Done]) -> Iterator[Occasion]:
    after = after_of(asked)
    if after.covers is None:
        yield from (_occasion(after, each) for each in done)
        return
    parts = {period_of(each.key, after.covers): each.key for each in done}
    for period, key in parts.items():
        if period is not None and _is_whole(asked, period, like=key):
            facts = {"upstream.machine": after.machine, "upstream.period": begin_of(period)}
            yield Occasion(period, facts)


def _is_whole(asked: Asked, period: str, *, like: str) -> bool:
    first, last, total = parts_of(period, like)
    machine = after_of(asked).machine
    return arrivals.count_there(asked.connection, machine, first, last) == total


def _occasion(after: After, done: Done) -> Occasion:
    params = {f"upstream.params.{name}": value for name, value in decode(done.params).items()}
    facts = {"upstream.machine": after.machine, f"upstream.{after.form}": done.key}
    if done.instance is not None:
        facts["upstream.instance"] = done.instance
    return Occasion(done.key, params | facts)


KIND: Final = Kind(begin=_begin, look=_look, between=_between)
