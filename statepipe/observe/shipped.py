"""
What ships for Grafana and Prometheus, as text to print.

    BOARDS          the dashboards: Fleet, Machine, Store
    board           the JSON of one, to be imported into Grafana
    rules           alert and recording rules
    scrape_config   what prometheus.yml needs

They are files beside this module, `grafana/*.json` and `prometheus/*.yml`; what is printed
is what the tests have asked Grafana's types and Prometheus itself about.
"""

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Final, NamedTuple

from statepipe.errors import NotFound, UsageError
from statepipe.suggest import did_you_mean

#: Where `statepipe metrics serve` listens unless told otherwise; scrape.yml names it.
TARGET: Final = "127.0.0.1:9464"

#: A name or an address, [::1] in brackets, and a port: nothing that YAML could take for more.
_TARGET: Final = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}")


class Board(NamedTuple):
    """One dashboard: how it is asked for, and what it shows."""

    name: str
    title: str
    shows: str


BOARDS: Final = (
    Board("fleet", "statepipe / Fleet", "all machines: success, failures, queue, slots"),
    Board("machine", "statepipe / Machine", "one machine: moves, times, data, errors"),
    Board("store", "statepipe / Store", "commits, locks, sizes, scrapes, notifications"),
)


def board(name: str) -> str:
    """
    Return the JSON of a dashboard.

    Raises:
        NotFound: If none is called `name`.
    """
    names = [each.name for each in BOARDS]
    if name not in names:
        raise NotFound(
            f"there is no dashboard {name!r}{did_you_mean(name, names)}",
            meaning="nothing was printed",
            next_step="statepipe metrics dashboard   # lists them",
        )
    return _text(f"grafana/{name}.json")


def rules() -> str:
    """Return the rules for Prometheus, as YAML; thresholds are meant to be changed in a copy."""
    return _text("prometheus/rules.yml")


def scrape_config(targets: Sequence[str] = (TARGET,)) -> str:
    """
    Return what prometheus.yml needs to scrape `targets`, as YAML.

    Args:
        targets: Where exporters listen, each as host:port.

    Raises:
        UsageError: If one is not of that form.
    """
    for target in targets:
        if not _TARGET.fullmatch(target):
            raise UsageError(
                f"{target!r} is not a host and a port",
                meaning="nothing was printed",
                next_step=f"statepipe metrics scrape-config --target {TARGET}",
            )
    return _text("prometheus/scrape.yml").replace(json.dumps([TARGET]), json.dumps([*targets]))


def _text(name: str) -> str:
    return files("statepipe.observe").joinpath(name).read_text(encoding="utf-8")
