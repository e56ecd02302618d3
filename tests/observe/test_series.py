"""From what a store says to series: complete, at 0 where nothing was counted, never wrong."""

from itertools import product

import pytest

from statepipe.figures import (
    ABOVE,
    QUEUE_COUNTED_MAX,
    STATE_BOUNDS_US,
    Count,
    Known,
    Moment,
    Snapshot,
    Taken,
    Timing,
    Used,
)
from statepipe.observe.catalogue import CATALOGUE
from statepipe.observe.exposition import render
from statepipe.observe.series import View, families
from statepipe.observe.shape import shape_of
from tests.observe.scenery import collected, form, shown, snapshot


def _shown(seen: Snapshot | None) -> dict[str, float]:
    return shown(render(collected(seen), openmetrics=False))


def test_a_watermark_is_shown_by_machine_and_source() -> None:
    """As a moment, from which Prometheus works out the lag."""
    said = {
        labels: value
        for family in collected(snapshot(watermarks={("m", "one"): 1_360_000_000.5}))
        if family.metric.name == "statepipe_watermark_timestamp_seconds"
        for labels, value in family.series.items()
    }

    assert said == {("m", "one"): 1_360_000_000.5}


def test_who_may_be_told_is_there_before_anybody_was() -> None:
    """Otherwise the first notice that is given up would raise no alarm."""
    view = View(
        store="",
        snapshot=snapshot(pending={"pager": 2}),
        shapes=[],
        size=None,
        errors=0,
        took_s=0,
        targets=("pager", "mail"),
    )
    found = {
        family.metric.name: family.series for family in families([view], version="1", several=False)
    }

    assert found["statepipe_notices_pending"] == {("pager",): 2, ("mail",): 0}
    assert found["statepipe_notices_total"] == dict.fromkeys(
        product(("pager", "mail"), ("sent", "dropped", "given up")), 0
    )


def test_every_metric_of_the_catalogue_is_served_and_no_other() -> None:
    """With the labels the catalogue says."""
    found = {family.metric.name: family.labels for family in collected(snapshot())}

    assert found == {metric.name: metric.labels for metric in CATALOGUE}


def test_every_metric_of_a_machine_has_series_before_anything_ran() -> None:
    """
    The exceptions are what no machine implies.

    Its registration, targets of notices, sources that are watched, states with several tasks that
    have begun, resources, and a watermark, which at 0 would lie half a century behind.
    """
    empty = {family.metric.name for family in collected(snapshot()) if not family.series}

    assert empty == {
        "statepipe_watermark_timestamp_seconds",
        "statepipe_machine_info",
        "statepipe_notices_pending",
        "statepipe_notices_total",
        "statepipe_resource_slots",
        "statepipe_resource_slots_in_use",
        "statepipe_resource_waiting",
        "statepipe_schema_drift_total",
        "statepipe_tasks_skipped_total",
        "statepipe_trigger_occasions_total",
    }


@pytest.mark.parametrize(
    "series",
    [
        "statepipe_transitions_total event=ok machine=m source=one target=two",
        "statepipe_transitions_total event=create machine=m source= target=one",
        "statepipe_state_attempts_total machine=m outcome=lost state=two",
        "statepipe_retries_exhausted_total machine=m state=one",
        "statepipe_errors_total error_class=other machine=m state=one",
        "statepipe_errors_total error_class=TaskTimeout machine=m state=two",
        "statepipe_records_total direction=rejected machine=m state=one",
        "statepipe_bytes_total direction=out machine=m state=one",
        "statepipe_backpressure_seconds_total machine=m state=one",
        "statepipe_resumes_total cause=migration machine=m",
        "statepipe_fenced_writes_total machine=m",
        "statepipe_instances_finished_total machine=m result=cancelled",
        "statepipe_state_duration_seconds_count machine=m outcome=timeout state=one",
        "statepipe_state_duration_seconds_bucket le=+Inf machine=m outcome=ok state=one",
        "statepipe_instance_duration_seconds_count machine=m result=failed",
        "statepipe_queue_wait_seconds_sum machine=m",
        "statepipe_store_commit_duration_seconds_bucket le=0.0001",
        "statepipe_store_changes_total",
        "statepipe_store_lock_wait_seconds_total",
        "statepipe_instances machine=m state=cancelled",
        "statepipe_stalled_instances machine=m",
        "statepipe_oldest_unfinished_timestamp_seconds machine=m",
        "statepipe_last_success_timestamp_seconds machine=m",
        "statepipe_last_completion_timestamp_seconds machine=m",
        "statepipe_queue_oldest_timestamp_seconds",
    ],
)
def test_a_series_that_a_machine_implies_is_there_at_zero(series: str) -> None:
    """The first failure is then an increase, from 0 to 1, and an alert fires on it."""
    assert _shown(snapshot())[series] == 0


def test_what_was_counted_takes_the_place_of_zero() -> None:
    """A row of a table is the value of one series, in Prometheus's units."""
    seen = _shown(
        snapshot(
            counts=[
                Count("attempts", "m", "one", "error", 7),
                Count("finished", "m", "", "done", 3),
                Count("fenced", "m", "", "", 2),
                Count("drift", "m", "one", "added", 8),
                Count("changes", "", "", "", 41),
                Count("lock_wait_us", "", "", "", 1_500_000),
                Count("notices", "", "oncall", "sent", 5),
                Count("occasions", "m", "nightly", "passed over", 6),
                Count("waited_ms", "m", "one", "", 2_500),
                Count("of_a_later_release", "m", "", "", 9),
            ],
            resources=[Used("api", None, 0, 7), Used("crm", 4, 3, 0)],
            moments=[Moment("success", "m", 1_700_000_000_500)],
            machines=[Known("m", 3, "abc", "{}")],
            stalled={"m": 4},
            oldest_at_ms={"m": 1_600_000_000_000},
            queue_depth=6,
            queue_since_ms=1_650_000_000_000,
            workers=2,
            slots=128,
            slots_in_use=5,
            pending={"oncall": 1},
        )
    )

    assert seen["statepipe_state_attempts_total machine=m outcome=error state=one"] == 7
    assert seen["statepipe_instances_finished_total machine=m result=done"] == 3
    assert seen["statepipe_fenced_writes_total machine=m"] == 2
    assert seen["statepipe_schema_drift_total kind=added machine=m source=one"] == 8
    assert seen["statepipe_store_changes_total"] == 41
    assert seen["statepipe_store_lock_wait_seconds_total"] == 1.5
    assert (
        seen["statepipe_trigger_occasions_total machine=m outcome=passed over trigger=nightly"] == 6
    )
    assert seen["statepipe_notices_total outcome=sent target=oncall"] == 5
    assert seen["statepipe_backpressure_seconds_total machine=m state=one"] == 2.5
    assert seen["statepipe_resource_slots resource=crm"] == 4
    assert seen["statepipe_resource_slots_in_use resource=crm"] == 3
    assert seen["statepipe_resource_waiting resource=api"] == 7
    assert not any(series.startswith("statepipe_resource_slots resource=api") for series in seen)
    assert seen["statepipe_last_success_timestamp_seconds machine=m"] == 1_700_000_000.5
    assert seen["statepipe_machine_info digest=abc machine=m version=3"] == 1
    assert seen["statepipe_stalled_instances machine=m"] == 4
    assert seen["statepipe_oldest_unfinished_timestamp_seconds machine=m"] == 1_600_000_000
    assert seen["statepipe_queue_depth"] == 6
    assert seen["statepipe_queue_oldest_timestamp_seconds"] == 1_650_000_000
    assert seen["statepipe_workers"] == 2
    assert seen["statepipe_worker_slots"] == 128
    assert seen["statepipe_worker_slots_in_use"] == 5
    assert seen["statepipe_notices_pending target=oncall"] == 1
    assert not any("later_release" in series for series in seen)


def test_buckets_are_made_cumulative_and_the_last_holds_everything() -> None:
    """The store keeps one row for each bucket that has anything, in any order."""

    def row(le_us: int, n: int, sum_us: int) -> Timing:
        return Timing("state", "m", "one", "ok", le_us, n, sum_us, 1, 1, None)

    rows = [row(ABOVE, 1, 90_000_000_000), row(50_000, 2, 60_000), row(1_000_000, 3, 1_500_000)]
    seen = _shown(snapshot(timings=rows))

    name = "statepipe_state_duration_seconds"
    whose = "machine=m outcome=ok state=one"
    bounds = [us / 1_000_000 for us in STATE_BOUNDS_US]
    counted = [seen[f"{name}_bucket le={bound} {whose}"] for bound in bounds]
    assert counted == [0, 2, 2, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5]
    assert seen[f"{name}_bucket le=+Inf {whose}"] == 6
    assert seen[f"{name}_count {whose}"] == 6
    assert seen[f"{name}_sum {whose}"] == pytest.approx(90_001.56)


def test_instances_by_state_are_those_that_came_less_those_that_left() -> None:
    """No scan of a million rows; and pruned ones have left the store."""
    seen = _shown(
        snapshot(
            taken=[
                Taken("m", "", "create", "one", 10, 2),
                Taken("m", "one", "ok", "two", 7, 2),
                Taken("m", "one", "error", "failed", 2, 0),
                Taken("m", "two", "ok", "done", 6, 2),
                Taken("m", "two", "again", "one", 1, 0),
                Taken("m", "failed", "resume", "one", 1, 0),
            ]
        )
    )

    states = ("one", "two", "done", "failed", "rejected", "cancelled")
    standing = [seen[f"statepipe_instances machine=m state={state}"] for state in states]
    assert standing == [3, 0, 4, 1, 0, 0]
    assert seen["statepipe_transitions_total event=create machine=m source= target=one"] == 10


def test_a_queue_too_long_to_be_counted_is_worked_out() -> None:
    """A million ready instances are those that have not ended and that nobody holds."""
    seen = _shown(
        snapshot(
            taken=[
                Taken("m", "", "create", "one", 1_000_000, 0),
                Taken("m", "one", "ok", "two", 30, 0),
                Taken("m", "two", "ok", "done", 10, 0),
            ],
            queue_depth=QUEUE_COUNTED_MAX,
            held=64,
        )
    )

    assert seen["statepipe_queue_depth"] == 1_000_000 - 10 - 64


def test_of_a_store_that_cannot_be_read_nothing_is_counted() -> None:
    """A counter that fell to 0 for one scrape would come back as an increase that never was."""
    seen = _shown(None)

    assert {series.partition(" ")[0] for series in seen} == {
        "statepipe_exporter_errors_total",
        "statepipe_exporter_collect_seconds",
        "statepipe_build_info",
        "statepipe_store_bytes",
        "statepipe_store_wal_bytes",
    }


def test_several_stores_are_told_apart_by_a_label() -> None:
    """The same machine may run in both."""
    shapes = [shape_of(form())]
    views = [
        View(store, snapshot(counts=[Count("fenced", "m", "", "", n)]), shapes, (1, 2), 0, 0.1)
        for store, n in (("a", 1), ("b", 2))
    ]
    seen = shown(render(families(views, version="1", several=True), openmetrics=False))

    assert seen["statepipe_fenced_writes_total machine=m store=a"] == 1
    assert seen["statepipe_fenced_writes_total machine=m store=b"] == 2
    assert all("store=" in series for series in seen)
