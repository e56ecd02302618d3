"""The sender beside the loop: tells while the process works, and for a moment when it ends."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from statepipe.clock import SystemClock
from statepipe.config import load_config
from statepipe.engine import Engine
from statepipe.errors import Busy, StoreUnusable
from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.states.tasks import Run
from statepipe.model import Task
from statepipe.runtime import attendants
from statepipe.runtime.beside import Trouble
from statepipe.runtime.catalog import Catalog
from statepipe.runtime.notices import sender
from statepipe.runtime.notices.stalled import Lookout
from statepipe.store.file.opening import open_store
from statepipe.store.walk import notices
from tests.observe.receiving import hang, receiving, status
from tests.store import stores
from tests.store.test_notices import rows

GO_ON = threading.Event()


def fail(task: Task) -> None:
    """Fail, or wait until somebody says so."""
    if task.instance == "waits":
        GO_ON.wait()
        return
    raise ValueError(task.instance)


def machine(*, told: tuple[str, ...] = ()) -> Machine:
    """Return a machine that fails."""
    first = State(
        name="a",
        task=Run(function=fail),
        on=(Transition(event="ok", target="done"),),
        settings={"executor": "thread"},
    )
    done = State(name="done", final="success")
    return Machine(name="m", initial="a", states=(first, done), notify=told)


def opened(folder: Path, url: str, **more: str) -> Engine:
    """Open an engine that tells `oncall` at a URL."""
    settings = "".join(f"{key} = {value}\n" for key, value in more.items())
    text = f'[notify.oncall]\nwebhook = "{url}"\non = ["failed", "stalled"]\n{settings}'
    (folder / "statepipe.toml").write_text(text, encoding="utf-8")
    return Engine(load_config(start=folder, environ={}), machines=[machine()])


def run(engine: Engine, *names: str) -> None:
    """Run instances to their end."""
    for name in names:
        engine.create("m", instance_id=name)
    engine.run(names)


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    """Let no test wait for another."""
    GO_ON.clear()
    yield
    GO_ON.set()
    stores.close_all()


def test_a_short_run_tells_before_it_ends(tmp_path: Path) -> None:
    """A cron job that fails is gone before anybody has looked at the outbox."""
    with receiving() as receiver:
        with opened(tmp_path, receiver.url) as engine:
            run(engine, "one", "two")
        told = sorted(request.headers["idempotency-key"] for request in receiver.requests)

    assert [key.split(":")[1:] for key in told] == [
        ["1", "1", "3", "failed", "oncall"],
        ["2", "1", "3", "failed", "oncall"],
    ]


def test_while_it_works_it_tells_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker need not end for people to hear of it."""
    monkeypatch.setattr(sender, "POLL_MS", 10)
    with receiving() as receiver, opened(tmp_path, receiver.url) as engine:
        engine.create("m", instance_id="one")
        engine.create("m", instance_id="waits")
        threading.Thread(target=_let_go_after, args=[receiver.came]).start()
        engine.run(["one", "waits"])

        assert len(receiver.requests) == 1


def test_a_target_that_hangs_holds_the_end_up_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is left in the outbox, and whoever comes next sends it."""
    monkeypatch.setattr(attendants, "FAREWELL_MS", 300)
    clock = SystemClock()
    with receiving(hang) as receiver:
        with opened(tmp_path, receiver.url, timeout='"1m"') as engine:
            run(engine, "one")
            began_ms = clock.boot_ms()
        took_ms = clock.boot_ms() - began_ms
        key = receiver.requests[0].headers["idempotency-key"]
    store = open_store(tmp_path / "checkpoints" / "statepipe.db", create=False, clock=clock)
    assert rows(store, "key, tries, outcome") == [(key, 1, None)]
    assert 200 < took_ms < 5_000
    with store.write() as connection:
        connection.execute("UPDATE notice SET next_at_ms = 0")  # its time has come
    with receiving() as receiver:
        with opened(tmp_path, receiver.url) as engine:
            engine.work(until_idle=True)
        assert [each.headers["idempotency-key"] for each in receiver.requests] == [key]
    assert rows(store, "key, tries, outcome") == [(key, 2, "sent")]
    store.close()


def test_a_target_that_refuses_is_tried_once_at_the_end(tmp_path: Path) -> None:
    """Its notice has a pause to wait for, and the process does not wait with it."""
    clock = SystemClock()
    with receiving(status("500 No")) as receiver:
        with opened(tmp_path, receiver.url) as engine:
            run(engine, "one", "two")
            began_ms = clock.boot_ms()
        assert len(receiver.requests) == 1

    assert clock.boot_ms() - began_ms < 4_000


def test_after_a_commit_in_doubt_nobody_is_told(tmp_path: Path) -> None:
    """It may not have landed, and nothing is announced that was not committed."""
    with receiving() as receiver:
        with opened(tmp_path, receiver.url) as engine:
            run(engine, "one")
            receiver.requests.clear()
            engine.create("m", instance_id="two")
            engine._store.in_doubt = True
            with pytest.raises(StoreUnusable):
                engine.run(["two"])
        assert [each for each in receiver.requests if "two" in each.body.decode()] == []


def test_a_worker_says_who_is_stalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance of a machine that is none of its own, which it cannot take over."""
    monkeypatch.setattr(sender, "POLL_MS", 10)
    with receiving() as receiver:
        with opened(tmp_path, receiver.url, stalled_after='"1ms"') as engine:
            engine.create("m", instance_id="waits")
            stores.created(engine._store, "lost")
            stores.claimed(engine._store, stores.dead(engine._store))
            threading.Thread(target=_let_go_after, args=[receiver.came]).start()
            engine.run(["waits"])
        events = [each.body.decode() for each in receiver.requests]

    assert '"event": "stalled"' in events[0]
    assert '"instance": "lost"' in str(events)


def test_a_store_that_is_busy_for_a_while_stops_no_sender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop meets the same trouble, and reports it."""
    monkeypatch.setattr(sender, "POLL_MS", 10)
    looks: list[str] = []

    def busy(_self: Lookout) -> int:
        looks.append("look")
        if len(looks) < 3:
            raise Busy("locked")
        return 0

    monkeypatch.setattr(Lookout, "look", busy)
    monkeypatch.setattr(sender, "LOOK_MS", 0)
    with receiving() as receiver, opened(tmp_path, receiver.url) as engine:
        engine.create("m", instance_id="waits")
        threading.Thread(target=_let_go_after, args=[receiver.came]).start()
        run(engine, "one")
        engine.run(["waits"])

        assert len(receiver.requests) == 1


def test_what_the_store_refuses_at_the_end_is_left_to_whoever_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends all the same."""

    def busy(*_args: object, **_facts: object) -> None:
        raise Busy("locked")

    monkeypatch.setattr(sender, "POLL_MS", 3_600_000)
    with receiving() as receiver:
        with opened(tmp_path, receiver.url) as engine:
            run(engine, "one")
            monkeypatch.setattr(notices, "take", busy)
        assert receiver.requests == []


def test_a_sender_that_cannot_open_the_store_ends_all_the_same(tmp_path: Path) -> None:
    """The loop meets the same trouble with a way to report it."""
    config = load_config(start=tmp_path, environ={})
    missing = tmp_path / "missing.db"
    trouble = Trouble(stores.opened(tmp_path), lambda _: None)
    alone = sender.Sender(
        missing, config=config, catalog=Catalog(config), clock=SystemClock(), trouble=trouble
    )
    alone.start()
    alone.stop(patience_ms=5_000)

    assert not alone._beside.is_alive()


def _let_go_after(came: threading.Event) -> None:
    came.wait()
    GO_ON.set()
