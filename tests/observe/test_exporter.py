"""One collection of several stores: what fails is said, and takes nothing else with it."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from statepipe.errors import DefinitionError, StatepipeError, StoreUnusable
from statepipe.figures import Count, Known, Snapshot
from statepipe.observe.exporter import Exporter, Source
from statepipe.observe.exposition import render
from statepipe.observe.shape import Shape, shape_of
from tests.observe.scenery import form, shown, snapshot

Read = Callable[..., Snapshot]


def _source(store: str, read: Read, *, shapes: Sequence[Shape | StatepipeError] = ()) -> Source:
    return Source(store=store, read=read, size=lambda: (4_096, 512), shapes=lambda: shapes)


def _exporter(*sources: Source, told: list[tuple[str, str]]) -> Exporter:
    return Exporter(
        sources,
        version="1",
        several=len(sources) > 1,
        told=lambda store, reason: told.append((store, reason)),
    )


def _reads(**facts: Any) -> Read:  # noqa: ANN401  (the fields of a snapshot)
    return lambda **_: snapshot(**facts)


def _broken(**_: object) -> Snapshot:
    raise StoreUnusable("no store there", meaning="nothing was read", next_step="statepipe ls")


def _collected(exporter: Exporter) -> dict[str, float]:
    return shown(render(exporter.collect(exemplars=False), openmetrics=False))


def test_a_store_that_cannot_be_read_takes_no_other_with_it() -> None:
    """One disk that is gone must not blind people to all the others."""
    told: list[tuple[str, str]] = []
    good = _reads(counts=[Count("fenced", "m", "", "", 3)])
    exporter = _exporter(_source("a", _broken), _source("b", good), told=told)

    seen = _collected(exporter)

    assert seen["statepipe_fenced_writes_total machine=m store=b"] == 3
    assert seen["statepipe_exporter_errors_total store=a"] == 1
    assert seen["statepipe_exporter_errors_total store=b"] == 0
    assert "statepipe_store_changes_total store=a" not in seen
    assert told == [("a", "no store there   next: statepipe ls")]


def test_failures_are_counted_each_time_and_told_once() -> None:
    """A scrape every 15 seconds would fill a log with one line."""
    told: list[tuple[str, str]] = []
    acts: list[Read] = [_broken, _broken, _reads(), _broken]
    exporter = _exporter(_source("", lambda **_: acts.pop(0)()), told=told)

    errors = [_collected(exporter)["statepipe_exporter_errors_total"] for _ in range(4)]

    assert errors == [1, 2, 2, 3]
    assert len(told) == 2  # once before it was well again, once after


def test_even_a_defect_is_a_failed_collection_and_no_more() -> None:
    """Whatever it is, the endpoint answers."""
    told: list[tuple[str, str]] = []

    def defective(**_: object) -> Snapshot:
        raise ZeroDivisionError("by zero")

    exporter = _exporter(_source("", defective), told=told)

    assert _collected(exporter)["statepipe_exporter_errors_total"] == 1
    assert told == [("", "ZeroDivisionError: by zero")]


def test_a_strict_collection_raises_what_the_store_says() -> None:
    """A file or a gateway keeps what it has, rather than getting half of it."""
    exporter = _exporter(_source("a", _reads()), _source("b", _broken), told=[])

    with pytest.raises(StoreUnusable, match="no store there"):
        exporter.collect(exemplars=False, strict=True)


def test_machines_of_the_store_and_of_the_project_are_both_known() -> None:
    """One may have been registered long ago, the other never have run."""
    registered = Known("old", 1, "abc", json.dumps(form("old")))
    source = _source("", _reads(machines=[registered]), shapes=[shape_of(form("new"))])

    seen = _collected(_exporter(source, told=[]))

    assert seen["statepipe_instances machine=old state=one"] == 0
    assert seen["statepipe_instances machine=new state=one"] == 0


def test_a_machine_file_that_is_wrong_hides_no_other() -> None:
    """People edit them while the exporter runs."""
    told: list[tuple[str, str]] = []
    wrong = DefinitionError("no TOML", meaning="nothing was run", next_step="correct it")
    source = _source("", _reads(), shapes=[wrong, shape_of(form())])

    seen = _collected(_exporter(source, told=told))

    assert seen["statepipe_instances machine=m state=one"] == 0
    assert seen["statepipe_exporter_errors_total"] == 1
    assert told == [("", "no TOML   next: correct it")]


def test_the_project_says_more_of_a_machine_than_the_store() -> None:
    """Its policies declare error classes; the machine is not counted twice for that."""
    registered = Known("m", 3, "abc", json.dumps(form()))
    declared = shape_of(form(), declared={"one": ("QuotaExceeded",)})
    source = _source("", _reads(machines=[registered]), shapes=[declared])

    seen = _collected(_exporter(source, told=[]))

    assert seen["statepipe_errors_total error_class=QuotaExceeded machine=m state=one"] == 0
    assert "statepipe_errors_total error_class=ConnectionError machine=m state=one" not in seen


def test_ids_are_looked_up_only_where_they_are_shown() -> None:
    """Plain text has no exemplars, and a look-up costs a page of the store."""
    asked: list[bool] = []

    def read(*, exemplars: bool) -> Snapshot:
        asked.append(exemplars)
        return snapshot()

    exporter = _exporter(_source("", read), told=[])
    exporter.collect(exemplars=False)
    exporter.collect(exemplars=True)

    assert asked == [False, True]


def test_a_collection_says_how_long_it_took() -> None:
    """By a clock that is never set back."""
    ticks = iter([1_000_000_000, 1_250_000_000])
    exporter = Exporter(
        [_source("", _reads())], version="1", told=lambda *_: None, ticks_ns=lambda: next(ticks)
    )

    assert _collected(exporter)["statepipe_exporter_collect_seconds"] == 0.25
