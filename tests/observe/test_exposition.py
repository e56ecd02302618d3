"""How series are written down: as prometheus-client would, byte for byte, only sooner."""

import subprocess

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from statepipe.figures import Count, Taken, Timing
from statepipe.observe.exposition import OPENMETRICS, TEXT, Collector, negotiated, render
from statepipe.observe.series import EXEMPLAR_CHARS_MAX, Family
from tests.observe.scenery import collected, shown, snapshot

_OM = "application/openmetrics-text"
WHOSE = 'weird "id" \\ of\na customer'


def _families(instance: str = WHOSE, *, several: bool = False) -> list[Family]:
    seen = snapshot(
        taken=[
            Taken("m", "", "create", "one", 12_345_678, 0),
            Taken("m", "one", "ok", "two", 3, 0),
        ],
        counts=[
            Count("lock_wait_us", "", "", "", 12_345_678_901),
            Count("notices", "", 'on "call"\\\n', "sent", 1),
        ],
        timings=[
            Timing("state", "m", "one", "ok", 50_000, 2, 60_000, 31_000, 1_700_000_000_123, 8),
            Timing("commit", "", "", "", 100, 2, 150, 80, 1_700_000_000_123, None),
        ],
        ids={8: instance},
    )
    return collected(seen, store="a store", several=several)


def _registry(families: list[Family]) -> CollectorRegistry:
    registry = CollectorRegistry(support_collectors_without_names=True)
    registry.register(Collector(families))
    return registry


@pytest.mark.parametrize("several", [False, True])
def test_text_is_what_the_library_writes(*, several: bool) -> None:
    """The one who reads it must not be able to tell which of the two wrote it."""
    families = _families(several=several)

    assert render(families, openmetrics=False) == generate_latest(_registry(families))


@pytest.mark.parametrize("several", [False, True])
def test_openmetrics_is_what_the_library_writes(*, several: bool) -> None:
    """Units, exemplars and the end mark included."""
    families = _families(several=several)

    library = generate_openmetrics(_registry(families))  # type: ignore[no-untyped-call]  # the library has no types

    assert render(families, openmetrics=True) == library


def test_the_strict_parser_of_the_library_reads_openmetrics_back() -> None:
    """It refuses wrong units, suffixes, buckets that fall, and what lies outside its bucket."""
    text = render(_families(), openmetrics=True).decode()

    parsed = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # the library has no types
    read = {family.name: family for family in parsed}

    assert read["statepipe_state_duration_seconds"].unit == "seconds"
    assert read["statepipe_transitions"].type == "counter"


def test_an_exemplar_names_the_instance_in_openmetrics_alone() -> None:
    """Whoever sees a slow bucket finds out whose it was; no series is named after anybody."""
    families = _families("orders-1")

    assert b'# {instance="orders-1"} 0.031 1700000000.123\n' in render(families, openmetrics=True)
    assert b"orders-1" not in render(families, openmetrics=False)


@pytest.mark.parametrize(("longer", "shows"), [(0, True), (1, False)])
def test_an_id_too_long_for_an_exemplar_is_left_out(*, longer: int, shows: bool) -> None:
    """OpenMetrics allows 128 characters for names and values together; ids may have 200."""
    instance = "x" * (EXEMPLAR_CHARS_MAX - len("instance") + longer)

    text = render(_families(instance), openmetrics=True)

    assert (instance.encode() in text) == shows


def test_an_observation_that_was_shown_long_ago_is_no_exemplar() -> None:
    """Prometheus would not take it again."""
    seen = snapshot(
        timings=[Timing("state", "m", "one", "ok", 50_000, 1, 1, 1, 1_000, 8)],
        ids={8: "orders-1"},
        recent_after_ms=1_000,
    )

    assert b"orders-1" not in render(collected(seen), openmetrics=True)


@pytest.mark.parametrize("openmetrics", [False, True])
def test_no_series_says_when_it_was_created(*, openmetrics: bool) -> None:
    """The store does not know; and Prometheus before 2.50 takes it for a series of its own."""
    assert b"_created" not in render(_families(), openmetrics=openmetrics)


def test_promtool_has_nothing_to_say() -> None:
    """Its rules for names, help texts and types are those of Prometheus itself."""
    said = subprocess.run(
        ["promtool", "check", "metrics"],
        input=render(_families(), openmetrics=False),
        capture_output=True,
        check=False,
    )

    assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")


def test_a_large_number_is_read_back_as_it_was() -> None:
    """The format has floats; 1.2345678e+07 is 12,345,678."""
    seen = shown(render(_families(), openmetrics=False))

    name = "statepipe_transitions_total event=create machine=m source= target=one"
    assert seen[name] == 12_345_678


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        (_OM, OPENMETRICS),
        # As Prometheus 2.42 asks.
        (f"{_OM};version=1.0.0,{_OM};version=0.0.1;q=0.75,text/plain;q=0.5", OPENMETRICS),
        (f"{_OM}; version=1.0.0; escaping=allow-utf-8", OPENMETRICS),
        (f"{_OM}; version=none", TEXT),
        (f"{_OM}; version=1.1.\r\n X-Made-Up: 1", OPENMETRICS),
        (";;;,,,=", TEXT),
    ],
)
def test_the_scraper_says_which_form_it_reads(accept: str, form: object) -> None:
    """Whatever it says, what it is told back is one of two texts of ours."""
    assert negotiated(accept) == form
