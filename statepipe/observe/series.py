"""
From what stores say to series: every metric of the catalogue, with all of its label values.

    View        one store as it was seen by one collection
    families    the series of all views, ready to be written down
    Family      one metric with its series
    Histogram   the value of a histogram's series

What a machine implies is there at 0; what was counted replaces it. Nothing here reads or
writes anything.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, product
from typing import Final, NamedTuple

from statepipe.figures import ABOVE, BOUNDS_US, QUEUE_COUNTED_MAX, Snapshot, Timing
from statepipe.observe.catalogue import CATALOGUE, STORE, Metric
from statepipe.observe.shape import Shape

#: An exemplar's labels, names and values together, have at most so many characters.
EXEMPLAR_CHARS_MAX: Final = 128
#: The label of an exemplar: whose observation it is. Never a label of a series.
EXEMPLAR_LABEL: Final = "instance"

_OUTCOMES: Final = ("ok", "error", "timeout")
_RESULTS: Final = ("done", "failed", "cancelled")
_US_A_SECOND: Final = 1_000_000
_MS_A_SECOND: Final = 1_000

Labels = tuple[str, ...]


class Exemplar(NamedTuple):
    """One observation behind a bucket: whose it was, its value, and when; in seconds."""

    instance: str
    value: float
    at: float


class Histogram(NamedTuple):
    """
    The value of one series of a histogram.

    Attributes:
        counts: Observations up to each bound, cumulative; the last is all of them.
        sum: Of the observations, in seconds.
        exemplars: By the number of the bucket.
    """

    counts: tuple[int, ...]
    sum: float
    exemplars: Mapping[int, Exemplar]


class Family(NamedTuple):
    """
    One metric with its series.

    Attributes:
        metric: From the catalogue.
        labels: Names of its labels, the store's in front if several are served.
        bounds: Upper bounds of a histogram's buckets in seconds, without +Inf; else empty.
        series: By the values of the labels, in their order.
    """

    metric: Metric
    labels: Labels
    bounds: tuple[float, ...]
    series: "dict[Labels, float | Histogram]"


class View(NamedTuple):
    """
    One store as one collection saw it.

    Attributes:
        store: What it is called where several are served.
        snapshot: What it says; None if it could not be read.
        shapes: The machines that are known of it.
        targets: Who may be told by notices.
        size: Bytes of its main file and of its WAL; None if there is none.
        errors: Collections of it that failed since the exporter started.
        took_s: How long reading it took this time.
    """

    store: str
    snapshot: Snapshot | None
    shapes: Sequence[Shape]
    size: tuple[int, int] | None
    errors: int
    took_s: float
    targets: Sequence[str] = ()


#: Rows of `counter`: the metric, and which of machine, state and label it has.
_COUNTED: Final = {
    "attempts": ("statepipe_state_attempts_total", (1, 2, 3)),
    "exhausted": ("statepipe_retries_exhausted_total", (1, 2)),
    "errors": ("statepipe_errors_total", (1, 2, 3)),
    "records": ("statepipe_records_total", (1, 2, 3)),
    "bytes": ("statepipe_bytes_total", (1, 2, 3)),
    "drift": ("statepipe_schema_drift_total", (1, 2, 3)),
    "skipped": ("statepipe_tasks_skipped_total", (1, 2)),
    "resumes": ("statepipe_resumes_total", (1, 3)),
    "fenced": ("statepipe_fenced_writes_total", (1,)),
    "finished": ("statepipe_instances_finished_total", (1, 3)),
    "changes": ("statepipe_store_changes_total", ()),
    "notices": ("statepipe_notices_total", (2, 3)),
    "occasions": ("statepipe_trigger_occasions_total", (1, 2, 3)),
}
#: Rows of `duration`, likewise.
_TIMED: Final = {
    "state": ("statepipe_state_duration_seconds", (1, 2, 3)),
    "instance": ("statepipe_instance_duration_seconds", (1, 3)),
    "queue": ("statepipe_queue_wait_seconds", (1,)),
    "commit": ("statepipe_store_commit_duration_seconds", ()),
}
#: Rows of `latest`.
_LATEST: Final = {
    "success": "statepipe_last_success_timestamp_seconds",
    "completion": "statepipe_last_completion_timestamp_seconds",
}

_BUCKETS: Final = {
    metric: {le_us: at for at, le_us in enumerate((*bounds, ABOVE))}
    for metric, bounds in BOUNDS_US.items()
}
_EMPTY: Final = {
    metric: Histogram((0,) * (len(bounds) + 1), 0.0, {}) for metric, bounds in BOUNDS_US.items()
}
_METRIC_OF: Final = {name: metric for metric, (name, _) in _TIMED.items()}


def families(views: Iterable[View], *, version: str, several: bool) -> list[Family]:
    """
    Return every metric of the catalogue with the series of all stores.

    Args:
        views: The stores.
        version: Of statepipe.
        several: True to name the store in each series.
    """
    found = {metric.name: _family(metric, several=several) for metric in CATALOGUE}
    for view in views:
        _Writer(found, (view.store,) if several else ()).write(view, version=version)
    return list(found.values())


def _family(metric: Metric, *, several: bool) -> Family:
    bounds = BOUNDS_US[_METRIC_OF[metric.name]] if metric.kind == "histogram" else ()
    return Family(
        metric,
        (STORE, *metric.labels) if several else metric.labels,
        tuple(le_us / _US_A_SECOND for le_us in bounds),
        {},
    )


class _Writer:
    """Puts the series of one store into the families."""

    def __init__(self, found: Mapping[str, Family], store: Labels) -> None:
        self._series = {name: family.series for name, family in found.items()}
        self._store = store

    def write(self, view: View, *, version: str) -> None:
        self._put("statepipe_exporter_errors_total", (), view.errors)
        self._put("statepipe_exporter_collect_seconds", (), view.took_s)
        self._put("statepipe_build_info", (version,), 1)
        if view.size is not None:
            self._put("statepipe_store_bytes", (), view.size[0])
            self._put("statepipe_store_wal_bytes", (), view.size[1])
        # At 0 only beside what was counted: a counter of a store that cannot be read now
        # would fall to 0, and come back as an increase that never was.
        if view.snapshot is not None:
            self._zeros(view.shapes)
            self._untold(view.targets)
            self._counters(view.snapshot)
            self._histograms(view.snapshot)
            self._gauges(view.snapshot, view.shapes)

    def _put(self, name: str, labels: Labels, value: float | Histogram) -> None:
        self._series[name][(*self._store, *labels)] = value

    def _zeros(self, shapes: Sequence[Shape]) -> None:
        for name in ("statepipe_store_changes_total", "statepipe_store_lock_wait_seconds_total"):
            self._put(name, (), 0)
        self._put("statepipe_store_commit_duration_seconds", (), _EMPTY["commit"])
        for shape in shapes:
            for name, zeros in _zeros_of(shape, self._store).items():
                self._series[name].update(zeros)

    def _untold(self, targets: Sequence[str]) -> None:
        for target in targets:
            self._put("statepipe_notices_pending", (target,), 0)
            for outcome in ("sent", "dropped", "given up"):
                self._put("statepipe_notices_total", (target, outcome), 0)

    def _counters(self, snapshot: Snapshot) -> None:
        for row in snapshot.taken:
            labels = (row.machine, row.source, row.target, row.event)
            self._put("statepipe_transitions_total", labels, row.times)
        for count in snapshot.counts:
            if count.metric == "lock_wait_us":
                seconds = count.value / _US_A_SECOND
                self._put("statepipe_store_lock_wait_seconds_total", (), seconds)
            elif count.metric == "waited_ms":
                name = "statepipe_backpressure_seconds_total"
                self._put(name, (count.machine, count.state), count.value / _MS_A_SECOND)
            elif count.metric in _COUNTED:
                name, which = _COUNTED[count.metric]
                self._put(name, tuple(str(count[at]) for at in which), count.value)

    def _histograms(self, snapshot: Snapshot) -> None:
        grouped: dict[Labels, list[Timing]] = {}
        for row in snapshot.timings:
            grouped.setdefault(row[:4], []).append(row)
        for (metric, *_), rows in grouped.items():
            if metric in _TIMED:
                name, which = _TIMED[metric]
                labels = tuple(str(rows[0][at]) for at in which)
                self._put(name, labels, _histogram(metric, rows, snapshot))

    def _resources(self, snapshot: Snapshot) -> None:
        for used in snapshot.resources:
            self._put("statepipe_resource_waiting", (used.resource,), used.waiting)
            if used.slots is not None:
                self._put("statepipe_resource_slots", (used.resource,), used.slots)
                self._put("statepipe_resource_slots_in_use", (used.resource,), used.in_use)

    def _gauges(self, snapshot: Snapshot, shapes: Sequence[Shape]) -> None:
        standing = _standing(snapshot)
        for (machine, state), number in standing.items():
            self._put("statepipe_instances", (machine, state), number)
        for moment in snapshot.moments:
            if moment.metric in _LATEST:
                at_s = moment.at_ms / _MS_A_SECOND
                self._put(_LATEST[moment.metric], (moment.machine,), at_s)
        for machine, number in snapshot.stalled.items():
            self._put("statepipe_stalled_instances", (machine,), number)
        for machine, at_ms in snapshot.oldest_at_ms.items():
            name = "statepipe_oldest_unfinished_timestamp_seconds"
            self._put(name, (machine,), at_ms / _MS_A_SECOND)
        for target, number in snapshot.pending.items():
            self._put("statepipe_notices_pending", (target,), number)
        self._resources(snapshot)
        for source, at_s in snapshot.watermarks.items():
            self._put("statepipe_watermark_timestamp_seconds", source, at_s)
        for known in snapshot.machines:
            labels = (known.machine, str(known.version), known.digest)
            self._put("statepipe_machine_info", labels, 1)
        depth = _queue_depth(snapshot, shapes, standing)
        self._put("statepipe_queue_depth", (), depth)
        since_s = (snapshot.queue_since_ms or 0) / _MS_A_SECOND
        self._put("statepipe_queue_oldest_timestamp_seconds", (), since_s)
        self._put("statepipe_workers", (), snapshot.workers)
        self._put("statepipe_worker_slots", (), snapshot.slots)
        self._put("statepipe_worker_slots_in_use", (), snapshot.slots_in_use)


@lru_cache(maxsize=1_024)
def _zeros_of(shape: Shape, store: Labels) -> Mapping[str, Mapping[Labels, float | Histogram]]:
    """Return the series that a machine implies; made once, for they are most of all there are."""
    return {
        name: dict.fromkeys(
            ((*store, shape.machine, *labels) for labels in implied(shape)),
            _EMPTY[_METRIC_OF[name]] if name in _METRIC_OF else 0,
        )
        for name, implied in _IMPLIED.items()
    }


def _standing(snapshot: Snapshot) -> Counter[tuple[str, str]]:
    """Return how many instances are in each state: those that came less those that left."""
    standing: Counter[tuple[str, str]] = Counter()
    for row in snapshot.taken:
        times = row.times - row.pruned
        standing[row.machine, row.target] += times
        if row.source:
            standing[row.machine, row.source] -= times
    return standing


def _queue_depth(
    snapshot: Snapshot, shapes: Sequence[Shape], standing: Mapping[tuple[str, str], int]
) -> int:
    """
    Return how many instances are ready and free.

    Counting a million of them would take longer than a scrape may; beyond what was
    counted, it is those that have not ended and that nobody holds.
    """
    if snapshot.queue_depth < QUEUE_COUNTED_MAX:
        return snapshot.queue_depth
    acting = {(shape.machine, state) for shape in shapes for state in shape.acting}
    unfinished = sum(standing.get(each, 0) for each in acting)
    return max(snapshot.queue_depth, unfinished - snapshot.held)


def _histogram(metric: str, rows: Sequence[Timing], snapshot: Snapshot) -> Histogram:
    places = _BUCKETS[metric]
    counts = [0] * len(places)
    sum_us = 0
    for row in rows:
        counts[places[row.le_us]] = row.n
        sum_us += row.sum_us
    exemplars = _exemplars(rows, snapshot) if snapshot.ids else {}
    return Histogram(tuple(accumulate(counts)), sum_us / _US_A_SECOND, exemplars)


def _exemplars(rows: Sequence[Timing], snapshot: Snapshot) -> dict[int, Exemplar]:
    exemplars = {}
    for row in rows:
        if row.last_instance is None or row.last_at_ms <= snapshot.recent_after_ms:
            continue
        instance = snapshot.ids.get(row.last_instance)
        if instance is not None and len(EXEMPLAR_LABEL) + len(instance) <= EXEMPLAR_CHARS_MAX:
            seconds, at_s = row.last_us / _US_A_SECOND, row.last_at_ms / _MS_A_SECOND
            exemplars[_BUCKETS[row.metric][row.le_us]] = Exemplar(instance, seconds, at_s)
    return exemplars


def _outcomes(shape: Shape) -> Iterator[Labels]:
    return product(shape.acting, _OUTCOMES)


#: Ways that records go in and out of a state; replayed ones are put into it from quarantine.
_DIRECTIONS: Final = ("in", "out", "rejected", "replayed")

#: Labels, after the machine's, that a machine implies.
_IMPLIED: Final[Mapping[str, Callable[[Shape], Iterable[Labels]]]] = {
    "statepipe_transitions_total": lambda shape: (
        (source, target, event) for source, event, target in shape.moves
    ),
    "statepipe_state_attempts_total": lambda shape: product(shape.acting, (*_OUTCOMES, "lost")),
    "statepipe_retries_exhausted_total": lambda shape: product(shape.acting),
    "statepipe_errors_total": lambda shape: shape.errors,
    "statepipe_records_total": lambda shape: product(shape.acting, _DIRECTIONS),
    "statepipe_bytes_total": lambda shape: product(shape.acting, ("out",)),
    "statepipe_backpressure_seconds_total": lambda shape: product(shape.acting),
    "statepipe_resumes_total": lambda _: product(("crash", "manual", "migration")),
    "statepipe_fenced_writes_total": lambda _: [()],
    "statepipe_instances_finished_total": lambda _: product(_RESULTS),
    "statepipe_state_duration_seconds": _outcomes,
    "statepipe_instance_duration_seconds": lambda _: product(_RESULTS),
    "statepipe_queue_wait_seconds": lambda _: [()],
    "statepipe_instances": lambda shape: product((*shape.acting, *shape.resting)),
    "statepipe_stalled_instances": lambda _: [()],
    "statepipe_oldest_unfinished_timestamp_seconds": lambda _: [()],
    "statepipe_last_success_timestamp_seconds": lambda _: [()],
    "statepipe_last_completion_timestamp_seconds": lambda _: [()],
}
