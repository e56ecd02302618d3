"""
`statepipe history ID`: the journal of an instance, as it is or as it grows.
"""

from collections.abc import Sequence
from threading import Event
from typing import Any

import click

from statepipe.cli.shared.options import command, instance_id
from statepipe.cli.shared.places import open_reader
from statepipe.cli.shared.render import Output, first_line, moment
from statepipe.cli.shared.session import Session
from statepipe.model import Status
from statepipe.store.reading import Entry, Reader
from statepipe.units import format_duration, plural

_PAGE = 1_000
_FOLLOW_S = 0.2


@command(
    "history",
    examples=[
        "statepipe history ID",
        "statepipe history ID --follow",
        "statepipe history ID --reverse --limit 20 --detailed",
    ],
)
@click.argument("instance", metavar="ID", callback=instance_id)
@click.option("-f", "--follow", is_flag=True, help="Go on until the instance has ended.")
@click.option("--reverse", is_flag=True, help="Newest first.")
@click.option("--detailed", is_flag=True, help="Epoch, policy, bytes, whole error texts.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), help="At most so many rows.")
def history(
    *, instance: str, follow: bool, reverse: bool, detailed: bool, limit: int | None
) -> None:
    """Print the journal: every move, with its attempt, its counts and its reason."""
    if follow and (reverse or limit):
        raise click.UsageError("--follow goes with neither --reverse nor --limit")
    out = Session.current().out()
    with open_reader() as reader:
        if follow:
            _follow(reader, instance, out, detailed=detailed)
        elif reverse or limit is not None:
            page = reader.history(instance, reverse=reverse, limit=limit or 1_000_000)
            _print(out, page, detailed=detailed, as_array=True)
        else:
            _whole(reader, instance, out, detailed=detailed)


def _whole(reader: Reader, instance: str, out: Output, *, detailed: bool) -> None:
    """Print everything, page by page; JSON as one array needs all of it."""
    seq = 0
    everything: list[Entry] = []
    while out.is_read and (page := reader.history(instance, after_seq=seq, limit=_PAGE)):
        seq = page[-1].seq
        if out.form == "json":
            everything += page
        else:
            _print(out, page, detailed=detailed)
    if out.form == "json":
        _print(out, everything, detailed=detailed, as_array=True)


def _follow(reader: Reader, instance: str, out: Output, *, detailed: bool) -> None:
    seq = 0
    waiting = Event()
    while out.is_read:
        ended = reader.status(instance) in Status.FINISHED
        page = reader.history(instance, after_seq=seq, limit=_PAGE)
        if page:
            seq = page[-1].seq
            _print(out, page, detailed=detailed)
            out.flush()
        elif ended:
            return
        else:
            waiting.wait(_FOLLOW_S)


def _print(out: Output, page: Sequence[Entry], *, detailed: bool, as_array: bool = False) -> None:
    if out.is_json:
        facts = [_facts(entry) for entry in page]
        if as_array and out.form == "json":
            out.values(facts)
        else:
            out.lines(facts)
        return
    for entry in page:
        out.say(line_of(entry, detailed=detailed))


def line_of(entry: Entry, *, detailed: bool = False) -> str:
    """Return a journal row as a line for people; more lines if `detailed`."""
    moved = entry.source and entry.source != entry.target
    where = f"{entry.source} -> {entry.target}" if moved else entry.target
    head = f"{entry.seq:>5}  {moment(entry.at_ms)}  {entry.kind:<9}  {where}"
    said = _said(entry)
    if entry.error_class and not detailed:
        said.append(f"{entry.error_class}: {first_line(entry.error)}")
    line = f"{head}  {', '.join(said)}".rstrip()
    return "\n".join([line, *_details(entry)]) if detailed else line


def _said(entry: Entry) -> list[str]:
    said = []
    if entry.kind not in (entry.event, "batch"):
        said.append(entry.event)
    if entry.note:
        said.append(entry.note)
    if entry.records is not None:
        said.append(plural(entry.records, "record"))
    if entry.rejected:
        said.append(f"{entry.rejected:,} rejected")
    if entry.attempt is not None and (entry.attempt > 1 or entry.error_class):
        said.append(f"attempt {entry.attempt}")
    if entry.took_ms is not None:
        said.append(format_duration(entry.took_ms))
    return said


def _details(entry: Entry) -> list[str]:
    more = [f"epoch {entry.epoch}, generation {entry.generation}"]
    if entry.policy:
        more.append(f"policy {entry.policy}")
    if entry.bytes is not None:
        more.append(f"{entry.bytes:,} bytes")
    lines = [", ".join(more)]
    if entry.error_class:
        lines += f"{entry.error_class}: {entry.error or ''}".split("\n")
    return [f"       {line}" for line in lines]


def _facts(entry: Entry) -> dict[str, Any]:
    return {**entry._asdict(), "at": moment(entry.at_ms)}
