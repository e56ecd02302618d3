"""
`statepipe top`: how the machines are doing, at a glance; live on a terminal.
"""

from typing import Any, Final, NamedTuple

import click

from statepipe.cli.shared.addressing import Address, addressed
from statepipe.cli.shared.options import command, duration_ms
from statepipe.cli.shared.places import open_reader
from statepipe.cli.shared.render import Output, Table, age, first_line, moment, shown_id
from statepipe.cli.shared.session import Session
from statepipe.runtime.reasons.health import HEALTHS, health
from statepipe.store.questions.finishes import Finishes
from statepipe.store.questions.fleet import COUNTED_MAX, Doing, Failures, Fleet, fleet
from statepipe.store.questions.usage import User
from statepipe.units import format_duration, plural

#: States of one machine, and failures, that people are shown.
_STATES_MAX: Final = 4
_FAILURES_MAX: Final = 6

#: More often than this nobody can read.
_EVERY_MS_MIN: Final = 100

_HEADS: Final = (
    "MACHINE",
    "HEALTH",
    "STATES",
    "DRIVEN",
    "STALLED",
    "WELL",
    "DONE",
    "FAILED",
    "MOVES/S",
    "RECORDS/S",
    "P95",
    "LAST DONE",
)
#: What a narrow terminal is spared, first to last; HEALTH tells some of it.
_SPARE: Final = ("RECORDS/S", "STALLED", "MOVES/S", "DONE", "FAILED", "LAST DONE")
_RESOURCE_HEADS: Final = ("RESOURCE", "SLOTS", "HELD", "WAITING", "RATE", "CLOSED FOR")
_FAILURE_HEADS: Final = ("FAILED", "MACHINE", "IN", "ERROR", "LAST", "TYPE")


class Page(NamedTuple):
    """What one look shows: a line, the machines, what failed."""

    line: str
    tables: tuple[Table, ...]


@command("top", examples=["statepipe top", "statepipe top --since 7d", "statepipe top --once"])
@click.option("--once", is_flag=True, help="Look once, also on a terminal.")
@click.option("--since", default="24h", show_default=True, metavar="DURATION", help="The window.")
@click.option("--every", default="1s", show_default=True, metavar="DURATION", help="How often.")
def top(*, once: bool, since: str, every: str) -> int:
    """Show each machine's health, states, success rate, throughput, p95, and what failed."""
    out = Session.current().out()
    span_ms = duration_ms(since, option="--since")
    every_ms = duration_ms(every, option="--every")
    finishes = Finishes(span_ms=span_ms)
    with open_reader() as reader:
        if once or not out.is_terminal:
            _print(out, fleet(reader, finishes))
            return 0
        from statepipe.cli.shared.live import watch  # noqa: PLC0415  (rich, 60 ms, for terminals only)

        return watch(
            lambda: page(fleet(reader, finishes), out.address),
            every_ms=max(_EVERY_MS_MIN, every_ms),
            color=out.color,
        )


def page(found: Fleet, address: Address = ()) -> Page:
    """Return what people are shown of `found`: the machines that need somebody first."""
    machines = sorted(found.machines, key=lambda each: HEALTHS.index(_health(each, found)))
    rows = [_failure(each, address, now_ms=found.at_ms) for each in found.failures[:_FAILURES_MAX]]
    tables = [
        Table(_HEADS, [_machine(each, found) for each in machines], _SPARE),
        Table(_RESOURCE_HEADS, [_resource(each) for each in found.users], ("CLOSED FOR",)),
        Table(_FAILURE_HEADS, rows, ("LAST", "IN")),
    ]
    return Page(_line(found), tuple(table for table in tables if table.rows))


def _print(out: Output, found: Fleet) -> None:
    if out.is_json:
        out.value(_facts(found, out.address))
        return
    shown = page(found, out.address)
    out.say(shown.line)
    for table in shown.tables:
        out.say("")
        out.table(table)
    if not shown.tables:
        out.note("no machine has an instance yet   next: statepipe run MACHINE")


def _line(found: Fleet) -> str:
    ready = sum(each.ready for each in found.machines)
    waiting = sum(each.waiting for each in found.machines)
    driven = sum(each.driven for each in found.machines)
    return (
        f"{moment(found.at_ms)}  {plural(found.drivers, 'process')} alive,"
        f" {driven:,} of {found.slots:,} slots in use; {_counted(ready)} ready,"
        f" {_counted(waiting)} waiting; what ended since {moment(found.since_ms)}"
    )


def _counted(count: int) -> str:
    return f"{count:,}+" if count >= COUNTED_MAX else f"{count:,}"


def _machine(doing: Doing, found: Fleet) -> list[str]:
    finished = doing.finished
    ended = finished.done + finished.failed
    last = "never" if doing.success_at_ms is None else age(doing.success_at_ms, now_ms=found.at_ms)
    return [
        doing.machine,
        _health(doing, found),
        _states(doing),
        f"{doing.driven:,}",
        f"{doing.stalled:,}",
        f"{finished.done / ended:.1%}" if ended else "-",
        f"{finished.done:,}",
        f"{finished.failed:,}",
        _rate(doing.moves_per_s),
        _rate(doing.records_per_s),
        "-" if finished.p95_ms is None else format_duration(finished.p95_ms),
        last,
    ]


def _health(doing: Doing, found: Fleet) -> str:
    return health(doing, drivers=found.drivers)


def _states(doing: Doing) -> str:
    """Return how many instances are in each state, but for those that are well behind."""
    states = [
        (count, state)
        for state, count in doing.states.items()
        if doing.finals.get(state) != "success"
    ]
    states.sort(key=lambda each: (-each[0], each[1]))
    said = [f"{state} {count:,}" for count, state in states[:_STATES_MAX]]
    return ", ".join(said) + (", …" if len(states) > _STATES_MAX else "")


def _rate(per_s: float) -> str:
    return f"{per_s:,.1f}" if per_s else "-"


def _resource(user: User) -> list[str]:
    return [
        user.name,
        "-" if user.slots is None else f"{user.slots:,}",
        f"{len(user.held):,}",
        f"{len(user.waiting):,}",
        user.rate or "-",
        format_duration(user.closed_ms) if user.closed_ms else "-",
    ]


def _failure(failures: Failures, address: Address, *, now_ms: int) -> list[str]:
    return [
        f"{failures.instances:,}",
        failures.machine,
        failures.state or "",
        f"{failures.error_class or ''}: {first_line(failures.error, chars_max=40)}",
        age(failures.at_ms, now_ms=now_ms),
        _command(failures, address),
    ]


def _command(failures: Failures, address: Address) -> str:
    command = f"statepipe resume --failed --machine {failures.machine} --canary 1"
    if failures.instances == 1:
        command = f"statepipe why {shown_id(failures.newest)}"
    return addressed(command, address)


def _facts(found: Fleet, address: Address) -> dict[str, Any]:
    return {
        "at": moment(found.at_ms),
        "since": moment(found.since_ms),
        "drivers": found.drivers,
        "slots": found.slots,
        "machines": [
            {
                **each._asdict(),
                "health": _health(each, found),
                "finished": each.finished._asdict(),
                "success_at": moment(each.success_at_ms) or None,
            }
            for each in found.machines
        ],
        "resources": [
            {
                **each._asdict(),
                "held": [use.instance for use in each.held],
                "waiting": [use.instance for use in each.waiting],
            }
            for each in found.users
        ],
        "failures": [
            {**each._asdict(), "at": moment(each.at_ms), "next": _command(each, address)}
            for each in found.failures
        ],
    }
