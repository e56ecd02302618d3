"""
One collection: every store read at one moment each, and none left out for another's sake.

    Source      one store: how to read it, and which machines are known of it
    Exporter    collects; keeps count of what failed

All of it is read before anything is written down, so nobody's snapshot is held while a
slow scraper takes its time.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, Final, NamedTuple, TypeVar

from statepipe.errors import StatepipeError
from statepipe.figures import Known, Snapshot
from statepipe.observe.series import Family, View, families
from statepipe.observe.shape import Shape, shape_of

T = TypeVar("T")

_NS_A_SECOND: Final = 1_000_000_000

#: Told of a store that cannot be collected, with the reason; once for each reason.
Told = Callable[[str, str], None]


class Source(NamedTuple):
    """
    One store.

    Attributes:
        store: What it is called where several are served.
        read: Returns what it says now; called with `exemplars`, True if ids are wanted.
        size: Returns the bytes of its main file and of its WAL; None if there is none.
        shapes: Returns machines that are known although the store may not have them, and
            what is wrong with those that cannot be read.
        targets: Who may be told by notices, although none has been made yet.
    """

    store: str
    read: Callable[..., Snapshot]
    size: Callable[[], tuple[int, int] | None]
    shapes: Callable[[], Sequence[Shape | StatepipeError]]
    targets: Sequence[str] = ()


class Exporter:
    """
    Collects from stores, for any number of threads.

    Args:
        sources: The stores.
        version: Of statepipe, for its build_info.
        several: True to name the store in each series.
        told: Told why a store cannot be collected.
        ticks_ns: A clock that is never set back, in nanoseconds; a test may own it.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        version: str,
        several: bool = False,
        told: Told,
        ticks_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._sources = sources
        self._version = version
        self._several = several
        self._told = told
        self._ticks_ns = ticks_ns
        self._lock = Lock()
        self._errors = [0] * len(sources)
        self._reasons = [""] * len(sources)
        self._shapes: list[dict[Known, Shape]] = [{} for _ in sources]

    def collect(self, *, exemplars: bool, strict: bool = False) -> list[Family]:
        """
        Return the series of all stores; of one that fails, no more than that it failed.

        Args:
            exemplars: True to look up whose the latest observations are.
            strict: True to raise what a store fails with, instead of leaving it out.
        """
        views = [
            self._view(at, exemplars=exemplars, strict=strict) for at in range(len(self._sources))
        ]
        return families(views, version=self._version, several=self._several)

    def _view(self, at: int, *, exemplars: bool, strict: bool) -> View:
        source = self._sources[at]
        began_ns = self._ticks_ns()
        failures: list[Exception] = []
        snapshot = _tried(lambda: source.read(exemplars=exemplars), failures)
        if strict and failures:
            raise failures[0]
        machines = () if snapshot is None else snapshot.machines
        shapes = _tried(lambda: self._registered(at, machines), failures) or []
        for each in _tried(source.shapes, failures) or ():
            if isinstance(each, Shape):
                shapes.append(each)
            else:
                failures.append(each)
        size = _tried(source.size, failures)
        return View(
            store=source.store,
            snapshot=snapshot,
            shapes=_merged(shapes),
            size=size,
            errors=self._noted(at, failures),
            took_s=(self._ticks_ns() - began_ns) / _NS_A_SECOND,
            targets=source.targets,
        )

    def _registered(self, at: int, machines: Sequence[Known]) -> list[Shape]:
        """Return the shapes of what a store has, read again only where that is new."""
        before = self._shapes[at]
        self._shapes[at] = {each: before.get(each) or _shape(each) for each in machines}
        return list(self._shapes[at].values())

    def _noted(self, at: int, failures: Sequence[Exception]) -> int:
        """Count a collection that failed, say why unless it is known; return how many did."""
        reason = "; ".join(map(_said, failures))
        with self._lock:
            new = reason != self._reasons[at]
            self._reasons[at] = reason
            self._errors[at] += bool(reason)
            errors = self._errors[at]
        if new and reason:
            self._told(self._sources[at].store, reason)
        return errors


def _tried(call: Callable[[], T], failures: list[Exception]) -> T | None:
    try:
        return call()
    except Exception as error:  # noqa: BLE001  (whatever it is, the rest is served)
        failures.append(error)
    return None


def _said(error: Exception) -> str:
    if isinstance(error, StatepipeError):
        return f"{error.message}   next: {error.next_step}"
    return f"{type(error).__name__}: {error}"


def _shape(known: Known) -> Shape:
    form: Mapping[str, Any] = json.loads(known.body)
    return shape_of({**form, "machine": known.machine})


def _merged(shapes: Sequence[Shape]) -> list[Shape]:
    """Drop a shape that a later one repeats but for its error classes."""
    return list({(each.machine, each.acting, each.moves): each for each in shapes}.values())
