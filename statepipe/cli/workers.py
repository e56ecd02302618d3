"""
`statepipe workers ls`: who drives instances, whether each lives, and what it is doing.
"""

from collections.abc import Mapping
from typing import Any

import click

from statepipe.cli.shared.options import command
from statepipe.cli.shared.places import open_reader
from statepipe.cli.shared.render import age
from statepipe.cli.shared.session import Session
from statepipe.clock import SystemClock
from statepipe.runtime.reasons.drivers import demise
from statepipe.store.questions.outdated import Outdated
from statepipe.store.questions.roster import Post, roster, served
from statepipe.store.questions.turns import unattended
from statepipe.units import plural


@click.group("workers")
def workers() -> None:
    """Processes that drive instances."""


@command("ls", examples=["statepipe workers ls", "statepipe workers ls --alive -o json"])
@click.option("--alive", is_flag=True, help="Only those that live.")
def ls(*, alive: bool) -> None:
    """
    List workers, newest first.

    Whether one lives is known from its process and its lease by the boot clock; a dead one goes
    from the list when it holds nothing any more and another one starts.
    """
    out = Session.current().out()
    with open_reader() as reader:
        posts = roster(reader)
        with reader.moment() as connection:
            alone = unattended(connection, served(posts))
    shown = [post for post in posts if post.life == "alive" or not alive]
    if not shown and not out.is_json:
        out.note("no process drives instances   next: statepipe worker")
    else:
        out.rows(
            ["WORKER", "LIFE", "SINCE", "MACHINES", "QUEUES", "DRIVES", "SLOTS", "KNOWN BY"],
            [_row(post) for post in shown],
            cells=[
                *("_worker", "_life", "_since", "_machines", "_queues", "_drives", "_slots"),
                "known_by",
            ],
        )
    for post in shown:
        for machine in post.outdated if post.life == "alive" else ():
            old = Outdated(machine, post.host, post.pid)
            out.note(f"{old.said}   next: {old.fix}")
    for queue, count in alone.items():
        out.note(
            f"{plural(count, 'instance')} ready in queue {queue}, and nobody works on it"
            f"   next: statepipe worker --queue {queue}"
        )


def _row(post: Post) -> Mapping[str, Any]:
    now_ms = SystemClock().now_ms()
    given = "what it was given"
    return {
        **post._asdict(),
        "known_by": _known_by(post),
        "_worker": f"process {post.pid} on {post.host}",
        "_life": post.life,
        "_since": age(post.since_ms, now_ms=now_ms),
        "_machines": given if post.machines is None else ", ".join(post.machines) or "none",
        "_queues": "" if post.queues is None else ", ".join(post.queues),
        "_drives": f"{post.drives:,} of {post.concurrency:,}",
        "_slots": ", ".join(f"{name} {count:,}" for name, count in sorted(post.slots.items())),
    }


def _known_by(post: Post) -> str:
    if post.life == "silent":
        return "its process exists, and its lease has passed: it was stopped, or its machine slept"
    if post.death is not None:
        return demise(post.death)
    if post.is_here:
        return "its process exists, and it renews its lease"
    return "it renews its lease; its process cannot be seen from here"


workers.add_command(ls)
