"""
The notices of instances that nobody drives on; made by whoever looks.

    Lookout     one process's looks

A worker looks while it works, `statepipe notify send` when it is called: an instance stalls
because nobody works, so nobody who works can be relied on to say so.
"""

from collections.abc import Iterator, Mapping

from statepipe.errors import StatepipeError
from statepipe.machine.alerts import hearers
from statepipe.model import Notice
from statepipe.notify import Target
from statepipe.observe.notices.body import Occasion, body_of
from statepipe.runtime.catalog import Catalog
from statepipe.store.file.connection import Store
from statepipe.store.walk.stalled import Stalled, announce, said, stalled

_EVENT = "stalled"


class Lookout:
    """
    Looks for stalled instances, and puts notices of them into the outbox.

    Args:
        store: The open store.
        targets: All that there are, by name.
        catalog: The machines, which may name targets themselves.
        env: The environment, None if none was chosen.
    """

    def __init__(
        self, store: Store, targets: Mapping[str, Target], *, catalog: Catalog, env: str | None
    ) -> None:
        self._store = store
        self._targets = targets
        self._catalog = catalog
        self._env = env

    def look(self) -> int:
        """
        Say what is to be said; return how many notices that were.

        Raises:
            As `Store.write`.
        """
        soonest_ms = min((each.stalled_after_ms for each in self._targets.values()), default=None)
        if soonest_ms is None:
            return 0
        with self._store.translating():
            instances = stalled(self._store, silent_ms_min=soonest_ms)
            named = {each.machine: self._named(each.machine) for each in instances}
            found = [
                (each, notice)
                for each in instances
                for notice in self._notices(each, named=named[each.machine])
            ]
        return announce(self._store, found) if found else 0

    def _named(self, machine: str) -> tuple[str, ...]:
        try:
            return self._catalog.machine(machine).notify
        except StatepipeError:
            return ()  # it is gone, or wrong; those who hear of all machines hear of this one

    def _notices(self, each: Stalled, *, named: tuple[str, ...]) -> Iterator[Notice]:
        for name in hearers(_EVENT, each.machine, self._targets, named=named):
            target = self._targets[name]
            key = f"{self._store.store_id}:{each.n}:{each.epoch}:{_EVENT}:{name}"
            times, last_at_ms = said(self._store.connection, key)
            if each.silent_ms < target.stalled_after_ms:
                continue
            if times > 0 and not self._is_time_again(target, last_at_ms):
                continue
            yield self._notice(each, name, key if times == 0 else f"{key}:{times + 1}")

    def _is_time_again(self, target: Target, last_at_ms: int) -> bool:
        since_ms = self._store.clock.now_ms() - last_at_ms
        # Negative if the clock was set back meanwhile: better once too often than never again.
        return target.repeat_after_ms is not None and not 0 <= since_ms < target.repeat_after_ms

    def _notice(self, each: Stalled, target: str, key: str) -> Notice:
        occasion = Occasion(
            event=_EVENT,
            at_ms=self._store.clock.now_ms(),
            store=self._store.store_id,
            env=self._env,
            machine=each.machine,
            version=each.version,
            instance=each.id,
            state=each.state,
            attempt=each.attempt,
            silent_ms=each.silent_ms,
        )
        body = body_of(occasion, key=key)
        return Notice(key, _EVENT, target, each.machine, each.id, body, occasion.at_ms)
