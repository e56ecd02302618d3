"""
What an expression may name: the metrics of the catalogue, their labels, the values of these.

    complaints  what is wrong with an expression's names
    used_by     the metrics of the catalogue that it reads
    labels_of   the labels that a series of it has
"""

import re

from statepipe.observe.catalogue import CATALOGUE, STORE, Metric
from tests.observe.page import VALUES
from tests.observe.queries import names, rules

METRICS = {metric.name: metric for metric in CATALOGUE}

#: What Prometheus gives every series that it scrapes.
SCRAPED = frozenset({"job", "instance"})

#: Prometheus's own, about the scrape itself.
OWN = {"up": frozenset[str]()}


def complaints(expr: str) -> list[str]:
    """Return what `expr` names that does not exist: metrics, labels, values of labels."""
    found = names(expr)
    wrong = [f"there is no metric {name}" for name in found.metrics if _labels(name) is None]
    if wrong:
        return wrong
    labels = {*found.grouped, *(label for label, _, _ in found.matchers)}
    for name in found.metrics:
        wrong += [f"{name} has no label {label}" for label in labels - labels_of(name)]
        for label, operator, value in found.matchers:
            wrong += _no_values(used_by(name), label, operator, value)
    return wrong


def used_by(expr: str) -> set[str]:
    """Return the names, as the catalogue has them, of the metrics that `expr` reads."""
    return {metric.name for name in names(expr).metrics if (metric := _metric(name)) is not None}


def labels_of(name: str) -> frozenset[str]:
    """Return the labels of the series called `name`; KeyError if there is no such metric."""
    labels = _labels(name)
    if labels is None:
        raise KeyError(name)
    return labels | SCRAPED


def _labels(name: str) -> frozenset[str] | None:
    if name in OWN:
        return OWN[name]
    for rule in rules():
        if rule.get("record") == name:
            return names(rule["expr"]).grouped - {"le"}
    metric = _metric(name)
    if metric is None:
        return None
    bucket = {"le"} if name.endswith("_bucket") else set()
    return frozenset({*metric.labels, STORE, *bucket})


def _metric(name: str) -> Metric | None:
    """Return the metric that a series belongs to; a histogram's own name has no series."""
    metric = METRICS.get(name)
    if metric is not None:
        return None if metric.kind == "histogram" else metric
    metric = METRICS.get(re.sub(r"_(bucket|sum|count)$", "", name))
    return metric if metric is not None and metric.kind == "histogram" else None


def _no_values(metrics: set[str], label: str, operator: str, value: str) -> list[str]:
    """Return a complaint for each value that the page does not list; patterns stand for any."""
    if operator in ("=", "!="):
        asked = {value}
    elif re.fullmatch(r"[\w |]+", value):
        asked = set(value.split("|"))
    else:
        return []
    return [
        f"{label} of {metric} is never {each!r}"
        for metric in metrics
        if (metric, label) in VALUES
        for each in asked - VALUES[metric, label]
    ]
