"""What people do to instances: create, cancel, pause, rewind; journaled, whole, or refused."""

import re
from pathlib import Path
from typing import Any, Literal

import pytest

from statepipe.errors import BadParameter, Busy, InstanceExists, NotFound, Refused
from statepipe.model import Checkpoint
from statepipe.sqlite import sqlite3
from statepipe.store.codec import encode
from statepipe.store.file.connection import Store
from statepipe.store.steering import instances as steering
from statepipe.store.steering.instances import NewInstance
from statepipe.store.walk import asking, claims
from statepipe.store.walk.committer import Committer, Verdict
from statepipe.store.walk.making import New, insert
from statepipe.testing import ManualClock, violations
from tests.store import stores

Wish = Literal["cancel", "pause"]
WISHES: tuple[Wish, ...] = ("cancel", "pause")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Open a store with one instance, `a`."""
    opened = stores.opened(tmp_path)
    stores.created(opened, "a")
    return opened


def journal(store: Store) -> list[tuple[Any, ...]]:
    """Return what was done to `a`, oldest first."""
    sql = "SELECT kind, event, source, target, note FROM history WHERE id = 'a' ORDER BY seq"
    return list(store.connection.execute(sql))


def test_what_the_schema_refuses_is_not_taken_for_an_id_that_is_there(store: Store) -> None:
    """Whoever makes ids up would try another one for ever."""
    new = New(id="b", definition=1, params=b"", state="s0", now_ms=1, priority=101)

    with pytest.raises(sqlite3.IntegrityError, match="CHECK"), store.write() as connection:
        insert(connection, new)
    with pytest.raises(InstanceExists), store.write() as connection:
        insert(connection, new._replace(id="a", priority=0))
    with pytest.raises(BadParameter, match="NUL"), store.write() as connection:
        insert(connection, new._replace(id="b\0", priority=0))


def rewound(store: Store, *, seq: int, state: str = "s0") -> None:
    """Rewind `a`."""
    steering.rewind(
        store, instance_id="a", seq=seq, state=state, picture=encode([1]), reason="again"
    )


def finished(store: Store) -> Checkpoint:
    """Drive `a` to its end."""
    (at,) = stores.claimed(store, stores.registered(store))
    done = stores.plain(at, "done", status="done")
    assert Committer(store).commit([done], {}, policies={}) == [Verdict.COMMITTED]
    return at


def test_a_definition_is_written_down_once(store: Store) -> None:
    """By machine and digest; another digest is another definition."""
    first, same, other = (
        steering.define(store, machine="m", version=1, digest=digest, body="{}")
        for digest in ("d1", "d1", "d2")
    )

    assert first == same != other


def test_all_instances_are_created_or_none(store: Store) -> None:
    """One id that is taken refuses the others with it."""
    new = [NewInstance(each, encode({})) for each in ("b", "a", "c")]

    with pytest.raises(InstanceExists, match="'a'") as told:
        steering.create(store, machine="m", definition=1, initial="s0", instances=new)

    assert "statepipe resume a" in told.value.next_step
    assert stores.count(store, "instance") == 1
    assert violations(store.path) == []


@pytest.mark.parametrize("wish", WISHES)
def test_whoever_is_not_driven_obeys_at_once(store: Store, wish: Wish) -> None:
    """No worker is needed for it."""
    assert asking.request(store, instance_id="a", wish=wish, reason="enough")

    row = stores.row(store)
    status, target = ("cancelled", "cancelled") if wish == "cancel" else ("paused", "s0")
    assert (row["status"], row["state"], row["epoch"]) == (status, target, 1)
    assert journal(store)[-1] == (wish, wish, "s0", target, "enough")
    assert stores.claimed(store, stores.registered(store)) == []
    assert violations(store.path) == []


@pytest.mark.parametrize("wish", WISHES)
def test_whoever_is_driven_is_asked(store: Store, wish: Wish) -> None:
    """Its row moves on, so that the driver's next commit is refused and it reads the wish."""
    worker = stores.registered(store)
    (at,) = stores.claimed(store, worker)

    assert not asking.request(store, instance_id="a", wish=wish, reason=None)

    row = stores.row(store)
    assert (row["status"], row["request"], row["epoch"], row["seq"]) == ("ready", wish, 1, 3)
    assert claims.wished(store.connection, worker) == [at.n]
    assert journal(store)[-1] == ("request", wish, "s0", "s0", None)
    assert violations(store.path) == []


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_an_id_that_cannot_be_kept_is_not_taken_for_one_that_is_there(
    store: Store, name: str
) -> None:
    """Whoever attaches to what exists would be told that it does."""
    new = [NewInstance("fine", b""), NewInstance(name, b"")]
    with pytest.raises(BadParameter, match="1 to 200 characters"):
        steering.create(store, machine="m", definition=1, initial="s0", instances=new)

    assert store.connection.execute("SELECT id FROM instance").fetchall() == [("a",)]


def test_a_pause_does_not_undo_a_cancel_that_was_promised(store: Store) -> None:
    """The driver may not have seen the first wish yet when the second comes."""
    stores.claimed(store, stores.registered(store))
    assert not asking.request(store, instance_id="a", wish="cancel", reason=None)

    with pytest.raises(Refused, match="about to be cancelled"):
        asking.request(store, instance_id="a", wish="pause", reason=None)

    assert stores.row(store)["request"] == "cancel"


@pytest.mark.parametrize("wish", WISHES)
def test_whoever_was_driven_by_the_dead_obeys_at_once(store: Store, wish: Wish) -> None:
    """Nobody is left to ask."""
    stores.claimed(store, stores.dead(store))

    assert asking.request(store, instance_id="a", wish=wish, reason=None)
    assert stores.row(store)["worker"] is None
    assert violations(store.path) == []


@pytest.mark.parametrize("wish", WISHES)
def test_a_wait_ends_by_a_wish(tmp_path: Path, wish: Wish) -> None:
    """A timer must not wake what was cancelled."""
    clock = ManualClock()
    store = stores.opened(tmp_path, clock)
    stores.created(store, "a")
    (at,) = stores.claimed(store, stores.registered(store))
    Committer(store).commit([stores.waiting(at, clock=clock, delay_ms=5)], {}, policies={})

    assert asking.request(store, instance_id="a", wish=wish, reason=None)
    clock.advance(10)

    assert stores.claimed(store, stores.registered(store)) == []


def test_a_paused_instance_can_be_cancelled_and_nothing_be_wished_twice(store: Store) -> None:
    """Each refusal says what is already so."""
    assert asking.request(store, instance_id="a", wish="pause", reason=None)
    with pytest.raises(Refused, match="already paused"):
        asking.request(store, instance_id="a", wish="pause", reason=None)
    assert asking.request(store, instance_id="a", wish="cancel", reason=None)
    for wish in WISHES:
        with pytest.raises(Refused, match="already cancelled"):
            asking.request(store, instance_id="a", wish=wish, reason=None)

    assert [kind for kind, *_ in journal(store)] == ["create", "pause", "cancel"]


def test_nothing_can_be_wished_of_what_is_done_or_not_there(store: Store) -> None:
    """The order of transactions decides between done and cancelled."""
    finished(store)

    with pytest.raises(Refused, match="already done"):
        asking.request(store, instance_id="a", wish="cancel", reason=None)
    with pytest.raises(NotFound):
        asking.request(store, instance_id="b", wish="cancel", reason=None)


def test_a_rewind_begins_a_generation_and_fences_the_last(store: Store) -> None:
    """A done instance too; whoever still believes to drive it writes in vain."""
    at = finished(store)

    rewound(store, seq=3)

    row = stores.row(store)
    assert (row["status"], row["state"], row["generation"], row["epoch"]) == ("ready", "s0", 2, 2)
    assert (row["attempt"], row["batches"], row["finished_at_ms"]) == (0, 0, None)
    assert row["picture"] == encode([1])
    late = stores.plain(at._replace(seq=4), "s1")
    assert Committer(store).commit([late], {}, policies={}) == [Verdict.FENCED]
    assert journal(store)[-1] == ("rewind", "rewind", "done", "s0", "again")
    assert violations(store.path) == []


def test_a_rewind_is_refused_when_the_instance_moved_meanwhile(store: Store) -> None:
    """What it was worked out from is no longer so."""
    before = stores.row(store)

    with pytest.raises(Refused, match="moved while"):
        rewound(store, seq=7)

    assert stores.row(store) == before


def test_only_what_nobody_drives_is_rewound(store: Store) -> None:
    """A live process is named; a dead one does not count."""
    worker = stores.registered(store)
    stores.claimed(store, worker)

    with pytest.raises(Busy, match=re.escape(f"process {worker.pid}")):
        rewound(store, seq=2)
    with store.write() as connection:
        connection.execute("UPDATE worker SET pid_started = 1")
    rewound(store, seq=2)

    assert stores.row(store)["generation"] == 2
    with pytest.raises(NotFound):
        steering.rewind(store, instance_id="b", seq=1, state="s0", picture=None, reason=None)
