"""
`statepipe logs ID`: what the tasks of an instance printed and logged, attempt by attempt.
"""

from collections.abc import Iterator, Sequence
from threading import Event
from typing import Any

import click

from statepipe.cli.shared.options import command, instance_id
from statepipe.cli.shared.places import open_reader
from statepipe.cli.shared.render import Output, escape, moment, shown_id
from statepipe.cli.shared.session import Session
from statepipe.model import Status
from statepipe.store.lookups.listing import Filter
from statepipe.store.lookups.output import LEVELS, Said
from statepipe.store.reading import Reader

_PAGE = 500
_FOLLOW_S = 0.2


@command(
    "logs",
    examples=[
        "statepipe logs ID",
        "statepipe logs ID --follow",
        "statepipe logs ID --state transforming --attempt 2 --level warning",
        "statepipe logs --schema",
    ],
)
@click.argument("instance", metavar="ID", callback=instance_id, required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the instance has ended.")
@click.option(
    "--attempt", type=click.IntRange(1, 1_000_000_000), metavar="N", help="Only of this attempt."
)
@click.option("--state", metavar="STATE", help="Only of attempts in this state.")
@click.option(
    "--level", type=click.Choice(LEVELS), help="Only what was logged, from this level on."
)
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), metavar="N", help="Only the last so many lines."
)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of log lines instead.")
def logs(
    *,
    instance: str | None,
    follow: bool,
    attempt: int | None,
    state: str | None,
    level: str | None,
    limit: int | None,
    schema: bool,
) -> None:
    """Print what the tasks of an instance printed and logged: kept for each attempt, bounded."""
    out = Session.current().out()
    if schema:
        _schema(out)
        return
    if instance is None:
        raise click.UsageError("missing argument 'ID'")
    wanted = {"attempt": attempt, "state": state, "level": level}
    seen = 0
    everything: list[Said] = []
    with open_reader() as reader:
        for page in _pages(reader, instance, wanted, limit=limit, follow=follow):
            seen += len(page)
            if out.form == "json" and not follow:
                everything += page
            else:
                _print(out, page)
                if not out.is_read:
                    return
    if out.form == "json" and not follow:
        out.values([_facts(row) for row in everything])
    if not seen:
        of_that = "of that " if any(wanted.values()) else ""
        out.note(f"{instance}: nothing {of_that}was said{_parts(instance)}")


def _parts(instance: str) -> str:
    """Return where to look if others do part of the work: what they say is kept with them."""
    with open_reader() as reader:
        found = reader.instances(Filter(parts_of=instance), limit=1)
    if not found:
        return ""
    parts = f"statepipe ls --parts-of {shown_id(instance)}"
    return f"   next: {parts}   # each has its own: statepipe logs ID"


def _schema(out: Output) -> None:
    from statepipe.observe.lines import schema  # noqa: PLC0415  (only this option needs it)

    (out if out.is_json else Output(form="json")).value(schema())


def _pages(
    reader: Reader, instance: str, wanted: dict[str, Any], *, limit: int | None, follow: bool
) -> Iterator[list[Said]]:
    """Yield lines in their order, a page at a time; while one waits, no snapshot is held."""
    last = 0
    if limit is not None:
        page = reader.output(instance, **wanted, limit=limit, newest=True)
        last = page[-1].n if page else 0
        yield page
        if not follow:
            return
    waiting = Event()
    while True:
        ended = reader.status(instance) in Status.FINISHED
        page = reader.output(instance, **wanted, after=last, limit=_PAGE)
        if page:
            last = page[-1].n
            yield page
        elif not follow or ended:
            return
        else:
            waiting.wait(_FOLLOW_S)


def _print(out: Output, page: Sequence[Said]) -> None:
    if out.is_json:
        out.lines([_facts(row) for row in page])
    else:
        for row in page:
            out.raw(_line(row))
    out.flush()


def _line(row: Said) -> str:
    """Return a row as a line for people; a text of several lines is indented."""
    what = row.level or row.source
    head = f"{moment(row.at_ms)}  {escape(row.state)}#{row.attempt}  {what:<8}"
    text = escape(row.text.rstrip("\n"), lines=True).replace("\n", "\n    ")
    return f"{head}  {text}".rstrip()


def _facts(row: Said) -> dict[str, Any]:
    return {**row._asdict(), "at": moment(row.at_ms)}
