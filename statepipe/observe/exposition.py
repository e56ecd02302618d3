"""
Writing series down, as Prometheus reads them: its text format, and OpenMetrics.

    negotiated  which of the two a scraper asks for
    render      the bytes
    Collector   the same series for a registry of prometheus-client

prometheus-client's own writer takes 60 to 110 ms for 8,800 lines; this one takes 5 to 10,
because the labels of a histogram are put together once and not once a bucket. It must write
what that one would, byte for byte: tests/observe/test_exposition.py compares them
(docs/decisions/0016).
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector as ClientCollector
from prometheus_client.samples import Exemplar as ClientExemplar
from prometheus_client.utils import floatToGoString

from statepipe.observe.series import EXEMPLAR_LABEL, Exemplar, Family, Histogram, Labels

#: What the values of most series are, and the bounds: written down once.
_number: Final = lru_cache(maxsize=16_384)(floatToGoString)


class Form(NamedTuple):
    """What a scraper reads: the value of Content-Type, and whether it is OpenMetrics."""

    content_type: str
    openmetrics: bool


TEXT: Final = Form("text/plain; version=0.0.4; charset=utf-8", openmetrics=False)
OPENMETRICS: Final = Form(
    "application/openmetrics-text; version=1.0.0; charset=utf-8", openmetrics=True
)


def negotiated(accept: str) -> Form:
    """Return the form that the value of an Accept header asks for; plain text if it is ""."""
    try:
        _, content_type = choose_encoder(accept)
    except TypeError:  # a version that is none: the library compares it with numbers
        return TEXT
    # Not its own type: that repeats what the client said, whatever it was.
    return OPENMETRICS if content_type.startswith("application/openmetrics-text") else TEXT


def render(families: Iterable[Family], *, openmetrics: bool) -> bytes:
    """
    Return the exposition of `families`.

    OpenMetrics adds units, the exemplars and an end mark. `_created` is in neither: the
    store does not know when a series began, Prometheus before 2.50 takes it for a series
    of its own, and a series of ours begins at 0 anyway.
    """
    lines: list[str] = []
    for family in families:
        lines += _head(family, openmetrics=openmetrics)
        if family.metric.kind == "histogram":
            _histograms(lines, family, openmetrics=openmetrics)
        else:
            _numbers(lines, family)
    if openmetrics:
        lines.append("# EOF\n")
    return "".join(lines).encode()


class Collector(ClientCollector):
    """
    A custom collector, for a registry of prometheus-client.

    Args:
        families: What it collects.
    """

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def describe(self) -> Iterable[Metric]:
        """Return nothing: a registry that registers a collector need not collect from it."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Give each family as the library has it."""
        for family in self._families:
            yield _of_the_library(family)


def _head(family: Family, *, openmetrics: bool) -> Iterator[str]:
    metric = family.metric
    name = metric.name
    text = metric.help.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        name = name.removesuffix("_total") if metric.kind == "counter" else name
        text = text.replace('"', r"\"")
    yield f"# HELP {name} {text}\n# TYPE {name} {metric.kind}\n"
    if openmetrics and metric.unit:
        yield f"# UNIT {name} {metric.unit}\n"


def _numbers(lines: list[str], family: Family) -> None:
    name = family.metric.name
    if not family.labels:
        lines.extend(f"{name} {_number(value)}\n" for value in family.series.values())
        return
    template, order = _template(family.labels)
    line = f"{name}{{{template}}} %s\n"
    lines.extend(
        line % (*[_escape(values[at]) for at in order], _number(value))
        for values, value in family.series.items()
    )


def _histograms(lines: list[str], family: Family, *, openmetrics: bool) -> None:
    name = family.metric.name
    template, order = _template(family.labels)
    # A label before `le` would have to be put before it: the library sorts them.
    assert all(each > "le" for each in family.labels)
    bounds = [f'{name}_bucket{{le="{_number(each)}"' for each in (*family.bounds, float("inf"))]
    for values, histogram in family.series.items():
        assert isinstance(histogram, Histogram)
        labels = template % tuple(_escape(values[at]) for at in order)
        tail = f",{labels}}} " if labels else "} "
        buckets = [
            f"{head}{tail}{_number(count)}"
            for head, count in zip(bounds, histogram.counts, strict=True)
        ]
        if openmetrics:
            for at, exemplar in histogram.exemplars.items():
                buckets[at] += _exemplar(exemplar)
        whole = f"{{{labels}}}" if labels else ""
        buckets.append(f"{name}_count{whole} {_number(histogram.counts[-1])}")
        buckets.append(f"{name}_sum{whole} {_number(histogram.sum)}\n")
        lines.append("\n".join(buckets))


def _exemplar(exemplar: Exemplar) -> str:
    whose = _escape(exemplar.instance)
    return f' # {{{EXEMPLAR_LABEL}="{whose}"}} {_number(exemplar.value)} {exemplar.at}'


def _template(names: Labels) -> tuple[str, list[int]]:
    """Return a format of labels, and which value goes where: by name, as the library does."""
    order = sorted(range(len(names)), key=names.__getitem__)
    return ",".join(f'{names[at]}="%s"' for at in order), order


@lru_cache(maxsize=16_384)
def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _of_the_library(family: Family) -> Metric:
    metric, labels = family.metric, family.labels
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=labels, unit=metric.unit)
        bounds = [_number(each) for each in (*family.bounds, float("inf"))]
        for values, value in family.series.items():
            assert isinstance(value, Histogram)
            histogram.add_metric(values, _buckets(bounds, value), value.sum)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    found = kind(metric.name, metric.help, labels=labels, unit=metric.unit)
    for values, value in family.series.items():
        assert not isinstance(value, Histogram)
        found.add_metric(values, value)
    return found


def _buckets(
    bounds: Sequence[str], histogram: Histogram
) -> list[tuple[str, float] | tuple[str, float, ClientExemplar]]:
    found: list[tuple[str, float] | tuple[str, float, ClientExemplar]] = []
    for at, (le, count) in enumerate(zip(bounds, histogram.counts, strict=True)):
        exemplar = histogram.exemplars.get(at)
        if exemplar is None:
            found.append((le, count))
        else:
            labels = {EXEMPLAR_LABEL: exemplar.instance}
            found.append((le, count, ClientExemplar(labels, exemplar.value, exemplar.at)))
    return found
