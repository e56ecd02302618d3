"""
Whether an instance has had its time, as its machine's file says now.

    late_of     why a resume of it would be refused; None if it has time
"""

from statepipe.cli.shared.places import config_here
from statepipe.clock import SystemClock
from statepipe.errors import Refused
from statepipe.machine.definition import Machine
from statepipe.model import Status
from statepipe.store.lookups.inspection import Inspection
from statepipe.tasknames import task_of


def late_of(found: Inspection) -> Refused | None:
    """Return why taking an instance back would be in vain, for a deadline that has passed."""
    if found.status == Status.DONE or found.is_being_cancelled or found.standing == "running":
        return None
    # Only what has not ended needs its machine to be read.
    from statepipe.machine.loading.loader import machine_named  # noqa: PLC0415  (imported when used)
    from statepipe.runtime.steering.lateness import (  # noqa: PLC0415  (likewise)
        deadline_of,
        lateness,
        lateness_of_parts,
    )

    def load(name: str) -> Machine:
        return machine_named(name, config_here().machines_dir)

    now_ms = SystemClock().now_ms()
    late = lateness(
        found.id,
        found.machine,
        deadline_ms=None if task_of(found.machine) else deadline_of(load, found.machine),
        created_at_ms=found.created_at_ms,
        now_ms=now_ms,
    )
    state = found.failed_state or found.state
    parts = found.going_on
    return late or lateness_of_parts(found.id, parts, state=state, load=load, now_ms=now_ms)
