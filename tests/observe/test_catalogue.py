"""The catalogue: names as Prometheus wants them, labels that cannot grow, a page that agrees."""

import pytest

from statepipe.observe.catalogue import CATALOGUE, STORE, Metric
from tests.observe.page import VALUES, code, rows

#: Their values would grow with what happens, not with what is defined.
UNBOUNDED = {"id", "instance", "instance_id", "run", "date", "day", "file", "host", "message"}

#: What Prometheus's exposition adds to a name, so that no name may end in it.
RESERVED = ("_bucket", "_sum", "_count", "_created")


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_a_metric_is_named_as_prometheus_wants_it(metric: Metric) -> None:
    """One prefix; _total on counters and on nothing else; the unit, a base unit, in the name."""
    stem = metric.name.removesuffix("_total")

    assert metric.name.startswith("statepipe_")
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert not stem.endswith(RESERVED)
    assert stem.endswith(f"_{metric.unit}" if metric.unit else stem)


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_no_label_grows_with_what_happens(metric: Metric) -> None:
    """A label with the id of an instance makes a series an instance, for ever."""
    assert not UNBOUNDED & set(metric.labels)
    assert STORE not in metric.labels
    assert len(set(metric.labels)) == len(metric.labels)


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_a_help_text_is_one_sentence(metric: Metric) -> None:
    """It is sent with every scrape, and read in a tooltip."""
    assert metric.help.endswith(".")
    assert "\n" not in metric.help
    assert len(metric.help) <= 100


def test_no_two_metrics_share_a_name() -> None:
    """Prometheus would take them for one and refuse the scrape."""
    names = [metric.name for metric in CATALOGUE]

    assert len(set(names)) == len(names)


def test_the_page_has_every_metric_as_the_catalogue_has_it_and_no_other() -> None:
    """Type, labels and unit; and for each what a rise means and what to do."""
    heads = ("metric", "type", "labels", "unit", "a rise means", "what to do")
    documented = {
        code(name)[0]: (kind, tuple(code(labels)), unit)
        for name, kind, labels, unit, _, _ in rows(*heads)
    }

    assert documented == {
        metric.name: (metric.kind, metric.labels, metric.unit) for metric in CATALOGUE
    }
    assert all(means and do for *_, means, do in rows(*heads))


def test_values_are_listed_for_labels_that_exist() -> None:
    """Whoever writes a query by the page names a label that is there."""
    by_name = {metric.name: metric for metric in CATALOGUE}

    assert all(label in by_name[metric].labels for metric, label in VALUES)
