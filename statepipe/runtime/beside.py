"""
Threads beside the loop of a process that drives instances.

    Beside      one: it opens the store for itself, and turns until it is told to end
    Trouble     what one of them met that ends the process; the same for all beside one loop
    Turn        what it does, again and again

What the store refuses for a while is no matter: the loop meets the same trouble, with a way to
report it. A COMMIT in doubt ends everything, whoever made it (section 3 of docs/reliability.md):
then no other thread commits any more, nor does the loop. So does any other exception, which is a
defect of ours: a worker does not go on with half of what it is there for.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from statepipe.clock import Clock
from statepipe.errors import StatepipeError, StoreInDoubt
from statepipe.store.file.connection import Store
from statepipe.store.file.opening import open_store

#: Does what is due; returns True if there is more to be done at once. It is told whether this is
#: its last time: then it is called until nothing is left, or nobody waits any longer.
Turn = Callable[[bool], bool]


class Trouble:
    """
    What ended a thread beside a loop, and has to end the loop.

    Args:
        store: The loop's store.
        stop: Makes the loop end soon.

    Attributes:
        is_told: False while something was met that `tell` has not raised yet.
    """

    def __init__(self, store: Store, stop: Callable[[str], None]) -> None:
        self._store = store
        self._stop = stop
        self.is_told = True
        self._error: Exception | None = None

    @property
    def forbids(self) -> bool:
        """True once nothing may be committed by this process any more."""
        return self._store.in_doubt

    @property
    def is_doubt(self) -> bool:
        """True if a thread beside the loop has met that, and not the loop."""
        return isinstance(self._error, StoreInDoubt)

    def met(self, error: Exception, *, by: str) -> None:
        """End the loop because of `error`; without a further commit if one is in doubt."""
        if isinstance(error, StoreInDoubt):
            self._store.in_doubt = True
        if self._error is None:
            self._error, self.is_told = error, False
        self._stop(f"{by} ended: {type(error).__name__}")

    def tell(self) -> None:
        """Raise what was met, if anything was."""
        if self._error is not None:
            self.is_told = True
            raise self._error


class Beside(threading.Thread):
    """
    A thread that turns, with its own connection, since the loop's belongs to the loop.

    Args:
        what: What it is, for people: part of its name.
        path: The store's file.
        trouble: Of the loop that it is beside.
        turning: Gives its turn, once the store is open.
        pause_ms: How long to wait between two turns with nothing to do, and before the first.
        clock: Time.
        finishes: True if it turns once more when it is told to end.
    """

    def __init__(
        self,
        what: str,
        path: Path,
        *,
        trouble: Trouble,
        turning: Callable[[Store], AbstractContextManager[Turn]],
        pause_ms: int,
        clock: Clock,
        finishes: bool = False,
    ) -> None:
        super().__init__(name=f"statepipe-{what}", daemon=True)
        self._path, self._clock = path, clock
        self._trouble = trouble
        self._turning = turning
        self._pause_ms = pause_ms
        self._finishes = finishes
        self._ended = threading.Event()
        self._over = threading.Event()

    @property
    def is_over(self) -> bool:
        """True once nobody waits for it any longer."""
        return self._over.is_set()

    def end(self, *, patience_ms: int = 0, grace_ms: int | None = None) -> None:
        """
        End, and wait for it.

        Args:
            patience_ms: How long its last turns may take.
            grace_ms: How long to wait after that; None until it has ended.
        """
        if patience_ms == 0:
            self._over.set()
        self._ended.set()
        self.join(patience_ms / 1_000)
        self._over.set()
        self.join(None if grace_ms is None else grace_ms / 1_000)

    def run(self) -> None:
        """Turn until `end`."""
        try:
            with ExitStack() as stack:
                self._turn_on(stack)
        except Exception as error:  # noqa: BLE001  (whatever it is: the loop raises it)
            self._trouble.met(error, by=self.name)

    def _turn_on(self, stack: ExitStack) -> None:
        turn: Turn | None = None
        pause_ms = self._pause_ms
        while True:
            is_last = self._ended.wait(pause_ms / 1_000)
            if self._over.is_set() or self._trouble.forbids or (is_last and not self._finishes):
                return
            pause_ms = self._pause_ms
            try:
                if turn is None:
                    store = open_store(self._path, create=False, clock=self._clock)
                    # Not the one to empty the WAL: the loop's COMMIT may have been in doubt.
                    stack.callback(store.close, empties_wal=False)
                    turn = stack.enter_context(self._turning(store))
                if turn(is_last):
                    pause_ms = 0
            except StoreInDoubt:
                raise
            except StatepipeError:
                pass  # the loop meets the same trouble with a way to report it
            if is_last and pause_ms:
                return
