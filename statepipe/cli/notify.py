"""
`statepipe notify ls`, `send` and `test`: who was told of what, and telling them now.
"""

from typing import Any, Final
from uuid import uuid4

import click

from statepipe.cli.shared.options import command
from statepipe.cli.shared.places import config_here, open_reader, open_store
from statepipe.cli.shared.render import Output, age, first_line, moment
from statepipe.cli.shared.session import Session
from statepipe.clock import SystemClock
from statepipe.config import Config
from statepipe.errors import DefinitionError, NotDelivered, NotFound, Refused
from statepipe.observe import redact
from statepipe.observe.notices.body import Occasion, body_of, read
from statepipe.observe.notices.delivery import deliver
from statepipe.observe.notices.letter import Letter, Undelivered
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.notices.post import Outcome, Post, address_of
from statepipe.runtime.notices.stalled import Lookout
from statepipe.store.walk import notices
from statepipe.store.walk.notices import Listed
from statepipe.suggest import did_you_mean
from statepipe.units import plural

EXIT_FAILED: Final = 1

_WAIT_MS: Final = 200


@click.group("notify")
def notify() -> None:
    """Notifications: what is to be told, was told, or could not be."""


@command("ls", examples=["statepipe notify ls", "statepipe notify ls --pending -o json"])
@click.option("--pending", is_flag=True, help="Those that are still to be sent.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True)
def ls(*, pending: bool, limit: int) -> None:
    """List notices, newest first."""
    out = Session.current().out()
    config = config_here()
    with open_reader() as reader, reader.moment() as connection:
        found = notices.listed(connection, pending=pending, limit=limit + 1)
    shown = found[:limit]
    if not shown and not out.is_json:
        out.note("no notices wait" if pending else "no notices yet")
        return
    out.rows(
        ["AT", "EVENT", "INSTANCE", "TARGET", "TRIES", "OUTCOME", "WHY"],
        [_listed(each, config) for each in shown],
        cells=["at", "event", "_instance", "target", "tries", "_outcome", "_why"],
    )
    if len(found) > limit:
        out.note(f"the newest {limit:,} are shown; --limit shows more")


@command("send", examples=["statepipe notify send", "statepipe notify send --quiet"])
def send() -> int:
    """
    Look for stalled instances, and send every notice that is due. Exits 1 if one was not sent.

    Workers do that all the time; this is for cron, where none runs.
    """
    out = Session.current().out()
    config = _config()
    if not config.targets:
        raise Refused(
            f"there is nobody to tell: {config.path or 'statepipe.toml'} has no [notify.NAME]",
            meaning="nothing was sent",
            next_step='add a target: [notify.oncall] with url = "env:ONCALL_URL"',
        )
    store = open_store()
    try:
        Lookout(store, config.targets, catalog=Catalog(config), env=config.env).look()
        notices.sweep(store)
        post = Post(store, config.targets, root=config.root, env=config.env)
        ended: list[Outcome] = []
        while (some := post.turn(wait_ms=_WAIT_MS)) or post.is_busy:
            for each in some:
                _say(out, each)
            ended += some
        waiting = sum(each.notices for each in notices.pending(store.connection))
    finally:
        store.close()
    if out.is_json:
        out.values([_ended(each) for each in ended])
    if waiting:
        waits = "waits" if waiting == 1 else "wait"
        out.note(f"{plural(waiting, 'notice')} {waits}   next: statepipe notify ls --pending")
    return EXIT_FAILED if any(each.error is not None for each in ended) else 0


@command("test", examples=["statepipe notify test oncall", "statepipe notify test oncall -e prod"])
@click.argument("target")
def test(*, target: str) -> None:
    """Tell TARGET that this is a test, now."""
    out = Session.current().out()
    config = _config()
    if target not in config.targets:
        known = ", ".join(config.targets)
        raise NotFound(
            f"there is no target {target!r}{did_you_mean(target, config.targets)}",
            meaning="nothing was sent",
            next_step=f"the targets are {known}" if known else f"add [notify.{target}]",
        )
    clock = SystemClock()
    key = f"test:{uuid4().hex}:{target}"
    occasion = Occasion(event="test", at_ms=clock.now_ms(), store="", env=config.env)
    began_ms = clock.boot_ms()
    chosen = config.targets[target]
    try:
        deliver(
            chosen,
            Letter(key, body_of(occasion, key=key)),
            address=address_of(chosen),
            root=config.root,
            timeout_ms=chosen.timeout_ms,
        )
    except (Undelivered, DefinitionError) as failure:
        raise NotDelivered(
            f"{target} was not reached: {failure}",
            meaning="a real notice would wait in the outbox and be tried again",
            next_step=f"correct [notify.{target}], then: statepipe notify test {target}",
        ) from None
    took_ms = clock.boot_ms() - began_ms
    if out.is_json:
        out.value({"target": target, "key": key, "took_ms": took_ms})
    out.say(f"{target} was told, in {took_ms} ms")


def _config() -> Config:
    """Return the configuration that applies, and keep its secrets from whatever is said."""
    config = config_here()
    for secret in config.logging.hidden:
        redact.hide(secret)
    return config


def _listed(each: Listed, config: Config) -> dict[str, Any]:
    now_ms = SystemClock().now_ms()
    waits = "waits" if each.target in config.targets else "no such target here"
    why = first_line(each.error)
    if each.done_at_ms is None and each.tries:
        why += f"{'; ' if why else ''}next try {age(each.next_at_ms, now_ms=now_ms)}"
    return {
        "at": moment(each.at_ms),
        "event": each.event,
        "machine": each.machine or None,
        "instance": each.instance,
        "target": each.target,
        "tries": each.tries,
        "outcome": each.outcome,
        "next_at": None if each.done_at_ms is not None else moment(each.next_at_ms),
        "done_at": moment(each.done_at_ms) or None,
        "error": each.error,
        "key": each.key,
        "body": read(each.body),
        "_instance": each.instance or "",
        "_outcome": each.outcome or waits,
        "_why": why,
    }


def _ended(each: Outcome) -> dict[str, Any]:
    return {
        "key": each.taken.key,
        "event": each.taken.event,
        "target": each.taken.target,
        "instance": each.taken.instance,
        "outcome": _word(each),
        "error": each.error,
        "next_at": moment(each.next_at_ms) or None,
    }


def _word(each: Outcome) -> str:
    if each.error is None:
        return "sent"
    return "given up" if each.next_at_ms is None else "failed"


def _say(out: Output, each: Outcome) -> None:
    summary = read(each.taken.body)["summary"]
    line = f"{_word(each)}  {each.taken.target}: {summary}"
    if each.error is not None:
        line += f"   ({each.error}"
        if each.next_at_ms is not None:
            line += f"; next try {age(each.next_at_ms, now_ms=SystemClock().now_ms())}"
        line += ")"
    out.say(line)


notify.add_command(ls)
notify.add_command(send)
notify.add_command(test)
