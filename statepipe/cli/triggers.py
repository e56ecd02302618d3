"""
`statepipe triggers`: what starts instances by itself.

    ls          how each stands: what it listens to, what it started last, what is next
    test        what one would start, starting nothing
    pause, unpause      let one rest, or go on
    backfill    start occasions of the past, each once
"""

import datetime as dt
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import islice
from typing import Any, Final

import click

from statepipe.cli.shared.intervening import intervening
from statepipe.cli.shared.options import command, confirm
from statepipe.cli.shared.places import config_here, open_reader
from statepipe.cli.shared.render import first_line, moment
from statepipe.cli.shared.session import Session
from statepipe.clock import SystemClock
from statepipe.config import Config
from statepipe.engine import Engine
from statepipe.errors import BadParameter
from statepipe.io.plainjson import jsonable
from statepipe.machine.triggers.cron import start_of_day_ms
from statepipe.machine.triggers.schedules import Schedule
from statepipe.machine.triggers.trigger import Trigger
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.sharing import sharing_of
from statepipe.runtime.triggers.asking import (
    Preview,
    Stands,
    missing,
    named,
    preview,
    previewed,
    standings,
)
from statepipe.runtime.triggers.known import broken
from statepipe.runtime.triggers.schedules import begin_of_key
from statepipe.store.lookups.triggers import Listed
from statepipe.units import plural

EXIT_REFUSED: Final = 6

_SHOWN_MAX: Final = 10
_DAY: Final = dt.timedelta(days=1)
#: A schedule looks some decades around a moment.
_YEARS: Final = (1900, 9000)

_NAME = click.argument("name", metavar="MACHINE.TRIGGER")
_REASON = click.option("--reason", required=True, metavar="TEXT", help="Why; it is kept.")


@click.group("triggers")
def triggers() -> None:
    """What starts instances by itself: schedules, events, files, other machines."""


@command("ls", examples=["statepipe triggers ls", "statepipe triggers ls orders -o json"])
@click.argument("machine", metavar="[MACHINE]", required=False)
def ls(*, machine: str | None) -> None:
    """List triggers: what each listens to, what it started last, what is next."""
    out, config = Session.current().out(), config_here()
    catalog, now_ms = Catalog(config), SystemClock().now_ms()
    if machine is not None:
        catalog.machine(machine)  # a name that is none is said so
    with _connection(config) as connection:
        found = standings(
            catalog, connection, now_ms=now_ms, sharing_of=partial(sharing_of, config)
        )
    shown = [each for each in found if machine in (None, each.machine)]
    unread = broken(catalog) if machine is None else {}
    for name, error in unread.items():
        said = f"{name} is left out, and with it its triggers: {error.message}"
        out.note(f"{said}   next: statepipe check {name}")
    if not shown and not out.is_json:
        if unread:
            return
        out.note("no machine has triggers   next: statepipe check   # if one should")
        return
    out.rows(
        ("TRIGGER", "LISTENS TO", "STANDS", "NEXT", "LAST", "STARTED"),
        [_row(each) for each in shown],
        cells=("trigger", "_listens", "_stands", "_next", "_last", "_started"),
    )


@command(
    "test",
    examples=[
        "statepipe triggers test orders.nightly",
        "statepipe triggers test orders.nightly --at 2026-10-24 --count 3",
        "statepipe triggers test orders.on_order -o json",
    ],
)
@_NAME
@click.option("--at", metavar="MOMENT", help="From when on; a date, or a moment with its offset.")
@click.option("--count", type=click.IntRange(1, 1_000), default=5, show_default=True)
def test(*, name: str, at: str | None, count: int) -> int:
    """
    Show what a trigger would start from now on, or from a moment on; nothing is started.

    Of an event: for what was emitted, by default at any time. Exits 6 if the parameters of
    one of them make no instance.
    """
    out, config = Session.current().out(), config_here()
    machine, trigger = named(Catalog(config), name)
    now_ms = SystemClock().now_ms()
    default_ms = now_ms if isinstance(trigger.on, Schedule) else 0
    from_ms = default_ms if at is None else _moment_ms(at, trigger, option="--at")
    with _connection(config) as connection:
        found = previewed(
            machine,
            trigger,
            connection,
            from_ms=from_ms,
            count=count,
            now_ms=now_ms,
            sharing=sharing_of(config, machine),
        )
    rows = [_would(name, trigger, each) for each in found]
    if not rows and not out.is_json:
        out.note(f"{name} would start nothing: {trigger.on.said} had no occasion since then")
    else:
        out.rows(("OCCASION", "STARTS", "WITH"), rows, cells=("key", "_starts", "_with"))
    return EXIT_REFUSED if any(each.refusal for each in found) else 0


@command(
    "pause",
    examples=["statepipe triggers pause orders.nightly --reason 'the source moves'"],
    changes=True,
)
@_NAME
@_REASON
def pause(*, name: str, reason: str) -> None:
    """Let a trigger start nothing until `unpause`; what it started goes on."""
    with _engine() as engine:
        engine.triggers.pause(name, reason=reason)
    _say(
        f"{name} starts nothing any more   next: statepipe triggers unpause {name} --reason …",
        {"trigger": name, "stands": "paused"},
    )


@command(
    "unpause",
    examples=["statepipe triggers unpause orders.nightly --reason 'it is there'"],
    changes=True,
)
@_NAME
@_REASON
def unpause(*, name: str, reason: str) -> None:
    """Let a trigger go on: events that came meanwhile, ticks as its catchup says."""
    with _engine() as engine:
        engine.triggers.unpause(name, reason=reason)
    _say(f"{name} goes on   next: statepipe worker", {"trigger": name, "stands": "active"})


@command(
    "backfill",
    changes=True,
    examples=[
        "statepipe triggers backfill orders.nightly --from 2026-01-01 --to 2026-01-31 --dry-run",
        "statepipe triggers backfill orders.nightly --from 2026-01-01 --to 2026-01-31 --yes",
    ],
)
@_NAME
@click.option("--from", "first", required=True, metavar="MOMENT", help="A date, or a moment.")
@click.option("--to", "last", required=True, metavar="MOMENT", help="Included; a date, as a whole.")
@click.option("--dry-run", is_flag=True, help="Say what would be started, and start nothing.")
@click.option("--reason", default="backfill", metavar="TEXT", help="Why, for the journal.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def backfill(*, name: str, first: str, last: str, dry_run: bool, reason: str, yes: bool) -> int:
    """
    Start the occasions of a period that have no instance yet; a worker drives them.

    Exits 6 if the parameters of one of them make no instance, also in a dry run.
    """
    out, config = Session.current().out(), config_here()
    machine, trigger = named(Catalog(config), name)
    now_ms = SystemClock().now_ms()
    from_ms = _moment_ms(first, trigger, option="--from")
    until_ms = _moment_ms(last, trigger, option="--to", ends_by_ms=now_ms)
    with _connection(config) as connection:
        found = missing(
            machine, trigger, connection, from_ms=from_ms, until_ms=until_ms, now_ms=now_ms
        )
    left = [each.key for each in found.occasions]
    made, skipped, refused = list[str](), 0, dict[str, str]()
    if dry_run:
        sharing = sharing_of(config, machine)
        for each in found.occasions:
            looked = preview(machine, trigger, each, now_ms=now_ms, sharing=sharing)
            if looked.refusal is not None:
                refused[each.key] = looked.refusal
    elif left:
        confirm(f"start {plural(len(left), 'occasion')} of {name} ({_some(left)})?", yes=yes)
        with _engine() as engine:
            filled = engine.triggers.backfill(name, found.occasions, reason=reason)
        made, skipped, refused = filled.started, len(filled.skipped), dict(filled.refused)
    if out.is_json:
        facts = {"trigger": name, "missing": left, "existing": found.taken, "started": made}
        out.value({**facts, "skipped": skipped, "refused": refused, "dry_run": dry_run})
        return EXIT_REFUSED if refused else 0
    had = f"; {found.taken:,} {'has its' if found.taken == 1 else 'have their'} instance already"
    had = had if found.taken else ""
    if dry_run or not left:
        some = [key for key in left if key not in refused]
        what = f"{plural(len(some), 'occasion')} of {name} would be started"
        out.say(f"{what}{f': {_some(some)}' if some else ''}{had}")
    else:
        had += f"; {skipped:,} skipped, whose key is taken" if skipped else ""
        out.say(f"{plural(len(made), 'instance')} started{had}   next: statepipe worker")
    return _say_refused(refused, name, first, would="would start" if dry_run else "started")


for _each in (ls, test, pause, unpause, backfill):
    triggers.add_command(_each)


def _engine() -> AbstractContextManager[Engine]:
    return intervening(config_here(), create=True)


@contextmanager
def _connection(config: Config) -> Generator[Any]:
    """Give the store for reading; None if it has not been made yet."""
    if not config.store.exists():
        yield None
        return
    with open_reader() as reader, reader.moment() as connection:
        yield connection


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:_SHOWN_MAX]) + (", …" if len(keys) > _SHOWN_MAX else "")


def _say_refused(refused: Mapping[str, str], name: str, first: str, *, would: str) -> int:
    """Say of how many occasions the parameters make no instance; return the exit code."""
    for key, why in islice(refused.items(), 1):
        Session.current().out().say(
            f"{len(refused):,} {would} nothing, such as {key}: {first_line(why)}"
            f"   next: statepipe triggers test {name} --at {first}"
        )
    return EXIT_REFUSED if refused else 0


def _say(text: str, facts: Mapping[str, Any]) -> None:
    out = Session.current().out()
    if out.is_json:
        out.value(facts)
    else:
        out.say(text)


def _moment_ms(text: str, trigger: Trigger, *, option: str, ends_by_ms: int | None = None) -> int:
    """
    Return a moment as given; a date is a day as the clocks of a schedule show it.

    Args:
        text: A date, or a moment with its offset.
        trigger: Which may be a schedule.
        option: Where it was given.
        ends_by_ms: None for the beginning of the day; else for its end, today's no later than that.
    """
    tz = trigger.on.tz if isinstance(trigger.on, Schedule) else "UTC"
    try:
        if len(text) == len("2026-01-31"):
            day = dt.date.fromisoformat(text)
            _refuse_far(day, text, option=option)
            begins_ms = start_of_day_ms(day, tz)
            if ends_by_ms is None or begins_ms > ends_by_ms:
                return begins_ms
            return min(start_of_day_ms(day + _DAY, tz) - 1, ends_by_ms)
        at = dt.datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        at = None
    if at is None or at.tzinfo is None:
        raise BadParameter(
            f"{option}: {text!r} is neither a date nor a moment with its offset from UTC",
            meaning="nothing was started",
            next_step=f"{option} 2026-01-31, or {option} 2026-01-31T03:00:00Z",
        )
    _refuse_far(at, text, option=option)
    return round(at.timestamp() * 1000)


def _refuse_far(at: dt.date, text: str, *, option: str) -> None:
    """Refuse a moment so near the ends of the calendar that its neighbours are beyond them."""
    if not _YEARS[0] <= at.year <= _YEARS[1]:
        raise BadParameter(
            f"{option}: {text!r} is not between the years {_YEARS[0]} and {_YEARS[1]}",
            meaning="nothing was started",
            next_step=f"{option} 2026-01-31, or {option} 2026-01-31T03:00:00Z",
        )


def _row(each: Stands) -> dict[str, Any]:
    row, last = each.row, each.row and each.row.last
    refused = row and row.last_refused
    stands = "active"
    if each.broken is not None:
        stands = "machine broken"
    elif each.trigger is None:
        stands = "gone"
    elif row is None:
        stands = "not seen yet"
    elif row.paused_at_ms is not None:
        stands = "paused"
    waits = each.waits if stands == "active" else None
    due = f"{each.due:,} due" if each.due else moment(each.next_at_ms)
    return {
        "trigger": f"{each.machine}.{each.name}",
        "machine": each.machine,
        "name": each.name,
        "kind": each.trigger.on.kind if each.trigger else row and row.kind,
        "listens": each.trigger and each.trigger.on.identity,
        "stands": stands,
        "broken": each.broken,
        "paused_reason": row and row.paused_reason,
        "due": each.due,
        "waits": waits,
        "next_at": moment(each.next_at_ms) or None,
        "last": last and {**last._asdict(), "decided_at": moment(last.decided_at_ms)},
        "passed_over": 0 if row is None else row.passed,
        "refused": 0 if row is None else row.refused,
        "last_refused": refused
        and {**refused._asdict(), "decided_at": moment(refused.decided_at_ms)},
        "error": row and row.error,
        "_listens": each.trigger.on.said if each.trigger else row and row.said,
        "_stands": stands if waits is None else f"waits: {waits}",
        "_next": due if stands == "active" else "",
        "_last": last.key if last else "",
        "_started": _started(row),
    }


def _started(row: Listed | None) -> str:
    said = _started_last(row)
    if row is None or row.last is None or row.last_refused is None:
        return said
    if row.last.refusal is not None:
        return said if row.refused == 1 else f"{said}; {row.refused:,} refused"
    why = f"{row.last_refused.key}: {first_line(row.last_refused.refusal)}"
    return f"{said}; {row.refused:,} refused, {'' if row.refused == 1 else 'the last '}{why}"


def _started_last(row: Listed | None) -> str:
    if row is not None and row.error is not None:
        return f"cannot look: {row.error}"
    last = row and row.last
    if last is None:
        return ""
    if last.skipped is not None:
        return f"skipped: {last.skipped}"
    return last.instance or f"nothing: {first_line(last.refusal)}"


def _would(name: str, trigger: Trigger, each: Preview) -> dict[str, Any]:
    begins_at = moment(begin_of_key(trigger, each.key, name=name))
    params = None if each.params is None else jsonable(each.params)
    given = " ".join(f"{key}={value}" for key, value in (params or {}).items())
    return {
        "key": each.key,
        "begins_at": begins_at or None,
        "params": params,
        "refusal": each.refusal,
        "_starts": begins_at if each.refusal is None else "nothing",
        "_with": given if each.refusal is None else each.refusal,
    }
