"""
The queries of what ships: of each panel and variable of each board, and of each rule.

    queries     every query of the boards, ready to be sent to a Prometheus
    rules       every rule, as Prometheus reads it
    Names       the metrics and labels that an expression names
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import yaml

from statepipe.observe import shipped

_STRING = r'"(?:[^"\\]|\\.)*"'
_MATCHERS = re.compile(rf"([a-zA-Z_:][\w:]*)?\s*\{{((?:[^}}\"]|{_STRING})*)\}}")
_MATCHER = re.compile(rf"(\w+)\s*(=~|!~|!=|=)\s*({_STRING})")
_GROUPED = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_NAME = re.compile(r"(?<![\w.:])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])")
_KEYWORDS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring"}


class Query(NamedTuple):
    """
    One query of a board.

    Attributes:
        board: "fleet", "machine" or "store".
        panel: The panel's title; of a variable, its name in the form `$machine`.
        ref: Which query of the panel.
        expr: PromQL, without variables.
        instant: True if only its newest value is shown.
    """

    board: str
    panel: str
    ref: str
    expr: str
    instant: bool


class Names(NamedTuple):
    """What an expression names: metrics, label matchers as (label, operator, value), groupings."""

    metrics: frozenset[str]
    matchers: tuple[tuple[str, str, str], ...]
    grouped: frozenset[str]


def queries(*, rate_interval: str = "5m", range_: str = "1h", chosen: str = ".*") -> list[Query]:
    """
    Return every query of every board, with its variables replaced.

    Args:
        rate_interval: For `$__rate_interval`, as PromQL writes durations.
        range_: For `$__range`, the time that a board shows.
        chosen: What `$store`, `$machine` and `$state` match, a regular expression.
    """
    values = {"__rate_interval": rate_interval, "__range": range_}
    found = []
    for name, panel, ref, expr, instant in _written():
        filled = re.sub(r"\$(\w+)", lambda match: values.get(match[1], chosen), expr)
        found.append(Query(name, panel, ref, filled, instant))
    return found


def board(name: str) -> dict[str, Any]:
    """Return a shipped board, parsed."""
    parsed: dict[str, Any] = json.loads(shipped.board(name))
    return parsed


def panels(name: str) -> list[dict[str, Any]]:
    """Return the panels of a board that show something, rows left out."""
    return [panel for panel in board(name)["panels"] if panel["type"] != "row"]


@cache
def rules() -> tuple[dict[str, Any], ...]:
    """Return every rule, alerts and recorded ones, in the order of the file."""
    groups = yaml.safe_load(shipped.rules())["groups"]
    return tuple(rule for group in groups for rule in group["rules"])


def names(expr: str) -> Names:
    """Return what a PromQL expression names; its syntax is Prometheus's to judge."""
    matchers = tuple(
        (label, operator, json.loads(value))
        for _, inside in _MATCHERS.findall(expr)
        for label, operator, value in _MATCHER.findall(inside)
    )
    grouped = {
        label.strip() for inside in _GROUPED.findall(expr) for label in inside.split(",") if label
    }
    bare = _MATCHERS.sub(r"\1 ", expr)
    for noise in (_STRING, r"\[[^\]]*\]", _GROUPED):
        bare = re.sub(noise, " ", bare)
    metrics = set(_NAME.findall(bare)) - _KEYWORDS
    return Names(frozenset(metrics), matchers, frozenset(grouped - {""}))


def _written() -> Iterator[tuple[str, str, str, str, bool]]:
    """Yield board, panel, reference, expression as it is written, and whether it is instant."""
    for name, _, _ in shipped.BOARDS:
        for variable in board(name)["templating"]["list"]:
            if variable["type"] == "query":
                selector = re.fullmatch(r"label_values\((.+), \w+\)", variable["query"]["query"])
                assert selector is not None, variable["query"]["query"]
                yield name, f"${variable['name']}", "A", selector[1], True
        for panel in panels(name):
            for target in panel["targets"]:
                instant = target.get("instant", False)
                yield name, panel["title"], target["refId"], target["expr"], instant
