"""
`statepipe trace export`: instances as traces, to whoever understands OTLP over HTTP.

Traces are made from the journal afterwards, so they cost a run nothing, and sending them
again does no harm: the same instance makes the same spans.
"""

from typing import Any

import click

from statepipe import __version__
from statepipe.cli.shared.options import command, duration_ms, instance_id
from statepipe.cli.shared.places import open_reader, refuse_unknown
from statepipe.cli.shared.session import Session
from statepipe.clock import SystemClock
from statepipe.errors import UsageError
from statepipe.observe.spans import Span, spans_of
from statepipe.store.lookups.listing import Filter
from statepipe.store.reading import Reader
from statepipe.units import plural

_PAGE = 200


@click.group("trace")
def trace() -> None:
    """Show instances to a tracing backend: spans of runs, states and attempts."""


@command(
    "export",
    examples=[
        "statepipe trace export ID",
        "statepipe trace export --since 10m --endpoint http://localhost:4318/v1/traces",
        "statepipe trace export --since 1d --machine orders",
    ],
)
@click.argument("ids", nargs=-1, metavar="[ID]...", callback=instance_id)
@click.option("--since", metavar="DURATION", help='All that changed since, such as "10m".')
@click.option("-m", "--machine", metavar="NAME", help="With --since: only of this one.")
@click.option(
    "--endpoint", metavar="URL", help="The whole URL (OTEL_EXPORTER_OTLP_ENDPOINT, its base)."
)
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=10_000, show_default=True)
def export(
    *,
    ids: tuple[str, ...],
    since: str | None,
    machine: str | None,
    endpoint: str | None,
    limit: int,
) -> None:
    """Send the traces of instances by OTLP over HTTP; what has not ended yet is left out."""
    if bool(ids) == (since is not None):
        raise click.UsageError("name instances, or give --since")
    if machine and since is None:
        raise click.UsageError("--machine goes with --since")
    out = Session.current().out()
    with open_reader() as reader:
        refuse_unknown(reader, machine)
        names = list(ids)
        if since is not None:
            now_ms = SystemClock().now_ms()
            since_ms = now_ms - duration_ms(since, option="--since")
            wanted = Filter(machine=machine, all=True, since_ms=since_ms)
            names = [each.id for each in reader.instances(wanted, limit=limit + 1)]
        store_id = reader.store_id()
        exporter = _exporter(store_id=store_id, endpoint=endpoint)
        sent = 0
        try:
            for start in range(0, len(names[:limit]), _PAGE):
                spans = _spans(reader, names[start : start + _PAGE], store_id=store_id)
                exporter.export(spans)
                sent += len(spans)
        finally:
            exporter.close()
    count = min(len(names), limit)
    if out.is_json:
        out.value({"traces": count, "spans": sent, "endpoint": exporter.endpoint})
    else:
        out.say(f"{plural(count, 'trace')}, {plural(sent, 'span')} to {exporter.endpoint}")
    if len(names) > limit:
        out.note(f"the newest {limit:,} were sent; --limit sends more")


trace.add_command(export)


def _exporter(*, store_id: str, endpoint: str | None) -> Any:  # noqa: ANN401  (observe.otlp's, imported when used)
    try:
        from statepipe.observe.otlp import Exporter  # noqa: PLC0415  (160 ms, and an extra)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"traces need OpenTelemetry, which is not installed ({error.name} is missing)",
            meaning="nothing was sent",
            next_step='pip install "statepipe[otel]"',
        ) from error
    return Exporter(version=__version__, store_id=store_id, endpoint=endpoint)


def _spans(reader: Reader, names: list[str], *, store_id: str) -> list[Span]:
    return [span for name in names for span in spans_of(reader.facts(name), store_id=store_id)]
