"""
`statepipe wait ID...`: until instances rest, whoever drives them.
"""

from threading import Event

import click

from statepipe.cli.shared.options import command, duration_ms, instance_id
from statepipe.cli.shared.places import open_reader
from statepipe.cli.shared.render import shown_id
from statepipe.cli.shared.session import Session
from statepipe.errors import NotAtRest
from statepipe.model import Status
from statepipe.store.reading import Reader
from statepipe.units import plural

_LOOK_S = 0.2


@command(
    "wait",
    examples=[
        "statepipe wait ID",
        "statepipe wait monday tuesday --timeout 10m && ./report.sh",
    ],
)
@click.argument("ids", nargs=-1, required=True, metavar="ID...", callback=instance_id)
@click.option("--timeout", metavar="DURATION", help="Give up after so long; exits 124 then.")
def wait(*, ids: tuple[str, ...], timeout: str | None) -> int:
    """
    Return once each instance has ended or is paused; exits 1 unless all are done.

    It drives nothing: a worker does, or another command.
    """
    most_ms = None if timeout is None else duration_ms(timeout, option="--timeout")
    names = list(dict.fromkeys(ids))
    out = Session.current().out()
    with open_reader() as reader:
        statuses = _rested(reader, names, most_ms=most_ms)
        if out.is_json:
            out.values([{"id": name, "status": statuses[name]} for name in names])
        for name in names:
            said = f"{name} {statuses[name]}   next: statepipe inspect {shown_id(name)}"
            (out.note if out.is_json else out.say)(said)
    late = [name for name in names if statuses[name] == Status.READY]
    if late:
        raise NotAtRest(
            f"{plural(len(late), 'instance')} did not come to rest within {timeout}: "
            + ", ".join(late),
            meaning="nothing was changed; whoever drives them goes on",
            next_step=f"statepipe why {shown_id(late[0])}   # says who drives it, or why nobody",
        )
    return int(any(status != Status.DONE for status in statuses.values()))


def _rested(reader: Reader, names: list[str], *, most_ms: int | None) -> dict[str, str]:
    """
    Return the status in which each was first seen at rest; `ready` if that took too long.

    Raises:
        NotFound: One of them does not exist, or was pruned while others were waited for.
    """
    began_ms = reader.clock.boot_ms()
    statuses = dict.fromkeys(names, Status.READY)
    waiting = Event()
    while True:
        left = [name for name in names if statuses[name] == Status.READY]
        statuses.update((name, reader.status(name)) for name in left)
        if Status.READY not in statuses.values():
            return statuses
        if most_ms is not None and reader.clock.boot_ms() - began_ms >= most_ms:
            return statuses
        waiting.wait(_LOOK_S)
