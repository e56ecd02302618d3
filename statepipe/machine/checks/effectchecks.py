"""
What is exactly once only because somebody says so.

    check_effects   of the states of a machine, and of their tasks
"""

from collections.abc import Iterator
from dataclasses import replace

from statepipe.effects import AT_LEAST_ONCE, EXACTLY_ONCE, is_http
from statepipe.machine.checks.findings import Finding, warning
from statepipe.machine.definition import Machine
from statepipe.machine.states.tasks import Load, Run
from statepipe.machine.taskmachine import task_machines


def check_effects(machine: Machine) -> Iterator[Finding]:
    """Yield what is wrong with the effects of a machine, and of the tasks of its states."""
    yield from _effects(machine)
    for own in task_machines(machine):
        where = ".".join(own.name.split("/")[1:])
        yield from (replace(each, state=where) for each in _effects(own))


def _effects(machine: Machine) -> Iterator[Finding]:
    """What is not exactly once by a ledger is so by somebody's word, or not at all."""
    for state in machine.states:
        task = state.task
        if isinstance(task, Run) and task.effect == EXACTLY_ONCE:
            yield warning(
                state.name,
                "says exactly_once, which cannot be proved: after a crash its function runs again",
                "give task.idempotency_key along to a side that honours it,"
                f' or say effect = "{AT_LEAST_ONCE}"',
            )
        if not isinstance(task, Load) or not is_http(task.to):
            continue
        if task.effect == EXACTLY_ONCE:
            yield warning(
                state.name,
                "says exactly_once, which cannot be proved: the receiver must answer a repeated"
                " Idempotency-Key with its first answer, for as long as a resume may take",
                f'see its documentation; if it does not, say effect = "{AT_LEAST_ONCE}"',
            )
        elif not task.effect:
            yield warning(
                state.name,
                "is at least once: a request whose answer was lost is sent again",
                f'effect = "{AT_LEAST_ONCE}" if that is well, "{EXACTLY_ONCE}" if the receiver'
                " honours Idempotency-Key",
            )
