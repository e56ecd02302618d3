"""
`statepipe signal`, `emit` and `callback`: what is waited for has happened.
"""

import sys
from collections import Counter
from contextlib import AbstractContextManager

import click

from statepipe.cli.shared.intervening import intervening
from statepipe.cli.shared.options import command, instance_id, parsed_params
from statepipe.cli.shared.places import config_here
from statepipe.cli.shared.render import first_line, shown_id
from statepipe.cli.shared.session import Session
from statepipe.engine import Engine
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.triggers.known import broken
from statepipe.runtime.triggers.listening import Listening
from statepipe.units import plural

_PARAMS = click.option(
    "-p", "params", multiple=True, metavar="KEY=VALUE", help="Goes with it; KEY:=JSON is typed."
)
#: What became of an event that came too late, in words.
_BECAME = {"quarantine": "kept apart", "drop": "dropped"}
_REASON = click.option("--reason", metavar="TEXT", help="Why, for the journal.")


@command(
    "signal",
    changes=True,
    examples=[
        "statepipe signal ID approved",
        "statepipe signal ID approved -p by=ada -p limit:=10",
        "statepipe signal ID rejected --reason 'numbers do not add up'",
    ],
)
@click.argument("instance", metavar="ID", callback=instance_id)
@click.argument("event", metavar="EVENT")
@_PARAMS
@_REASON
def signal(*, instance: str, event: str, params: tuple[str, ...], reason: str | None) -> None:
    """Send an event to an instance; if it does not wait for it yet, it is kept until then."""
    given = parsed_params(params, declared=False)
    with _engine() as engine:
        sent = engine.send(instance, event, given, reason=reason)
    out, name = Session.current().out(), shown_id(instance)
    if out.is_json:
        said = {"id": instance, "event": event, "awaited": sent.is_awaited}
        out.value({**said, "late": sent.late} if sent.late else said)
    elif sent.late:
        out.say(
            f"{event} came too late for {instance}, and was {_BECAME[sent.late]}; it is counted"
        )
    elif sent.is_awaited:
        out.say(f"{instance} was sent {event}   next: statepipe resume {name}   # or: a worker")
    else:
        out.say(
            f"{instance} was sent {event}, and keeps it until it waits for it"
            f"   next: statepipe inspect {name}"
        )


@command(
    "emit",
    changes=True,
    examples=[
        "statepipe emit prices-ready --key 2013-02-08",
        "statepipe emit prices-ready --key 2013-02-08 -p rows:=1200 --reason 'all there'",
    ],
)
@click.argument("event", metavar="EVENT")
@click.option("--key", required=True, metavar="KEY", help="As the wait's own, filled in.")
@_PARAMS
@_REASON
def emit(*, event: str, key: str, params: tuple[str, ...], reason: str | None) -> None:
    """Send an event to all who wait for it with a key, or are started by it; the first counts."""
    given = parsed_params(params, declared=False)
    for name, error in broken(Catalog(config_here())).items():
        said = f"{name} is left out, and what it may listen to with it: {error.message}"
        Session.current().out().note(f"{said}   next: statepipe check {name}")
    with _engine(emits=event) as engine:
        emitted = engine.emit(event, key, given, reason=reason)
    out, woken = Session.current().out(), len(emitted.woken)
    late = Counter(became for _, became in emitted.late)
    if out.is_json:
        facts = {"event": event, "key": key, "woken": woken, "repeats": emitted.repeats}
        facts |= {"starts": list(emitted.starts)} | ({"late": late} if late else {})
        facts |= {"refused": dict(emitted.refused)} if emitted.refused else {}
        out.value({**facts, "differs": True} if emitted.differs else facts)
    elif emitted.differs:
        out.say(f"{event} of {key} was emitted before, with other parameters; those stay")
    elif emitted.repeats:
        out.say(f"{event} of {key} was emitted before; what went with it then stays")
    else:
        said = f"{event} of {key} emitted; {plural(woken, 'instance')} waited for it"
        for became, many in sorted(late.items(), reverse=True):
            said += f"; too late for {plural(many, 'instance')}, and {_BECAME[became]}"
        if emitted.starts:
            said += f"; {', '.join(emitted.starts)} starts one"
        for name, why in emitted.refused:
            said += f"; {name} starts none: {first_line(why)}"
        if emitted.refused:
            said += f"   next: statepipe triggers test {emitted.refused[0][0]}"
        elif emitted.starts:
            said += "   next: statepipe worker"
        out.say(said)


@command(
    "callback",
    changes=True,
    examples=[
        "statepipe callback TOKEN",
        "statepipe callback TOKEN approved -p by=ada",
        "statepipe callback - < token-file   # where others can see what runs",
    ],
)
@click.argument("token", metavar="TOKEN")
@click.argument("event", metavar="[EVENT]", required=False)
@_PARAMS
@_REASON
def callback(*, token: str, event: str | None, params: tuple[str, ...], reason: str | None) -> None:
    """Tell the state that waits behind a task what its task.callback_token stands for; once."""
    given = parsed_params(params, declared=False)
    if token == "-":  # noqa: S105  (standard input)
        token = sys.stdin.read()
    with _engine() as engine:
        called = engine.callback(token, event, given, reason=reason)
    out, name = Session.current().out(), shown_id(called.instance)
    if out.is_json:
        said = {"id": called.instance, "event": called.event, "awaited": called.is_awaited}
        out.value({**said, "repeated": called.is_repeated})
    elif called.is_repeated:
        out.say(f"{called.instance} was told of {called.event} by this token before; once counts")
    else:
        next_ = "resume" if called.is_awaited else "inspect"
        out.say(f"{called.instance} was told of {called.event}   next: statepipe {next_} {name}")


def _engine(*, emits: str | None = None) -> AbstractContextManager[Engine]:
    config = config_here()
    # What is emitted may start an instance, also before there ever was one.
    create = emits is not None and emits in Listening(Catalog(config)).events
    return intervening(config, create=create)
