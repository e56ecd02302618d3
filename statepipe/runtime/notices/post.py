"""
From the outbox to people: what is due is taken, delivered, and how that ended written down.

    Post        one process's deliveries, at most one at a time for each target
    Outcome     how one of them ended
    pause_ms    how long a notice waits after so many tries

A delivery is made in a thread of its own, so that a target that hangs holds up no other, and
nothing is delivered inside a transaction. A target that has just failed is left alone for a
while, with all that is due for it: a thousand notices are not a thousand tries.
"""

import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple, Protocol

from statepipe.errors import DefinitionError, StatepipeError
from statepipe.io import secrets
from statepipe.notify import Target
from statepipe.observe import redact
from statepipe.observe.notices.body import Occasion, body_of
from statepipe.observe.notices.delivery import deliver
from statepipe.observe.notices.letter import Letter, Undelivered
from statepipe.store.file.connection import Store
from statepipe.store.walk import notices
from statepipe.store.walk.notices import AHEAD_MS_MAX, DROPPED, Taken

#: How often a notice is tried before it is given up: half a day, if somebody tries that long.
TRIES_MAX: Final = 20

PAUSE_MS_FIRST: Final = 10_000
PAUSE_MS_MAX: Final = 3_600_000
#: A target that failed is left alone for at most so long, whatever its notices wait for.
REST_MS_MAX: Final = 60_000

#: How much longer than its timeout a delivery may take before another process may begin.
_LEASE_MARGIN_MS: Final = 5_000


class Deliver(Protocol):
    """As `observe.notices.delivery.deliver`."""

    def __call__(
        self, target: Target, letter: Letter, *, address: str | None, root: Path, timeout_ms: int
    ) -> None:
        """Deliver, or raise Undelivered."""


class Outcome(NamedTuple):
    """How one try to deliver ended."""

    taken: Taken
    error: str | None  # why it did not arrive; None if it did
    next_at_ms: int | None  # when it is tried again; None if it is not


class _Flight(NamedTuple):
    """A delivery under way."""

    taken: Taken
    overdue_boot_ms: int


class Post:
    """
    Delivers what is due. For one thread.

    Args:
        store: An open store; the thread's own.
        targets: All that there are, by name; what is for others is left to those who know them.
        root: The folder that commands are started in.
        env: The environment, None if none was chosen.
        deliver: Delivers one notice.
    """

    def __init__(
        self,
        store: Store,
        targets: Mapping[str, Target],
        *,
        root: Path,
        env: str | None,
        deliver: Deliver = deliver,
    ) -> None:
        self._store = store
        self._clock = store.clock
        self._targets = targets
        self._root = root
        self._env = env
        self._deliver = deliver
        self._flights: dict[str, _Flight] = {}
        self._back: SimpleQueue[tuple[Taken, Undelivered | None]] = SimpleQueue()
        self._failures: dict[str, int] = {}  # in a row, by target
        self._rests_until_ms: dict[str, int] = {}  # by target, on the boot clock

    @property
    def is_busy(self) -> bool:
        """True while something is being delivered."""
        return bool(self._flights)

    def turn(self, *, wait_ms: int, patience_ms: int | None = None) -> list[Outcome]:
        """
        Begin to deliver what is due, and write down what has ended.

        Args:
            wait_ms: How long to wait for something to end, if anything is under way.
            patience_ms: How long a delivery that begins now may take at most; None for as
                long as its target's timeout.

        Returns:
            How the deliveries that ended meanwhile did.

        Raises:
            As `Store.write`.
        """
        with self._store.translating():
            due = notices.due(self._store, [each for each in self._targets if self._is_free(each)])
        for name in due:
            self._begin(self._targets[name], patience_ms=patience_ms)
        return self._end(wait_ms if self._flights else 0)

    def _is_free(self, name: str) -> bool:
        rests_until_ms = self._rests_until_ms.get(name, 0)
        return name not in self._flights and self._clock.boot_ms() >= rests_until_ms

    def _begin(self, target: Target, *, patience_ms: int | None) -> None:
        lease_ms = target.timeout_ms + _LEASE_MARGIN_MS
        taken = notices.take(
            self._store, target.name, lease_ms=lease_ms, rate=target.rate, retell=self._retell
        )
        if taken is None:
            return
        timeout_ms = min(target.timeout_ms, patience_ms or target.timeout_ms)
        self._flights[target.name] = _Flight(taken, self._clock.boot_ms() + lease_ms)
        # A daemon: whoever hangs must not keep the process from ending.
        threading.Thread(
            target=self._fly,
            args=(target, taken, timeout_ms),
            name=f"statepipe-notify-{target.name}",
            daemon=True,
        ).start()

    def _fly(self, target: Target, taken: Taken, timeout_ms: int) -> None:
        """Deliver, in a thread of its own; whatever happens is put into the queue."""
        try:
            address = address_of(target)
            letter = Letter(taken.key, taken.body)
            self._deliver(target, letter, address=address, root=self._root, timeout_ms=timeout_ms)
        except Undelivered as failure:
            self._back.put((taken, failure))
        except DefinitionError as error:
            self._back.put((taken, Undelivered(error.message)))
        except Exception as error:  # noqa: BLE001  (a service of apprise may raise anything)
            # Its text may hold what must not be stored.
            self._back.put((taken, Undelivered(f"{type(error).__name__} while delivering")))
        else:
            self._back.put((taken, None))

    def _end(self, wait_ms: int) -> list[Outcome]:
        ended: list[Outcome | None] = []
        with suppress(Empty):
            while True:
                taken, failure = self._back.get(timeout=wait_ms / 1_000)
                try:
                    ended.append(self._landed(taken, failure))
                except StatepipeError:
                    self._back.put((taken, failure))  # to be written down by the next turn
                    raise
                wait_ms = 0
        now_ms = self._clock.boot_ms()
        late = [each.taken for each in self._flights.values() if now_ms >= each.overdue_boot_ms]
        ended += [self._landed(taken, Undelivered("it did not end")) for taken in late]
        return [each for each in ended if each is not None]

    def _landed(self, taken: Taken, failure: Undelivered | None) -> Outcome | None:
        """Write down how a delivery ended; None if that is known already."""
        name = taken.target
        flight = self._flights.get(name)
        is_expected = flight is not None and flight.taken == taken
        if failure is None:  # also of one that seemed not to end: it did arrive
            notices.sent(self._store, taken)
            outcome = Outcome(taken, None, None)
            self._failures.pop(name, None)
            self._rests_until_ms.pop(name, None)
        elif is_expected:
            outcome = self._failed(taken, failure)
            self._failures[name] = self._failures.get(name, 0) + 1
            rest_ms = min(pause_ms(self._failures[name]), REST_MS_MAX)
            self._rests_until_ms[name] = self._clock.boot_ms() + rest_ms
        else:
            return None
        if is_expected:
            del self._flights[name]
        return outcome

    def _failed(self, taken: Taken, failure: Undelivered) -> Outcome:
        error = str(failure)
        if taken.tries >= TRIES_MAX:
            notices.give_up(self._store, taken, error=error)
            return Outcome(taken, error, None)
        wait_ms = min(max(pause_ms(taken.tries), failure.retry_after_ms or 0), AHEAD_MS_MAX)
        next_at_ms = self._clock.now_ms() + wait_ms
        notices.failed(self._store, taken, error=error, next_at_ms=next_at_ms)
        return Outcome(taken, error, next_at_ms)

    def _retell(self, key: str, count: int) -> str:
        occasion = Occasion(
            event=DROPPED,
            at_ms=self._clock.now_ms(),
            store=self._store.store_id,
            env=self._env,
            dropped=count,
        )
        return body_of(occasion, key=key)


def address_of(target: Target) -> str | None:
    """
    Return where `target` is reached, read now, and hidden from whatever is written or shown.

    Raises:
        DefinitionError: There is nothing where its reference points.
    """
    said = target.url or target.webhook
    if said is None or not secrets.is_reference(said):
        return said
    address = secrets.resolve(said)
    redact.hide(address)
    return address


def pause_ms(tries: int) -> int:
    """Return how long to wait after so many tries, from 1: 10 s, 20 s, 40 s, … one hour at most."""
    return min(PAUSE_MS_FIRST << min(tries - 1, TRIES_MAX), PAUSE_MS_MAX)
