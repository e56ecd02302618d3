"""
`statepipe metrics dashboard`, `rules`, `scrape-config`: what ships for Grafana and Prometheus.

They need no store: what they print is the same everywhere.
"""

import json
from collections.abc import Sequence

import click

from statepipe.cli.shared.options import command
from statepipe.cli.shared.render import Output
from statepipe.cli.shared.session import Session
from statepipe.observe import shipped


@command(
    "dashboard",
    examples=[
        "statepipe metrics dashboard",
        "statepipe metrics dashboard --name fleet > statepipe-fleet.json",
    ],
)
@click.option("--name", metavar="NAME", help="Print this one: fleet, machine or store.")
def dashboard(*, name: str | None) -> None:
    """List the Grafana dashboards, or print one to be imported."""
    out = Session.current().out()
    if name is not None:
        board = shipped.board(name)
        if out.form == "jsonl":
            out.value(json.loads(board))
        else:
            out.raw(board.rstrip("\n"))
        return
    out.rows(
        ["NAME", "TITLE", "SHOWS"],
        [each._asdict() for each in shipped.BOARDS],
        cells=["name", "title", "shows"],
    )
    out.note("next: statepipe metrics dashboard --name fleet > statepipe-fleet.json")


@command("rules", examples=["statepipe metrics rules > statepipe-rules.yml"])
def rules() -> None:
    """Print alert and recording rules for Prometheus."""
    _print(Session.current().out(), shipped.rules())


@command(
    "scrape-config",
    examples=[
        "statepipe metrics scrape-config",
        "statepipe metrics scrape-config --target etl1:9464 --target etl2:9464",
    ],
)
@click.option(
    "--target",
    "targets",
    metavar="HOST:PORT",
    multiple=True,
    default=[shipped.TARGET],
    show_default=True,
    help="Where an exporter listens; repeat.",
)
def scrape_config(*, targets: Sequence[str]) -> None:
    """Print what prometheus.yml needs to scrape statepipe."""
    _print(Session.current().out(), shipped.scrape_config(targets))


def _print(out: Output, text: str) -> None:
    """Print a text as it is, or inside JSON where only JSON may be printed."""
    if out.is_json:
        out.value({"text": text})
    else:
        out.raw(text.rstrip("\n"))
