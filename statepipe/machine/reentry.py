"""
Where rejected records enter a machine again.

    entry_of            the state, for what was rejected in a state
    refuse_replacing    no load from there on may put them in the place of a whole table
"""

from statepipe.errors import Refused
from statepipe.machine.definition import Machine
from statepipe.machine.paths import graph_of, reached
from statepipe.machine.states.tasks import Load
from statepipe.model import OK

_UNCHANGED = "nothing was changed; the records stay in quarantine"


def entry_of(machine: Machine, state: str, *, takes_batches: bool) -> str:
    """
    Return where records enter again that were rejected in `state`.

    Args:
        machine: The machine as it is now.
        state: One of its acting states.
        takes_batches: Whether the task there has batches for its input: they go to it once
            more. Otherwise it is a source, and what it yields goes to the state after it.

    Raises:
        Refused: No single acting state follows.
    """
    if takes_batches:
        return state
    targets = {each.target for each in machine.state(state).on_event(OK)}
    acting = [each for each in targets if machine.state(each).task is not None]
    if len(acting) == len(targets) == 1:
        return acting[0]
    raise Refused(
        f"what {state!r} rejected has no one state to enter again: its {OK!r} leads to"
        f" {', '.join(sorted(targets))}",
        meaning=_UNCHANGED,
        next_step="--to STATE   # the state that is to get the records",
    )


def refuse_replacing(machine: Machine, entry: str) -> None:
    """
    Refuse to let some records enter where a load that replaces may follow.

    Raises:
        Refused: They would take the place of everything the table has.
    """
    for name in sorted(reached(graph_of(machine), [entry])):
        task = machine.state(name).task
        if isinstance(task, Load) and task.mode == "replace":
            raise Refused(
                f"{name!r} replaces the table {task.table!r}: these records alone would take the"
                " place of all it has",
                meaning=_UNCHANGED,
                next_step='mend the cause and rewind the instance; raw = "keep" makes that possible'
                " without asking the source again",
            )
