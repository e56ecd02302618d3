"""
What a change makes of the outbox: the notices that go into its own commit.

    with_notices    the rows that go with a change, and the notices it causes

An alert is therefore never lost with the process that caused it, and nothing is announced
that was not committed. A target is told of one change once: of an end, if it hears of that;
otherwise of the retries that were of no use; otherwise of what drifted.
"""

from typing import Final

from statepipe.drift import told as in_words
from statepipe.errors import SchemaDrift
from statepipe.machine.alerts import Alerts
from statepipe.model import Attachment, Change, Notice, Status
from statepipe.observe.notices.body import Occasion, body_of
from statepipe.runtime.driving.drive import Drive
from statepipe.store.metrics.counters import is_exhausted

_ENDS: Final = {Status.DONE: "done", Status.FAILED: "failed"}


def with_notices(drive: Drive, change: Change, attachment: Attachment | None) -> Attachment | None:
    """Return what goes with `change`, a move or a batch, with the notices that it causes."""
    alerts = drive.program.alerts
    if alerts is None or (change.detail is None and change.status == Status.READY):
        return attachment  # most moves are plain, and nobody is told of them
    told: dict[str, str] = {}
    if change.detail is not None and change.detail.drifts:
        told |= dict.fromkeys(alerts.drift, "drift")
    if attachment is not None and attachment.family is not None and attachment.family.skips:
        told |= dict.fromkeys(alerts.skipped, "skipped")
    if is_exhausted(change):
        told |= dict.fromkeys(alerts.exhausted, "retries_exhausted")
    if change.status in _ENDS:
        told |= dict.fromkeys(alerts.ends.get(change.state, ()), _ENDS[change.status])
    if not told:
        return attachment
    notices = tuple(
        _notice(drive, change, alerts, target=target, event=event) for target, event in told.items()
    )
    if attachment is None:
        return Attachment(drive.stay, change.source, notices=notices)
    return attachment._replace(notices=notices)


def _notice(drive: Drive, change: Change, alerts: Alerts, *, target: str, event: str) -> Notice:
    detail = change.detail
    error_class, error = (detail.error_class, detail.error) if detail else (None, None)
    if detail and event == "drift":
        error_class, error = SchemaDrift.__name__, "; ".join(map(in_words, detail.drifts))
    if detail and event == "skipped":
        error_class, error = "TasksSkipped", detail.note  # "without weather"
    row = f"{drive.n}:{drive.generation}:{change.seq + 1}"
    key = f"{alerts.store}:{row}:{event}:{target}"
    occasion = Occasion(
        event=event,
        at_ms=change.at_ms,
        store=alerts.store,
        env=alerts.env,
        machine=change.machine,
        version=alerts.version,
        instance=drive.id,
        state=change.source,
        target_state=change.state,
        attempt=drive.attempt + 1,
        error_class=error_class,
        error=error,
    )
    body = body_of(occasion, key=key)
    return Notice(key, event, target, change.machine, drive.id, body, change.at_ms)
