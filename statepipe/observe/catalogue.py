"""
Every metric: the one place for names, kinds, labels, help texts and units.

    CATALOGUE   what the exporter serves
    STORE       the label in front of all others when several stores are served

The exporter takes its texts from here, dashboards and rules are compared with it, and
docs/metrics.md says of each what a rise means. Label values come from definitions alone:
never an instance id, a host, a date, a file or a message.
"""

from dataclasses import dataclass
from typing import Final, Literal

#: Put in front of a metric's own labels when one exporter serves several stores.
STORE: Final = "store"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """
    One metric family.

    Attributes:
        name: As it is queried: a counter ends in `_total`; a histogram's series add `_bucket`,
            `_sum` and `_count` to it.
        kind: "counter", "gauge" or "histogram".
        labels: Its labels, in the order of exposition; without STORE.
        help: One sentence, for HELP.
        unit: "seconds", "bytes", or "" for a plain number.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...] = ()
    help: str
    unit: Literal["", "seconds", "bytes"] = ""


_COUNTERS: Final = (
    Metric(
        name="statepipe_transitions_total",
        kind="counter",
        labels=("machine", "source", "target", "event"),
        help="Moves committed; the source is empty where an instance was created.",
    ),
    Metric(
        name="statepipe_state_attempts_total",
        kind="counter",
        labels=("machine", "state", "outcome"),
        help="Attempts that ended, by outcome: ok, error, timeout, lost.",
    ),
    Metric(
        name="statepipe_retries_exhausted_total",
        kind="counter",
        labels=("machine", "state"),
        help="Moves on error or timeout after all allowed attempts, where retries were allowed.",
    ),
    Metric(
        name="statepipe_errors_total",
        kind="counter",
        labels=("machine", "state", "error_class"),
        help="Attempts that failed, by declared error class; all others are counted as other.",
    ),
    Metric(
        name="statepipe_instances_finished_total",
        kind="counter",
        labels=("machine", "result"),
        help="Instances that came to an end, by result: done, failed, cancelled.",
    ),
    Metric(
        name="statepipe_schema_drift_total",
        kind="counter",
        labels=("machine", "source", "kind"),
        help="Columns of a source that drifted, by kind: added, removed, retyped, nulls.",
    ),
    Metric(
        name="statepipe_tasks_skipped_total",
        kind="counter",
        labels=("machine", "state"),
        help="Tasks, and elements of lists, that a state with several went on without.",
    ),
    Metric(
        name="statepipe_resumes_total",
        kind="counter",
        labels=("machine", "cause"),
        help="Times an instance went on from its last commit, by cause: crash, manual, migration.",
    ),
    Metric(
        name="statepipe_fenced_writes_total",
        kind="counter",
        labels=("machine",),
        help="Writes refused because another process had taken the instance over.",
    ),
    Metric(
        name="statepipe_records_total",
        kind="counter",
        labels=("machine", "state", "direction"),
        help="Records committed, by direction: in, out, rejected, replayed.",
    ),
    Metric(
        name="statepipe_bytes_total",
        kind="counter",
        labels=("machine", "state", "direction"),
        help="Bytes of staged batches committed, by direction: out.",
        unit="bytes",
    ),
    Metric(
        name="statepipe_backpressure_seconds_total",
        kind="counter",
        labels=("machine", "state"),
        help="Time that attempts waited for a slot, a permit, or room for staged batches.",
        unit="seconds",
    ),
    Metric(
        name="statepipe_store_changes_total",
        kind="counter",
        help="Changes committed by group commits.",
    ),
    Metric(
        name="statepipe_store_lock_wait_seconds_total",
        kind="counter",
        help="Time that commits waited for the write lock of the store.",
        unit="seconds",
    ),
    Metric(
        name="statepipe_trigger_occasions_total",
        kind="counter",
        labels=("machine", "trigger", "outcome"),
        help="Occasions of triggers, by outcome: started, refused, skipped, passed over.",
    ),
    Metric(
        name="statepipe_notices_total",
        kind="counter",
        labels=("target", "outcome"),
        help="Notifications that were settled, by outcome: sent, dropped, given up.",
    ),
    Metric(
        name="statepipe_exporter_errors_total",
        kind="counter",
        help="Collections of this exporter that failed, since it started.",
    ),
)

_HISTOGRAMS: Final = (
    Metric(
        name="statepipe_state_duration_seconds",
        kind="histogram",
        labels=("machine", "state", "outcome"),
        help="Time from entering a state to leaving it, by outcome: ok, error, timeout.",
        unit="seconds",
    ),
    Metric(
        name="statepipe_instance_duration_seconds",
        kind="histogram",
        labels=("machine", "result"),
        help="Time from the creation of an instance to its end, by result.",
        unit="seconds",
    ),
    Metric(
        name="statepipe_queue_wait_seconds",
        kind="histogram",
        labels=("machine",),
        help="Time from when an instance was ready until a process claimed it.",
        unit="seconds",
    ),
    Metric(
        name="statepipe_store_commit_duration_seconds",
        kind="histogram",
        help="Time of one group commit, from the write lock to the acknowledgement.",
        unit="seconds",
    ),
)

_GAUGES: Final = (
    Metric(
        name="statepipe_instances",
        kind="gauge",
        labels=("machine", "state"),
        help="Instances in the store, by the state they are in.",
    ),
    Metric(
        name="statepipe_stalled_instances",
        kind="gauge",
        labels=("machine",),
        help="Unfinished instances whose driver is dead.",
    ),
    Metric(
        name="statepipe_oldest_unfinished_timestamp_seconds",
        kind="gauge",
        labels=("machine",),
        help="When the oldest unfinished instance was created; 0 if there is none.",
        unit="seconds",
    ),
    Metric(
        name="statepipe_last_success_timestamp_seconds",
        kind="gauge",
        labels=("machine",),
        help="When an instance was last done; 0 if never.",
        unit="seconds",
    ),
    Metric(
        name="statepipe_last_completion_timestamp_seconds",
        kind="gauge",
        labels=("machine",),
        help="When an instance last came to an end, whatever the result; 0 if never.",
        unit="seconds",
    ),
    Metric(
        name="statepipe_queue_depth",
        kind="gauge",
        help="Instances that are ready, and that no process drives yet.",
    ),
    Metric(
        name="statepipe_queue_oldest_timestamp_seconds",
        kind="gauge",
        help="Since when the longest waiting of them has been ready; 0 if none waits.",
        unit="seconds",
    ),
    Metric(
        name="statepipe_workers",
        kind="gauge",
        help="Live processes that drive instances of this store.",
    ),
    Metric(
        name="statepipe_worker_slots",
        kind="gauge",
        help="Instances that these processes drive at most, together.",
    ),
    Metric(
        name="statepipe_worker_slots_in_use",
        kind="gauge",
        help="Instances that they drive now.",
    ),
    Metric(
        name="statepipe_resource_slots",
        kind="gauge",
        labels=("resource",),
        help="Attempts that may use a resource at once; only resources that have slots.",
    ),
    Metric(
        name="statepipe_resource_slots_in_use",
        kind="gauge",
        labels=("resource",),
        help="Slots of the resource that live processes hold.",
    ),
    Metric(
        name="statepipe_resource_waiting",
        kind="gauge",
        labels=("resource",),
        help="Instances that have asked for a slot or a permit of the resource and wait.",
    ),
    Metric(
        name="statepipe_notices_pending",
        kind="gauge",
        labels=("target",),
        help="Notifications that are committed and not settled yet.",
    ),
    Metric(
        name="statepipe_store_bytes",
        kind="gauge",
        help="Size of the store's main file.",
        unit="bytes",
    ),
    Metric(
        name="statepipe_store_wal_bytes",
        kind="gauge",
        help="Size of the store's write-ahead log.",
        unit="bytes",
    ),
    Metric(
        name="statepipe_exporter_collect_seconds",
        kind="gauge",
        help="Time that this collection took.",
        unit="seconds",
    ),
    Metric(
        name="statepipe_build_info",
        kind="gauge",
        labels=("version",),
        help="Always 1; the label is the version of statepipe that serves these metrics.",
    ),
    Metric(
        name="statepipe_watermark_timestamp_seconds",
        kind="gauge",
        labels=("machine", "source"),
        help="How far a machine has loaded a source, as the moment its watermark stands for.",
        unit="seconds",
    ),
    Metric(
        name="statepipe_machine_info",
        kind="gauge",
        labels=("machine", "version", "digest"),
        help="Always 1; the version and the digest of a machine as last registered.",
    ),
)

#: What the exporter serves.
CATALOGUE: Final = (*_COUNTERS, *_HISTOGRAMS, *_GAUGES)
