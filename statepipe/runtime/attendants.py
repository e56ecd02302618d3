"""
The threads beside the loop of a process that drives instances.

    Attendants      the heartbeat of its lease, the sender of notices if anybody is told, and
                    who stops jobs elsewhere if a machine has any
"""

from collections.abc import Mapping
from typing import Final

from statepipe.config import Config
from statepipe.runtime.beside import Trouble
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.program import Program
from statepipe.runtime.renewal import Renewal
from statepipe.runtime.stopping import Stopping, can_stop
from statepipe.store.file.connection import Store
from statepipe.store.liveness import Worker

#: How long the end of a process may be held up by notices that are due, or jobs to be stopped.
FAREWELL_MS: Final = 5_000


class Attendants:
    """
    What goes on beside the loop, from now until `stop`.

    Args:
        store: The loop's store; each thread opens its own connection to it.
        worker: This process's row.
        config: Who is told of what.
        catalog: The machines.
        trouble: Whatever one of them meets that ends the loop.
    """

    def __init__(
        self, store: Store, worker: Worker, *, config: Config, catalog: Catalog, trouble: Trouble
    ) -> None:
        self._store = store
        self._trouble = trouble
        self._worker = worker
        self._stopping: Stopping | None = None
        self._renewal = Renewal(store.path, worker, clock=store.clock, trouble=trouble)
        self._renewal.start()
        self._sender = None
        if config.targets:
            # http.client and ssl cost 40 ms, which a run that tells nobody need not pay.
            from statepipe.runtime.notices.sender import Sender  # noqa: PLC0415  (as said above)

            self._sender = Sender(
                store.path, config=config, catalog=catalog, clock=store.clock, trouble=trouble
            )
            self._sender.start()

    def learn(self, programs: Mapping[str, Program]) -> None:
        """Attend to what these machines need; what is added to them later needs another call."""
        if self._stopping is None and any(map(can_stop, programs.values())):
            store = self._store
            self._stopping = Stopping(
                store.path,
                self._worker.n,
                programs,
                clock=store.clock,
                trouble=self._trouble,
            )

    def stop(self) -> None:
        """End, and wait for it; what is due is sent before, if that does not take long."""
        # After a COMMIT in doubt nothing is to be sent: the process has to end.
        patience_ms = 0 if self._store.in_doubt else FAREWELL_MS
        if self._stopping is not None:
            self._stopping.stop(patience_ms=patience_ms)
        if self._sender is not None:
            self._sender.stop(patience_ms=patience_ms)
        self._renewal.stop()
