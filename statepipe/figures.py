"""
What is counted and timed: the nouns that the store writes and the exporter shows.

    *_BOUNDS_US     upper bounds of histogram buckets, in microseconds
    bucket_of       the bucket of a duration
    Count, Timing, Moment   one row each of the tables `counter`, `duration` and `latest`

Every number in them is written in the commit of what it counts, so that no crash loses
one and none falls. What a metric means is specified in checkpoints/README.md.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

_SECOND_US: Final = 1_000_000

#: Stays in a state, lives of instances, waits for a worker.
STATE_BOUNDS_US: Final = tuple(
    round(seconds * _SECOND_US)
    for seconds in (0.01, 0.05, 0.25, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3_600, 14_400, 86_400)
)

#: Commits of the store.
COMMIT_BOUNDS_US: Final = (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000)

#: The bucket above the last bound.
ABOVE: Final = -1

#: Metrics of `duration`, each with its bounds.
BOUNDS_US: Final = {
    "state": STATE_BOUNDS_US,
    "instance": STATE_BOUNDS_US,
    "queue": STATE_BOUNDS_US,
    "commit": COMMIT_BOUNDS_US,
}

#: So many ready instances are counted; beyond that their number is worked out.
QUEUE_COUNTED_MAX: Final = 100_000

#: What an error is counted as if nobody declared its class.
OTHER: Final = "other"


def bucket_of(us: int, bounds_us: Sequence[int]) -> int:
    """Return the upper bound of the bucket that `us` microseconds fall into, or ABOVE."""
    at = bisect_left(bounds_us, us)
    return bounds_us[at] if at < len(bounds_us) else ABOVE


class Count(NamedTuple):
    """One row of `counter`; `state` and `label` are "" where a metric has none."""

    metric: str
    machine: str
    state: str
    label: str
    value: int


class Timing(NamedTuple):
    """
    One bucket of a histogram, not cumulative: one row of `duration`.

    Attributes:
        metric, machine, state, label: Which histogram; "" where it has none.
        le_us: The bucket's upper bound, or ABOVE.
        n: How many observations fell into it.
        sum_us: Their sum, in microseconds.
        last_us: The latest of them.
        last_at_ms: When that was.
        last_instance: Whose it was; None if it belongs to no instance.
    """

    metric: str
    machine: str
    state: str
    label: str
    le_us: int
    n: int
    sum_us: int
    last_us: int
    last_at_ms: int
    last_instance: int | None


class Moment(NamedTuple):
    """One row of `latest`: when something last happened to any instance of a machine."""

    metric: str  # "success" or "completion"
    machine: str
    at_ms: int


class Taken(NamedTuple):
    """One row of `transition_count`; the source is "" where instances were created."""

    machine: str
    source: str
    event: str
    target: str
    times: int
    pruned: int  # of these, by instances that are no longer in the store


class Known(NamedTuple):
    """A machine as it was last registered; `body` is its canonical form, JSON."""

    machine: str
    version: int
    digest: str
    body: str


class Used(NamedTuple):
    """How a resource is used; `slots` is None if it has none to count."""

    resource: str
    slots: int | None
    in_use: int
    waiting: int


class Snapshot(NamedTuple):
    """
    Everything that a store says of itself at one moment.

    Attributes:
        taken: Moves by transition.
        counts: All counters.
        timings: All buckets of all histograms, those of one histogram in order of `le_us`.
        moments: When something last happened.
        ids: Ids of instances by number: those that recent observations are of.
        recent_after_ms: Only later observations are worth an exemplar.
        machines: What each machine was last registered as.
        stalled: Instances held by dead workers, by machine; only machines that have some.
        oldest_at_ms: When the oldest unfinished instance was created, likewise.
        queue_depth: How many instances are ready and free; not above QUEUE_COUNTED_MAX.
        queue_since_ms: Since when the first of them has been ready, None if there is none.
        held: Instances that some worker holds, dead or alive.
        workers: Live workers.
        slots: Instances that these drive at most.
        slots_in_use: Instances that these drive.
        pending: Notices not settled yet, by target; only targets that have some.
        watermarks: How far sources have been loaded, by machine and state, in seconds since
            1970; only those whose watermark is a date or a moment.
        resources: How each resource is used.
    """

    taken: Sequence[Taken]
    counts: Sequence[Count]
    timings: Sequence[Timing]
    moments: Sequence[Moment]
    ids: Mapping[int, str]
    recent_after_ms: int
    machines: Sequence[Known]
    stalled: Mapping[str, int]
    oldest_at_ms: Mapping[str, int]
    queue_depth: int
    queue_since_ms: int | None
    held: int
    workers: int
    slots: int
    slots_in_use: int
    pending: Mapping[str, int]
    watermarks: Mapping[tuple[str, str], float]
    resources: Sequence[Used] = ()
