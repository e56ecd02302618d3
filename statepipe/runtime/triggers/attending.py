"""
The thread beside a worker's loop that looks after its machines' triggers.

    attending   while the block runs; what is due is started before it begins
    Again       start what there was no room for then
"""

import random
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

from statepipe.runtime.beside import Beside, Trouble, Turn
from statepipe.runtime.driving.observers import Observers
from statepipe.runtime.program import Program
from statepipe.runtime.triggers.watch import Watch, registered
from statepipe.store.file.connection import Store

#: Starts what there was no room for when the block began, if there is now; False if nothing was.
Again = Callable[[], bool]

#: How often it is asked whether anything is due, or anybody wrote: as the loop does.
POLL_MS: Final = 200


@contextmanager
def attending(
    store: Store,
    programs: Sequence[Program],
    *,
    observers: Observers,
    rng: random.Random,
    trouble: Trouble,
) -> Generator[Again]:
    """
    Look after the triggers of `programs` while the block runs, in a thread with its own connection.

    Args:
        store: The loop's store.
        programs: The machines.
        observers: Told of each instance that is created.
        rng: For ids.
        trouble: Of the loop; raised at the end of the block, should the thread have met some.

    Raises:
        Busy, StoreUnusable: As `Store.write`, before the block began.
    """
    if not any(program.table.machine.triggers for program in programs):
        yield lambda: False
        return
    draws = random.Random(rng.getrandbits(64))  # noqa: S311  (ids, not secrets)
    watched = registered(store, programs)
    # Who works until nothing is left does what is due by now.
    watch = Watch(store, watched, observers=observers, rng=draws)
    watch.turn()
    theirs = registered(store, programs)

    @contextmanager
    def turning(own: Store) -> Generator[Turn]:
        looks = Watch(own, theirs, observers=observers, rng=draws)

        def turn(_is_last: bool) -> bool:  # noqa: FBT001  (as Turn says)
            looks.turn()
            return False

        yield turn

    thread = Beside(
        "triggers",
        store.path,
        trouble=trouble,
        turning=turning,
        pause_ms=POLL_MS,
        clock=store.clock,
    )
    thread.start()
    try:
        yield watch.again
    finally:
        thread.end()
    trouble.tell()
