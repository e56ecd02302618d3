"""
`statepipe watermark`: how far each machine has loaded, and a person's word on it.

    show    where each stands, and how it came there
    set     put it higher or lower, with a reason
    rewind  put it back to where it was, with a reason
"""

import datetime as dt
import json
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from typing import Any, Final, TypeVar

import click

from statepipe.cli.shared.options import command, confirm
from statepipe.cli.shared.places import config_here, open_reader, open_store, refuse_unknown
from statepipe.cli.shared.render import moment
from statepipe.cli.shared.session import Session
from statepipe.errors import BadParameter, NotFound
from statepipe.io.marks import is_nan
from statepipe.io.plainjson import jsonable
from statepipe.machine.loading.loader import machine_named
from statepipe.machine.states.tasks import Run
from statepipe.store.walk import watermarks
from statepipe.store.walk.watermarks import Move
from statepipe.units import exactly

_LIMIT: Final = 20

_MACHINE = click.argument("machine", metavar="MACHINE")
_STATE = click.option("--state", metavar="STATE", help="If the machine has several sources.")
_REASON = click.option("--reason", required=True, metavar="TEXT", help="Why; it is kept.")
_YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def _datetime(text: str) -> dt.datetime:
    value: dt.datetime = exactly(text, dt.datetime)
    if value.utcoffset() is None:
        raise ValueError("it has no offset from UTC")
    return value


_Number = TypeVar("_Number", float, Decimal)


def _float(text: str) -> float:
    return _ordered(float(text))


def _decimal(text: str) -> Decimal:
    return _ordered(Decimal(text))


def _ordered(value: _Number) -> _Number:
    if is_nan(value):
        raise ValueError("it has no order")
    return value


_TYPES: Final[dict[str, Callable[[str], Any]]] = {
    "text": str,
    "int": int,
    "float": _float,
    "decimal": _decimal,
    "date": dt.date.fromisoformat,
    "datetime": _datetime,
}
_EXAMPLES: Final = {
    "text": "abc",
    "int": "17",
    "float": "17.5",
    "decimal": "17.50",
    "date": "2013-02-04",
    "datetime": "2013-02-04T00:00:00Z",
}
_TYPE_OF: Final = {
    str: "text",
    int: "int",
    float: "float",
    Decimal: "decimal",
    dt.date: "date",
    dt.datetime: "datetime",
}


@click.group("watermark")
def watermark() -> None:
    """How far each machine has loaded; the next instance starts there."""


@command("show", examples=["statepipe watermark show", "statepipe watermark show orders"])
@click.argument("machine", metavar="[MACHINE]", required=False)
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=_LIMIT, show_default=True)
def show(*, machine: str | None, limit: int) -> None:
    """Show the last moves of watermarks, newest first: the first one of a source counts."""
    with open_reader() as reader:
        refuse_unknown(reader, machine)
        with reader.moment() as connection:
            moves = watermarks.moves(connection, machine=machine, limit=limit)
    Session.current().out().rows(
        ("N", "MACHINE", "STATE", "WATERMARK", "AT", "BY"),
        [_row(move) for move in moves],
        cells=("n", "machine", "state", "_value", "_at", "_by"),
    )


@command(
    "set",
    examples=[
        "statepipe watermark set orders 2013-02-04T00:00:00Z --type datetime --reason 'first load'",
        "statepipe watermark set orders 2013-02-01T00:00:00Z --reason 'prices were wrong'",
        "statepipe watermark set orders --reason 'it counts from below zero' -- -5",
    ],
)
@_MACHINE
@click.argument("value", metavar="VALUE")
@click.option("--type", "kind", type=click.Choice(list(_TYPES)), help="Default: as it is now.")
@_STATE
@_REASON
@_YES
def set_(
    *, machine: str, value: str, kind: str | None, state: str | None, reason: str, yes: bool
) -> None:
    """Put a watermark where you want it; the next instance of the machine starts there."""
    source = _source(machine, state)
    with open_reader() as reader, reader.moment() as connection:
        now = watermarks.current(connection, machine, source).value
    _put(machine, source, _typed(value, kind, now=now), now=now, reason=reason, yes=yes)


@command("rewind", examples=["statepipe watermark rewind orders --to 17 --reason 'load it again'"])
@_MACHINE
@click.option(
    "--to",
    type=click.IntRange(1, 1_000_000_000),
    required=True,
    metavar="N",
    help="As `show` numbers them.",
)
@_REASON
@_YES
def rewind(*, machine: str, to: int, reason: str, yes: bool) -> None:
    """Put a watermark back to where it was."""
    with open_reader() as reader, reader.moment() as connection:
        moves = watermarks.moves(connection, machine=machine, limit=1_000_000)
        found = next((move for move in moves if move.n == to), None)
        if found is None:
            raise NotFound(
                f"machine {machine!r} has no watermark number {to}",
                meaning="nothing was changed",
                next_step=f"statepipe watermark show {machine}",
            )
        now = watermarks.current(connection, machine, found.state).value
    _put(machine, found.state, found.value, now=now, reason=reason, yes=yes)


for _each in (show, set_, rewind):
    watermark.add_command(_each)


def _put(machine: str, state: str, value: Any, *, now: Any, reason: str, yes: bool) -> None:  # noqa: ANN401 plain data, PLR0913
    question = f"put the watermark of {machine}.{state} from {_said(now)} to {_said(value)}?"
    confirm(question, yes=yes)
    with closing(open_store()) as store:
        watermarks.put(store, machine, state, value, reason=reason)
    out = Session.current().out()
    if out.is_json:
        out.value(
            {"machine": machine, "state": state, "value": jsonable(value), "type": _type(value)}
        )
    out.say(f"{machine}.{state} stands at {_said(value)}; instances that have begun are not moved")


def _source(machine: str, state: str | None) -> str:
    """Return the state whose watermark is meant."""
    definition = machine_named(machine, config_here().machines_dir)
    sources = [
        each.name
        for each in definition.states
        if isinstance(each.task, Run) and each.task.watermark is not None
    ]
    if state in sources or (state is None and len(sources) == 1):
        return state or sources[0]
    raise BadParameter(
        f"machine {machine!r} has {', '.join(sources) or 'no state'} with a watermark"
        + ("" if state is None else f", not {state!r}"),
        meaning="nothing was changed",
        next_step=f"--state {sources[0]}" if sources else "add watermark to its source",
    )


def _typed(text: str, kind: str | None, *, now: Any) -> Any:  # noqa: ANN401 plain data
    name = kind or _TYPE_OF.get(type(now))
    if name is None:
        raise BadParameter(
            "nothing was loaded yet, so the type of the watermark is not known",
            meaning="nothing was changed",
            next_step=f"--type {'|'.join(_TYPES)}",
        )
    try:
        return _TYPES[name](text)
    except (ValueError, ArithmeticError) as error:
        raise BadParameter(
            f"{text!r} is not of type {name}: {error}",
            meaning="nothing was changed",
            next_step=f"a value of type {name}, for example {_EXAMPLES[name]}",
        ) from None


def _row(move: Move) -> dict[str, Any]:
    return {
        **move._asdict(),
        "value": jsonable(move.value),
        "type": _type(move.value),
        "_value": _said(move.value),
        "_at": moment(move.at_ms),
        "_by": move.instance or f"a person: {move.reason}",
    }


def _type(value: Any) -> str:  # noqa: ANN401 plain data
    return _TYPE_OF.get(type(value), type(value).__name__)


def _said(value: Any) -> str:  # noqa: ANN401 plain data
    if value is None:
        return "the beginning"
    plain = jsonable(value)
    return plain if isinstance(plain, str) else json.dumps(plain)
