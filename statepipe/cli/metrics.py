"""
`statepipe metrics`: what Prometheus and Grafana need.

    serve, dump, push   the same series, by three ways
    verify              the figures against the journal
    metrics_assets      dashboard, rules, scrape-config: texts that ship with the package
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Final

import click

from statepipe.cli.metrics_assets import dashboard, rules, scrape_config
from statepipe.cli.shared.exporting import make_exporter, open_endpoint
from statepipe.cli.shared.options import command, duration_ms
from statepipe.cli.shared.places import config_here, open_reader
from statepipe.cli.shared.session import Session, here
from statepipe.observe.access import read_users
from statepipe.observe.exposition import render
from statepipe.observe.gateway import Group
from statepipe.observe.textfile import write_textfile
from statepipe.units import plural

EXIT_DIFFERENT: Final = 6
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_STORES = click.option(
    "-s",
    "--store",
    "stores",
    multiple=True,
    metavar="[NAME=]PATH",
    help="The store; several, and each series says whose it is.",
)


@click.group("metrics")
def metrics() -> None:
    """Watch: serve, write, push and check metrics; dashboards, alert rules, a scrape config."""


@command(
    "serve",
    examples=[
        "statepipe metrics serve",
        "statepipe metrics serve --store orders=a.db --store stock=b.db",
        "statepipe metrics serve --listen 0.0.0.0:9464 --auth-file users",
    ],
)
@_STORES
@click.option(
    "--listen", metavar="HOST:PORT", default="127.0.0.1:9464", show_default=True, help="Where."
)
@click.option("--tls-cert", metavar="FILE", help="Serve HTTPS with this chain (PEM).")
@click.option("--tls-key", metavar="FILE", help="Its key (PEM).")
@click.option("--auth-file", metavar="FILE", help="Who may scrape: lines user:password.")
def serve(
    *,
    stores: tuple[str, ...],
    listen: str,
    tls_cert: str | None,
    tls_key: str | None,
    auth_file: str | None,
) -> int:
    """Serve /metrics and /healthz until SIGTERM, for any number of stores."""
    out = Session.current().out()
    exporter = make_exporter(config_here(), stores, out=out)
    with open_endpoint(
        exporter, listen, cert=tls_cert, key=tls_key, auth_file=auth_file
    ) as endpoint:
        exporter.collect(exemplars=False)  # says at once which store cannot be read
        with _signals() as heard_within:
            out.note(f"serving {endpoint.url}/metrics")
            number = heard_within(None)
    assert number is not None
    return 128 + number


@command(
    "dump",
    examples=[
        "statepipe metrics dump",
        "statepipe metrics dump --file /var/lib/prometheus/node-exporter/statepipe.prom",
    ],
)
@_STORES
@click.option("--file", "path", metavar="FILE", help="Replace this file, in one step.")
def dump(*, stores: tuple[str, ...], path: str | None) -> None:
    """Write the metrics down once, for node_exporter's textfile collector or to look at."""
    out = Session.current().out()
    if path == "-":
        raise click.UsageError("--file takes a name; without it the text goes to standard output")
    exporter = make_exporter(config_here(), stores, out=out)
    text = render(exporter.collect(exemplars=False, strict=True), openmetrics=False)
    if path is not None:
        write_textfile(here() / path, text)
    elif out.is_json:
        out.value({"text": text.decode()})
    else:
        out.raw(text.decode().rstrip("\n"))


@command(
    "push",
    examples=[
        "statepipe metrics push http://gateway:9091",
        "statepipe metrics push http://gateway:9091 --job nightly --instance warehouse --hold 40s",
        "statepipe metrics push http://gateway:9091 --job nightly --keep",
    ],
)
@click.argument("url", metavar="URL")
@_STORES
@click.option("--job", metavar="NAME", default="statepipe", show_default=True, help="Its group.")
@click.option("--instance", metavar="NAME", help="A second label of the group.")
@click.option(
    "--hold",
    metavar="DURATION",
    default="2m",
    show_default=True,
    help="Until it is deleted: two scrapes or more.",
)
@click.option("--keep", is_flag=True, help="Leave the group there; return at once.")
@click.option("--auth-file", metavar="FILE", help="For the gateway: a line user:password.")
def push(
    *,
    url: str,
    stores: tuple[str, ...],
    job: str,
    instance: str | None,
    hold: str,
    keep: bool,
    auth_file: str | None,
) -> int:
    """
    Push the metrics to a Pushgateway, let Prometheus scrape them, and delete them there.

    A group that stays shows its numbers for ever. So once they were pushed and held, the
    group is deleted; if the command fails or is stopped before, the group stays until the
    next push replaces it.
    """
    out = Session.current().out()
    hold_ms = duration_ms(hold, option="--hold")
    user = None if auth_file is None else next(iter(read_users(Path(auth_file)).passwords.items()))
    group = Group(url=url, job=job, instance=instance, user=user)
    exporter = make_exporter(config_here(), stores, out=out)
    group.put(exporter.collect(exemplars=False, strict=True))
    if keep:
        return 0
    with _signals() as heard_within:  # before anybody is told that there is something to stop
        out.note(f"pushed; the group is deleted in {hold}, or stays if this is stopped before")
        number = heard_within(hold_ms / 1_000)
    if number is not None:
        return 128 + number
    group.delete()
    return 0


@command("verify", examples=["statepipe metrics verify", "statepipe metrics verify -o json"])
def verify() -> int:
    """
    Work every figure out again from the journal; exits 6 if one is another.

    Reads the whole journal, some seconds for a million rows, and lets others work meanwhile.
    """
    out = Session.current().out()
    with open_reader() as reader:
        found = reader.miscounted()
    if not found and not out.is_json:
        out.say("every figure is what the journal says")
        return 0
    out.rows(
        ["FIGURE", "STORED", "JOURNAL"],
        [each._asdict() for each in found],
        cells=["figure", "stored", "recounted"],
    )
    if not found:
        return 0
    out.note(
        f"{plural(len(found), 'figure')} wrong: a defect, or another program wrote to the store"
        "   next: statepipe doctor"
    )
    return EXIT_DIFFERENT


@contextmanager
def _signals() -> Iterator[Callable[[float | None], int | None]]:
    """Give what waits for SIGTERM or SIGINT, and returns its number, None once time is over."""
    heard: list[int] = []
    over = Event()

    def hear(number: int, _frame: FrameType | None) -> None:
        heard.append(number)
        over.set()

    def heard_within(seconds: float | None) -> int | None:
        over.wait(seconds)
        return heard[0] if heard else None

    before = {number: signal.signal(number, hear) for number in _SIGNALS}
    try:
        yield heard_within
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


for _command in (serve, dump, push, verify, dashboard, rules, scrape_config):
    metrics.add_command(_command)
