"""A worker that is full, and what another one left behind."""

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from statepipe.clock import SystemClock
from statepipe.store.file.opening import open_store
from statepipe.store.liveness import Worker
from statepipe.store.walk import workers
from tests.runtime.test_turns import SOON_S, Hall
from tests.store import stores


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    """Make a store."""
    return Hall(tmp_path)


def test_one_that_is_lost_while_a_worker_is_full_is_claimed_and_next(hall: Hall) -> None:
    """What a dead worker held is no less its machine's turn than what is ready."""
    crowd, alone = (hall.machine(each, executor="thread") for each in ("crowd", "alone"))
    hall.door.clear()
    with hall.engine(crowd, alone, in_flight=6, threads=2) as engine:
        engine.create("alone", instance_id="one")
        with closing(open_store(hall.config.store, create=False, clock=SystemClock())) as store:
            holder = stores.registered(store)
            assert [at.id for at in stores.claimed(store, holder)] == ["one"]
        for n in range(30):
            engine.create("crowd", instance_id=f"c{n}")
        driving = threading.Thread(target=lambda: _lose(hall, holder, engine.stop))
        driving.start()
        engine.work()
        driving.join(SOON_S)

    assert hall.calls.index("one") <= 3
    assert hall.ask("SELECT count(*) FROM journal WHERE error IS NOT NULL") == [(0,)]


def _lose(hall: Hall, holder: Worker, stop: Callable[[str], None]) -> None:
    try:
        assert hall.began.wait(SOON_S)
        hall.until(lambda: hall.ask("SELECT count(*) FROM instance WHERE worker > 0") == [(7,)])
        with closing(open_store(hall.config.store, create=False, clock=SystemClock())) as store:
            workers.stop(store, holder)
        taken = f"SELECT 1 FROM instance WHERE id = 'one' AND worker <> {holder.n}"
        hall.until(lambda: hall.ask(taken) == [(1,)])
        hall.door.set()
        hall.until(lambda: "one again" in hall.calls)
    finally:
        hall.door.set()
        stop("enough")
