"""
Which queue a state is of, for those who look; workers know it from the machine.

    route       write it down, but for those of the queue "default"
"""

from collections.abc import Mapping

from statepipe.sharing import DEFAULT_QUEUE
from statepipe.store.file.connection import Store

_SAID = "SELECT state, queue FROM route WHERE definition = ?"
_FORGET = "DELETE FROM route WHERE definition = ?"
_SAY = "INSERT INTO route (definition, state, queue) VALUES (?, ?, ?)"


def route(store: Store, definition: int, queues: Mapping[str, str]) -> Mapping[str, str]:
    """
    Write down the queue of each state, if the store says otherwise; return `queues`.

    Raises as `Store.write`.
    """
    wanted = {state: queue for state, queue in queues.items() if queue != DEFAULT_QUEUE}
    if dict(store.connection.execute(_SAID, (definition,)).fetchall()) == wanted:
        return queues
    with store.write() as connection:
        connection.execute(_FORGET, (definition,))
        connection.executemany(
            _SAY, [(definition, state, queue) for state, queue in wanted.items()]
        )
    return queues
