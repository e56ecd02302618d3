"""Pruning: whole instances go, what they counted stays, and their ids are never given again."""

from pathlib import Path

import pytest

from statepipe.errors import InstancePruned
from statepipe.store.care import prune
from statepipe.store.care.prune import Prunable, Which
from statepipe.store.codec import encode
from statepipe.store.metrics import recount
from statepipe.store.stage.directory import Stage, stage_directory
from statepipe.store.steering import instances as steering
from statepipe.store.steering.instances import NewInstance
from statepipe.store.walk.committer import Committer, Verdict
from statepipe.testing import ManualClock, violations
from tests.store import stores

EVER = 10**15


class Scene:
    """A store in which `a`, `b` are done, `c` failed and `d` goes on, each with a staged file."""

    def __init__(self, folder: Path) -> None:
        self.store = stores.opened(folder)
        worker = stores.registered(self.store)
        stores.created(self.store, "a", "b", "c", "d")
        at = stores.claimed(self.store, worker)
        self.stage = Stage(stage_directory(self.store.path, store_id=self.store.store_id))
        changes = [
            stores.plain(at[0], "done", status="done", at_ms=100),
            stores.plain(at[1], "done", status="done", at_ms=200),
            stores.failing(at[2]),
        ]
        Committer(self.store).commit(changes, {}, policies={})

    def prune(self, which: Which) -> int:
        """Prune; return how many instances went."""
        return sum(prune.prune(self.store, self.stage, which))

    def ids(self) -> str:
        """Return the ids that are there."""
        rows = self.store.connection.execute("SELECT id FROM instance ORDER BY n")
        return "".join(each for (each,) in rows)

    def counters(self) -> list[tuple[object, ...]]:
        """Return all figures but what pruning itself counts."""
        connection = self.store.connection
        return [
            *connection.execute("SELECT metric, state, label, value FROM counter"),
            *connection.execute("SELECT metric, state, label, n, sum_us FROM duration"),
            *connection.execute(
                "SELECT source, event, target, taken FROM transition_count WHERE event <> 'prune'"
            ),
        ]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Make the scene."""
    return Scene(tmp_path)


def test_what_is_pruned_is_gone_and_what_it_counted_stays(scene: Scene) -> None:
    """No counter falls (R17), and a recount of what is left still adds up."""
    before = scene.counters()

    assert scene.prune(Which(before_ms=EVER)) == 2

    assert scene.ids() == "cd"
    assert scene.counters() == before
    assert recount.differences(scene.store.connection) == []
    assert violations(scene.store.path) == []
    for table in ("journal", "batch", "reject", "plan", "output"):
        sql = f"SELECT count(*) FROM {table} WHERE instance NOT IN (SELECT n FROM instance)"
        assert scene.store.connection.execute(sql).fetchone() == (0,)


def test_the_number_of_instances_in_a_state_falls_with_them(scene: Scene) -> None:
    """It is what came into the state less what went out of it, and these went."""
    scene.prune(Which(before_ms=EVER))

    sql = "SELECT source, taken, pruned FROM transition_count WHERE event = 'prune'"
    assert scene.store.connection.execute(sql).fetchall() == [("done", 2, 2)]


def test_an_event_that_an_author_calls_prune_is_no_prune(tmp_path: Path) -> None:
    """What moved by it is still in the journal, and is not taken for what was pruned (R17)."""
    store = stores.opened(tmp_path)
    stores.created(store, "a", "b")
    a, b = stores.claimed(store, stores.registered(store))
    changes = [
        stores.plain(a, "done", status="done"),
        stores.plain(b, "s1")._replace(event="prune"),
    ]
    Committer(store).commit(changes, {}, policies={})
    stage = Stage(stage_directory(store.path, store_id=store.store_id))

    assert list(prune.prune(store, stage, Which(before_ms=EVER))) == [1]

    assert recount.differences(store.connection) == []
    sql = "SELECT source, target, taken, pruned FROM transition_count WHERE event = 'prune'"
    assert store.connection.execute(sql).fetchall() == [("done", "", 1, 1), ("s0", "s1", 1, 0)]


@pytest.mark.parametrize(
    ("which", "left"),
    [
        (Which(before_ms=99), "abcd"),
        (Which(before_ms=100), "bcd"),
        (Which(before_ms=EVER, keep_last=1), "bcd"),
        (Which(before_ms=EVER, keep_last=2), "abcd"),
        (Which(before_ms=EVER, statuses=("failed",)), "abd"),
        (Which(before_ms=EVER, statuses=("done", "failed")), "d"),
        (Which(before_ms=EVER, machine="m"), "cd"),
        (Which(before_ms=EVER, machine="other"), "abcd"),
    ],
)
def test_only_what_was_asked_for_goes(scene: Scene, which: Which, left: str) -> None:
    """What has not ended never does; and the preview says the same."""
    foreseen = prune.prunable(scene.store.connection, which, clock=scene.store.clock)

    gone = scene.prune(which)

    assert scene.ids() == left
    assert sum(each.instances for each in foreseen) == gone == 4 - len(left)


def test_the_preview_counts_what_is_in_quarantine(scene: Scene) -> None:
    """Rejected records go with their instance, so whoever prunes is told."""
    with scene.store.write() as connection:
        connection.execute(
            "INSERT INTO reject (instance, generation, state, visit, task, number, epoch, records,"
            " bytes, sha256, body, reasons) VALUES (1, 1, 's0', 1, 's0', 0, 1, 7, 1,"
            " zeroblob(32), x'00', '{}')"
        )

    which = Which(before_ms=EVER)
    assert prune.prunable(scene.store.connection, which, clock=scene.store.clock) == [
        Prunable("m", "done", 2, 7, 1)
    ]


def test_the_preview_counts_what_parts_have_staged_and_rejected(scene: Scene) -> None:
    """They go with the whole: its own bytes are 1 and 2, those of its two parts 4, 8, 16 and 32."""
    whole, *parts, _ = stores.created(scene.store, "whole", "part", "other", "alone")
    with scene.store.write() as connection:
        for shift, n in enumerate((whole, *parts)):
            for table, columns, values, bytes_ in (
                ("batch", ", format, read", ", 'msgpack', 0", 1 << 2 * shift),
                ("reject", ", reasons", ", '{}'", 2 << 2 * shift),
            ):
                connection.execute(
                    f"INSERT INTO {table} (instance, generation, state, visit, task, number, epoch,"
                    f" records, bytes, sha256, body{columns}) VALUES (?, 1, 's0', 1, 's0', 0, 1, 3,"
                    f" ?, zeroblob(32), x'00'{values})",
                    (n, bytes_),
                )
        connection.execute(
            "UPDATE instance SET seq = seq + 1, status = 'cancelled', finished_at_ms = 1,"
            " root = iif(n > ?1, ?1, NULL) WHERE n BETWEEN ?1 AND ?1 + 2",
            (whole,),
        )

    which = Which(before_ms=EVER, statuses=("cancelled",))
    assert prune.prunable(scene.store.connection, which, clock=scene.store.clock) == [
        Prunable("m", "cancelled", 1, 9, 63)
    ]


def test_an_id_that_was_pruned_is_not_given_again(scene: Scene) -> None:
    """The destination's ledger would take the new one's batches for loaded."""
    scene.prune(Which(before_ms=EVER))

    with pytest.raises(InstancePruned, match="it was pruned"):
        steering.create(
            scene.store,
            machine="m",
            definition=1,
            initial="s0",
            instances=[NewInstance("a", encode({}))],
        )

    assert scene.ids() == "cd"


def test_a_number_that_was_pruned_is_not_given_again(scene: Scene) -> None:
    """Neither that of an instance nor that of one that did part of its work."""
    *_, last = stores.created(scene.store, "whole", "part")
    with scene.store.write() as connection:
        connection.execute(
            "UPDATE instance SET seq = seq + 1, status = 'cancelled', finished_at_ms = 1,"
            " root = CASE id WHEN 'part' THEN n - 1 END WHERE id IN ('whole', 'part')"
        )

    assert scene.prune(Which(before_ms=EVER, statuses=("cancelled",))) == 2
    assert scene.ids() == "abcd"
    assert stores.created(scene.store, "new", "newer") == [last + 1, last + 2]

    scene.prune(Which(before_ms=EVER))
    assert stores.created(scene.store, "newest") == [last + 3]


def test_a_sleeper_has_no_right_to_who_came_after_its_instance_was_pruned(tmp_path: Path) -> None:
    """All that it believes is true of the newcomer as well, but for the number (R3, R4)."""
    clock = ManualClock()
    store = stores.opened(tmp_path, clock)
    sleeper = stores.registered(store)
    stores.created(store, "x")
    (believed,) = stores.claimed(store, sleeper)
    clock.advance(31_000)
    heir = stores.registered(store)
    done = stores.plain(stores.resumed(store, heir, "x"), "done", status="done")
    assert Committer(store).commit([done], {}, policies={}) == [Verdict.COMMITTED]
    stage = Stage(stage_directory(store.path, store_id=store.store_id))
    assert list(prune.prune(store, stage, Which(before_ms=EVER))) == [1]
    stores.created(store, "y")
    (at,) = stores.claimed(store, heir)
    before = stores.dump(store.connection)

    batch, rows = stores.batched(believed, sleeper, stores.batch(0))
    for late, attached in ((batch, {0: rows}), (stores.plain(believed, "done", status="done"), {})):
        assert Committer(store).commit([late], attached, policies={}) == [Verdict.FENCED]

    assert (at.id, at.epoch, at.seq) == ("y", believed.epoch, believed.seq)
    after = stores.dump(store.connection)
    changed = {name for name in before if after[name] != before[name]}
    assert changed <= {"counter", "duration"}, "only what tells of refusals and commits"
    assert violations(store.path) == []


def test_staged_files_go_after_their_rows(scene: Scene) -> None:
    """Of the pruned instance, and of no other."""
    files = [
        scene.stage.put(
            b"x" * 10,
            instance_key=name,
            generation=1,
            state="s0",
            visit=1,
            task="s0",
            number=0,
            epoch=1,
            format="msgpack",
            inline_bytes_max=1,
        ).file
        for name in ("a", "d")
    ]

    scene.prune(Which(before_ms=EVER))

    assert scene.stage.all_names() == [files[1]]


def test_many_go_in_transactions_of_some(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others write in between; ended in the middle, whole instances are gone and no other."""
    monkeypatch.setattr(prune, "_NEXT", prune._NEXT.replace(f"LIMIT {prune.GROUP}", "LIMIT 1"))
    going = prune.prune(scene.store, scene.stage, Which(before_ms=EVER))

    assert next(going) == 1
    assert scene.ids() == "bcd"
    assert violations(scene.store.path) == []
    assert list(going) == [1]
