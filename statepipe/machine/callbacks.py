"""
Which tasks may hand a token to an outside system.

    calls_back      whether a state that waits for events may come next
"""

from statepipe.machine.definition import Machine, State
from statepipe.machine.states.jobs import Job
from statepipe.machine.states.tasks import Run
from statepipe.machine.states.waits import Wait


def calls_back(machine: Machine, state: State) -> bool:
    """Return True if a function runs in `state` that a wait for events may follow."""
    if not isinstance(state.task, Run | Job):
        return False
    following = [machine.state(each.target).task for each in state.on]
    return any(isinstance(task, Wait) and bool(task.events) for task in following)
