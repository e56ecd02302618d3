"""Threads beside the loop: a commit of theirs that is in doubt ends the process."""

import threading
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from statepipe.clock import SystemClock
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import Busy, StoreInDoubt
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Task
from statepipe.runtime import renewal, stopping
from statepipe.runtime.beside import Beside, Trouble, Turn
from statepipe.runtime.notices import sender
from statepipe.runtime.notices.post import Post
from statepipe.store.file.connection import Store
from statepipe.store.file.opening import open_reader
from statepipe.store.walk import workers
from tests.store import stores

PACE_MS = 1

begun, go_on = threading.Event(), threading.Event()

CONFIG = """
[notify.oncall]
webhook = "http://127.0.0.1:9/"
on = ["failed"]
"""


def wait(_: Task) -> None:
    """Last until somebody says so."""
    begun.set()
    go_on.wait(60)


def machine() -> Machine:
    """Return a machine whose task lasts."""
    first = State(
        name="a",
        task=Run(function=wait),
        on=(Transition(event="ok", target="done"),),
        settings={"executor": "thread"},
    )
    return Machine(name="m", initial="a", states=(first, State(name="done", final="success")))


def doubted(store: Store) -> StoreInDoubt:
    """Let a COMMIT of a thread's store be in doubt."""
    return store._doubt(OSError("fsync failed"))


class Doubts:
    """What turns once a task is under way, and whose commit is in doubt then."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def turn(self, *_: object, **__: object) -> bool:
        """Meet the doubt, once the task is under way."""
        if not begun.is_set():
            return False
        raise doubted(self._store)


@pytest.fixture(autouse=True)
def _let_go() -> Generator[None]:
    """Let no test wait for another."""
    begun.clear()
    go_on.clear()
    yield
    go_on.set()
    stores.close_all()


def beside_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the sender of notices meet it."""
    monkeypatch.setattr(sender, "POLL_MS", PACE_MS)
    monkeypatch.setattr(Post, "turn", lambda post, **_: Doubts(post._store).turn())


def beside_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the heartbeat of the lease meet it."""
    renew = workers.renew

    def renewing(store: Store, worker: Any) -> None:  # noqa: ANN401  (passed on)
        if threading.current_thread().name == "statepipe-lease":
            Doubts(store).turn()
        else:
            renew(store, worker)

    monkeypatch.setattr(workers, "renew", renewing)
    monkeypatch.setattr(renewal, "Beside", quick)


def beside_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let who stops jobs elsewhere meet it."""
    monkeypatch.setattr("statepipe.runtime.attendants.can_stop", lambda _: True)
    monkeypatch.setattr(stopping, "POLL_MS", PACE_MS)
    monkeypatch.setattr(stopping.Stopper, "turn", lambda stopper: Doubts(stopper._store).turn())


def quick(*args: Any, **kwargs: Any) -> Beside:  # noqa: ANN401  (passed on)
    """Return a thread that hardly pauses."""
    return Beside(*args, **{**kwargs, "pause_ms": PACE_MS})


@pytest.mark.parametrize("by", [beside_sender, beside_renewal, beside_stopping])
def test_a_commit_in_doubt_beside_the_loop_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """Nothing is committed after it, not even that an instance is let go; nor by another run."""
    by(monkeypatch)
    (tmp_path / "statepipe.toml").write_text(CONFIG, encoding="utf-8")
    config = load_config(start=tmp_path, environ={})
    with Engine(config, machines=[machine()]) as engine:
        engine.create("m", instance_id="i")
        with pytest.raises(StoreInDoubt, match="fsync failed"):
            engine.run(["i"])
        go_on.set()
        for again in (partial(engine.create, "m", instance_id="j"), partial(engine.run, ["i"])):
            with pytest.raises(StoreInDoubt):
                again()

    with closing(open_reader(config.store)) as reader:
        kinds = reader.execute("SELECT kind FROM journal ORDER BY seq").fetchall()
        ends = reader.execute("SELECT stopped_at_ms FROM worker").fetchall()
    assert (kinds, ends) == ([("create",), ("claim",)], [(None,)])


def test_a_doubt_that_is_met_on_the_way_out_is_raised_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands exit as if the loop had met it; the store is not written any more."""
    monkeypatch.setattr(sender, "POLL_MS", 3_600_000)
    monkeypatch.setattr(Post, "turn", lambda post, **_: Doubts(post._store).turn())
    (tmp_path / "statepipe.toml").write_text(CONFIG, encoding="utf-8")
    config = load_config(start=tmp_path, environ={})
    go_on.set()
    engine = Engine(config, machines=[machine()])
    engine.create("m", instance_id="i")
    assert engine.run(["i"]) == {"i": "done"}
    with pytest.raises(StoreInDoubt, match="fsync failed"):
        engine.close()


@pytest.mark.parametrize("finishes", [True, False])
def test_what_the_store_refuses_for_a_while_is_tried_again(
    tmp_path: Path, *, finishes: bool
) -> None:
    """It ends when it is told to; some turn once more then."""
    store = stores.opened(tmp_path)
    trouble = Trouble(store, lambda _: None)
    seen: list[bool] = []
    again = threading.Event()

    @contextmanager
    def turning(_: Store) -> Generator[Turn]:
        def turn(is_last: bool) -> bool:  # noqa: FBT001  (as Turn says)
            seen.append(is_last)
            if len(seen) == 1:
                raise Busy("locked")
            if len(seen) == 2:
                again.set()
                thread._ended.wait(60)
            return is_last and seen.count(True) == 1

        yield turn

    thread = Beside(
        "test",
        store.path,
        trouble=trouble,
        turning=turning,
        pause_ms=PACE_MS,
        clock=SystemClock(),
        finishes=finishes,
    )
    thread.start()
    assert again.wait(60)
    thread.end(patience_ms=60_000)

    assert not thread.is_alive()
    assert seen == [False, False, *([True, True] if finishes else [])]
    trouble.tell()  # there was none


def test_a_thread_does_not_commit_after_the_loop_is_in_doubt(tmp_path: Path) -> None:
    """Its own connection would let it; the process must not."""
    store = stores.opened(tmp_path)
    store.in_doubt = True
    turns: list[bool] = []

    @contextmanager
    def turning(_: Store) -> Generator[Turn]:
        def turn(is_last: bool) -> bool:  # noqa: FBT001  (as Turn says)
            turns.append(is_last)
            return False

        yield turn

    thread = Beside(
        "test",
        store.path,
        trouble=Trouble(store, lambda _: None),
        turning=turning,
        pause_ms=PACE_MS,
        clock=SystemClock(),
    )
    thread.start()
    thread.join(60)

    assert (thread.is_alive(), turns) == (False, [])
