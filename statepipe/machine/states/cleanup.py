"""
`on_cancel`: the function that runs when an instance is cancelled, before it rests.

    CLEANUP_KEYS            the settings of a state that mean something for it
    refuse_misfit_cleanup   it calls a function, and its state is nobody's

It is a state of its own, `cancelling`, which no transition leads to and every end of its task
leaves for `cancelled`: so its attempts are retried, limited, journaled and taken over like any
other's. In Python: `Machine(…, on_cancel=State(name="cancelling", task=Run(function=…)))`.
"""

from collections.abc import Collection
from typing import Final

from statepipe.machine.states.tasks import AnyTask, Run
from statepipe.tables import refusal
from statepipe.wishes import CANCELLING_STATE

CLEANUP_KEYS: Final = ("timeout", "grace", "heartbeat", "executor")


def refuse_misfit_cleanup(task: AnyTask | None, states: Collection[str]) -> None:
    """
    Refuse an `on_cancel` that is no function, or in whose state something else happens.

    Raises:
        DefinitionError: It is so.
    """
    if not isinstance(task, Run):
        raise refusal("on_cancel must run a function", next_step='on_cancel = "module:function"')
    if CANCELLING_STATE in states:
        raise refusal(
            f'state "{CANCELLING_STATE}" is where on_cancel runs, and no state of the author',
            next_step="give the state another name",
        )
