"""
Who drives, and if nobody does, why.

    named       a process as its name in the journal says it
    demise      by what a process is known to be dead
    nobody      why nobody drives an instance that could be driven
"""

from collections.abc import Sequence
from typing import Final

from statepipe.machine.digest import describe_changes
from statepipe.runtime.reasons import turns
from statepipe.runtime.reasons.reason import Reason, because
from statepipe.store.liveness import Death
from statepipe.store.questions.evidence import Driver, Evidence
from statepipe.store.questions.outdated import Outdated
from statepipe.tasknames import task_of

_DEMISE: Final[dict[Death, str]] = {
    "stopped": "it ended in order",
    "rebooted": "its machine was started anew since",
    "gone": "its process is gone",
    "overdue": "its lease has passed: it was stopped, or its machine slept",
}


def named(name: str) -> str:
    """Return "process 12 on host" of a worker's name, "host:12:1f2e3d4c"."""
    host, pid, unique = ("::" + name).rsplit(":", 2)
    return f"process {pid} on {host[2:]}" if pid.isdigit() and unique else name


def demise(death: Death) -> str:
    """Return by what a process is known to be dead, as a sentence without its end."""
    return _DEMISE[death]


def nobody(known: Evidence) -> list[Reason]:
    """Return why nobody drives an instance that is ready, due, or left behind."""
    alive = [driver for driver in known.drivers if driver.death is None]
    said = [*turns.key(known), *_changed(known)]
    if not alive:
        said.append(because("no_worker", "no process that drives instances is alive", alive=0))
        said += turns.queue(known, alive)
    elif not said:
        said += turns.queue(known, alive) or _outdated(known, alive) or [_left_alone(alive)]
    return said


def _outdated(known: Evidence, alive: Sequence[Driver]) -> list[Reason]:
    """Return that who would drive it has read its machine before that changed."""
    machine, queue = known.found.machine, known.turn.queue
    whole = task_of(machine)
    machine = whole.machine if whole else machine
    would = [each for each in alive if queue in (each.queues or ())]
    old = [each for each in would if machine in each.outdated]
    if not old or any(machine in (each.machines or ()) for each in would if each not in old):
        return []
    said = Outdated(machine, old[0].host, old[0].pid)
    pids = [each.pid for each in old]
    return [because("outdated", f"{said.said}: {said.fix}", machine=machine, pids=pids)]


def _left_alone(alive: Sequence[Driver]) -> Reason:
    drives = sum(driver.drives for driver in alive)
    slots = sum(driver.slots for driver in alive)
    facts = {
        "alive": len(alive),
        "drives": drives,
        "slots": slots,
        "pids": [driver.pid for driver in alive],
    }
    one = len(alive) == 1
    who = f"{named(alive[0].name)} is alive" if one else f"{len(alive)} processes are alive"
    has = f"{'drives' if one else 'drive'} {drives:,} of at most {slots:,}"
    if drives >= slots > 0:
        text = f"{who} and {has}: there is no room"
        return Reason("no_room", text, None, facts)
    text = (
        f"{who} and {has}, and left it alone so far: driving only what it was given"
        " (run, resume), without this machine, or about to look"
    )
    return Reason("left_alone", text, None, facts)


def _changed(known: Evidence) -> list[Reason]:
    """Return that the machine has changed since; a worker leaves such an instance alone."""
    found, newest = known.found, known.newest
    if newest.digest == found.digest:
        return []
    changes = describe_changes(found.form, newest.form)
    return [
        because(
            "changed",
            f"the machine has changed since, and workers leave alone what began otherwise:"
            f" {'; '.join(changes)}",
            at_ms=newest.since_ms,
            changes=changes,
            version=newest.version,
        )
    ]
