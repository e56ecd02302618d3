"""
Groups: how the whole stands follows from its instances, in the commit that moves the last.

Whoever moves it: a driver's commit, a person's cancel, a resume, a rewind, a prune.
"""

from pathlib import Path

import pytest

from statepipe.clock import SystemClock
from statepipe.errors import InstanceExists, InstancePruned
from statepipe.model import Checkpoint, Rejects
from statepipe.store.care import prune
from statepipe.store.care.prune import Which
from statepipe.store.codec import encode
from statepipe.store.file.connection import Store
from statepipe.store.lookups import groups
from statepipe.store.lookups.groups import Group, NewGroup
from statepipe.store.stage.directory import Stage, stage_directory
from statepipe.store.steering import instances as steering
from statepipe.store.steering import regrouping
from statepipe.store.steering.instances import NewInstance
from statepipe.store.walk import asking, claims, ready
from statepipe.store.walk.committer import Committer, Verdict
from statepipe.store.walk.ready import Scope
from statepipe.testing import violations
from tests.store import stores


class Scene:
    """A store with a group `g` of partitions `0`, `1`, …, all claimed."""

    def __init__(self, folder: Path) -> None:
        self.store: Store = stores.opened(folder)
        self.worker = stores.registered(self.store)
        self.at: list[Checkpoint] = []

    def made(self, total: int, *, tolerated: int = 0) -> Group:
        """Make the group and claim its instances."""
        grouped(self.store, "g", total, tolerated=tolerated)
        self.claim()
        return self.group()

    def claim(self) -> None:
        """Claim what is ready."""
        self.at = stores.claimed(self.store, self.worker)

    def commit(self, *ends: str) -> None:
        """End the claimed instances, in one commit: "done", "failed", or "" for not yet."""
        changes = [
            stores.plain(at, "done", status="done") if end == "done" else stores.failing(at)
            for at, end in zip(self.at, ends, strict=False)
            if end
        ]
        verdicts = Committer(self.store).commit(changes, {}, policies={})
        assert set(verdicts) == {Verdict.COMMITTED}

    def group(self) -> Group:
        """Return the group as its row says it is."""
        return groups.known(self.store.connection, "g")

    def stands(self) -> tuple[str, float | None]:
        """Return the group's status and completeness as recorded."""
        sql = "SELECT status, completeness FROM instance_group WHERE id = 'g'"
        status, completeness = self.store.connection.execute(sql).fetchone()
        return status, completeness

    def prune(self, *statuses: str) -> int:
        """Let go of what is done, or of what ended so."""
        directory = stage_directory(self.store.path, store_id=self.store.store_id)
        which = Which(before_ms=10**15, statuses=statuses or ("done",))
        return sum(prune.prune(self.store, Stage(directory), which))


def grouped(store: Store, name: str, total: int, *, tolerated: int = 0) -> list[int]:
    """Create a group of `total` instances; return their numbers."""
    definition = steering.define(store, machine="m", version=1, digest="d1", body='{"states": {}}')
    made = steering.create(
        store,
        machine="m",
        definition=definition,
        initial="s0",
        instances=[NewInstance(f"{name}/{n}", encode({}), str(n)) for n in range(total)],
        group=NewGroup(name, str(tolerated), tolerated),
    )
    return [*made.numbers]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Make the scene."""
    return Scene(tmp_path)


def test_a_group_is_made_with_all_of_its_instances_or_not_at_all(scene: Scene) -> None:
    """One id that is taken, or was pruned, and nothing is there."""
    stores.created(scene.store, "g/2", "h")

    with pytest.raises(InstanceExists, match="instance 'g/2'"):
        grouped(scene.store, "g", 4)
    with pytest.raises(InstanceExists, match="instance 'h'"):
        grouped(scene.store, "h", 1)

    assert stores.count(scene.store, "instance") == 2
    assert stores.count(scene.store, "instance_group") == 0


def test_a_group_exists_once(scene: Scene) -> None:
    """A second one of its id is refused by what is there, and changes nothing."""
    scene.made(2)

    with pytest.raises(InstanceExists, match="group 'g'"):
        grouped(scene.store, "g", 3)

    assert scene.group().total == 2


@pytest.mark.parametrize(
    ("ends", "tolerated", "status", "completeness"),
    [
        (["done", "done", "done", "done"], 0, "done", 1.0),
        (["done", "failed", "done", "done"], 0, "failed", 0.75),
        (["done", "failed", "done", "done"], 1, "done", 0.75),
        (["failed", "failed", "done", "done"], 1, "failed", 0.5),
        (["failed", "failed", "failed", "failed"], 4, "done", 0.0),
    ],
)
def test_the_last_one_to_rest_ends_the_group(
    scene: Scene, ends: list[str], tolerated: int, status: str, completeness: float
) -> None:
    """In its own commit, whether all end in one commit or one after the other."""
    scene.made(4, tolerated=tolerated)

    scene.commit(*ends[:-1])
    before = scene.stands()
    scene.at = scene.at[-1:]
    scene.commit(ends[-1])

    assert before == ("open", None)
    assert scene.stands() == (status, completeness)
    assert violations(scene.store.path) == []


def test_many_that_end_in_one_commit_end_the_group(scene: Scene) -> None:
    """The trigger looks after each row; the last of them finds nobody left."""
    scene.made(3)

    scene.commit("done", "done", "done")

    assert scene.stands() == ("done", 1.0)


def test_a_commit_that_is_rolled_back_ends_nothing(scene: Scene) -> None:
    """A member that was taken over is fenced alone, and its group goes on (R2)."""
    scene.made(2)
    scene.at = scene.at[:1]
    scene.commit("done")
    (at,) = [each for each in _claimed(scene) if each.id == "g/1"]
    stores.stolen(scene.store, "g/1")

    late = stores.plain(at, "done", status="done")
    verdicts = Committer(scene.store).commit([late], {}, policies={})

    assert verdicts == [Verdict.FENCED]
    assert scene.stands() == ("open", None)


def test_a_retried_partition_opens_the_group_and_raises_its_completeness(scene: Scene) -> None:
    """Also after it ended `done` with a failure that was tolerated."""
    scene.made(4, tolerated=1)
    scene.commit("done", "done", "failed", "done")
    ended = scene.stands()

    at = stores.resumed(scene.store, scene.worker, "g/2")
    opened = scene.stands()
    scene.at = [at]
    scene.commit("done")

    assert [ended, opened, scene.stands()] == [("done", 0.75), ("open", 0.75), ("done", 1.0)]
    assert violations(scene.store.path) == []


def test_a_retry_that_fails_leaves_the_group_as_it_was(scene: Scene) -> None:
    """Nothing is counted along that could be counted twice."""
    scene.made(2, tolerated=1)
    scene.commit("done", "failed")

    for _ in range(3):
        scene.at = [stores.resumed(scene.store, scene.worker, "g/1")]
        scene.commit("failed")

    assert scene.stands() == ("done", 0.5)


def test_a_done_partition_that_is_rewound_opens_the_group(scene: Scene) -> None:
    """Its data is about to change, so the whole is not done."""
    scene.made(2)
    scene.commit("done", "done")
    seq = stores.row(scene.store, "g/0")["seq"]

    steering.rewind(scene.store, instance_id="g/0", seq=seq, state="s0", picture=None, reason=None)

    assert scene.stands() == ("open", 1.0)
    assert scene.group().finished_at_ms is None


def test_what_a_rewind_has_undone_is_not_counted_as_rejected(scene: Scene) -> None:
    """It is rejected again when it is done again; as with one instance."""
    scene.made(1)
    rejects = Rejects(3, 1, b"\1" * 32, None, b"r", {"late": 3})
    for _ in range(2):
        change = stores.batched(scene.at[0], scene.worker, stores.batch(0, rejects=rejects))
        Committer(scene.store).commit([change[0]], {0: change[1]}, policies={})
        row = stores.row(scene.store, "g/0")
        scene.at = [scene.at[0]._replace(seq=row["seq"])]
        scene.commit("failed")
        seq = stores.row(scene.store, "g/0")["seq"]
        steering.rewind(
            scene.store, instance_id="g/0", seq=seq, state="s0", picture=None, reason=None
        )
        scene.claim()

    assert groups.summary(scene.store.connection, scene.group(), dead=()).rejected == 3


def test_what_a_person_cancels_or_pauses_counts(scene: Scene) -> None:
    """A paused one keeps the group open; a cancelled one is not done, and nobody's failure."""
    grouped(scene.store, "g", 3)
    asking.request(scene.store, instance_id="g/0", wish="pause", reason=None)
    asking.request(scene.store, instance_id="g/1", wish="cancel", reason=None)
    scene.claim()
    scene.commit("done")
    paused = scene.stands()

    asking.request(scene.store, instance_id="g/0", wish="cancel", reason=None)

    assert paused == ("open", None)
    assert scene.stands() == ("cancelled", 1 / 3)
    assert violations(scene.store.path) == []


def test_a_group_that_stays_done_is_not_done_again(scene: Scene) -> None:
    """A failure that was tolerated is cancelled; who reads on sees what became there, once."""
    sql = "SELECT n, times, is_there FROM dataset WHERE kind = 'group'"

    def datasets() -> list[tuple[int, int, int]]:
        return list(scene.store.connection.execute(sql))

    scene.made(2, tolerated=1)
    scene.commit("done", "failed")
    assert datasets() == [(1, 1, 1)]

    assert asking.request(scene.store, instance_id="g/1", wish="cancel", reason=None)
    assert (scene.stands(), datasets()) == (("done", 0.5), [(1, 1, 1)])

    scene.at = [stores.resumed(scene.store, scene.worker, "g/1")]
    assert datasets() == [(1, 1, 0)]
    scene.commit("done")
    assert (scene.stands(), datasets()) == (("done", 1.0), [(2, 2, 1)])


def test_a_whole_group_is_cancelled_in_one_transaction(scene: Scene) -> None:
    """Driven ones are asked to, and once only; those that ended are left."""
    scene.made(4)
    scene.commit("done", "failed")
    dead = stores.dead(scene.store)
    with scene.store.write() as connection:
        connection.execute(
            "UPDATE instance SET seq = seq + 1, worker = ?, change = 'claim' WHERE id = 'g/2'",
            (dead.n,),
        )
        connection.execute(
            "INSERT INTO journal (instance, seq, epoch, generation, at_ms, kind, event, source,"
            " target) SELECT n, seq, epoch, generation, 1, 'claim', 'claim', state, state"
            " FROM instance WHERE id = 'g/2'"
        )

    first = regrouping.cancel(scene.store, scene.group().n, reason="wrong file")
    again = regrouping.cancel(scene.store, scene.group().n, reason="wrong file")

    assert first == (["g/2"], ["g/3"])
    assert again == ([], [])
    assert stores.row(scene.store, "g/3")["request"] == "cancel"
    assert stores.row(scene.store, "g/1")["status"] == "failed"


def test_taking_back_leaves_alone_what_moved_meanwhile(scene: Scene) -> None:
    """Two people retry one group: each partition goes back to work once."""
    scene.made(3)
    scene.commit("failed", "failed", "failed")
    found = groups.members(scene.store.connection, scene.group().n, ["failed"])
    stores.resumed(scene.store, scene.worker, "g/1")

    taken = regrouping.take_back(scene.store, found, reason="again", definition=None)
    again = regrouping.take_back(scene.store, found, reason="again", definition=None)

    assert [each.id for each in taken] == ["g/0", "g/2"]
    assert again == []
    assert stores.row(scene.store, "g/0")["worker"] is None
    assert violations(scene.store.path) == []


def test_taking_back_leaves_alone_what_was_pruned_meanwhile(scene: Scene) -> None:
    """Who came after them has a number of its own, and is not meant."""
    scene.made(2)
    scene.commit("failed", "failed")
    found = groups.members(scene.store.connection, scene.group().n, ["failed"])
    assert scene.prune("failed") == 2
    (n,) = stores.created(scene.store, "a")
    scene.claim()
    scene.commit("failed")

    taken = regrouping.take_back(scene.store, found, reason="again", definition=None)

    assert n > max(each.n for each in found)
    assert taken == []
    assert stores.row(scene.store, "a")["status"] == "failed"


def test_what_is_pruned_is_still_done(scene: Scene) -> None:
    """A retry after the others were pruned ends the group by all of them; its id stays taken."""
    scene.made(3)
    scene.commit("done", "failed", "done")
    assert scene.prune() == 2
    summary = groups.summary(scene.store.connection, scene.group(), dead=())

    scene.at = [stores.resumed(scene.store, scene.worker, "g/1")]
    scene.commit("done")
    ended = scene.stands()
    assert scene.prune() == 1

    assert (summary.done, dict(summary.standings)) == (2, {"failed": 1})
    assert ended == ("done", 1.0)
    assert scene.stands() == ended
    assert groups.summary(scene.store.connection, scene.group(), dead=()).completeness == 1.0
    with pytest.raises(InstanceExists):
        grouped(scene.store, "g", 3)
    with pytest.raises(InstancePruned):
        stores.created(scene.store, "g/1")


def test_only_a_groups_own_instances_are_claimed_in_its_scope(scene: Scene) -> None:
    """What else is ready is left to others."""
    stores.created(scene.store, "a")
    grouped(scene.store, "other", 2)
    grouped(scene.store, "g", 2)

    claimed = stores.claimed(scene.store, scene.worker, scope=Scope(group=scene.group().n))

    assert [each.id for each in claimed] == ["g/0", "g/1"]
    assert not groups.is_slice(scene.store.connection, 1)


def test_a_group_that_says_otherwise_than_its_instances_is_found(scene: Scene) -> None:
    """`violations` compares; without the triggers it would have something to say."""
    scene.made(2)
    with scene.store.write() as connection:
        connection.execute("DROP TRIGGER instance_group_follows")
    scene.commit("done", "done")

    (found,) = violations(scene.store.path)

    assert found == "group g: is open and nothing, its instances say otherwise"


def test_ten_thousand_partitions_are_made_in_one_transaction_and_listed_by_index(
    tmp_path: Path,
) -> None:
    """In about a second on an idle machine; what asks for a group reads nothing else."""
    store = stores.opened(tmp_path)
    clock = SystemClock()
    began_ms = clock.boot_ms()

    grouped(store, "g", 10_000)

    assert clock.boot_ms() - began_ms < 15_000
    group = groups.known(store.connection, "g")
    for sql in (
        "SELECT 1 FROM instance WHERE member_of = 1 AND status = 'ready'",
        ready.FREE.ready(ready.scope_sql(Scope(group=group.n))),
        groups._COUNTS,
    ):
        bound = {"limit": 1} if ":limit" in sql else (1,) * sql.count("?")
        plan = store.connection.execute(f"EXPLAIN QUERY PLAN {sql}", bound).fetchall()
        assert all("instance_member" in row[-1] for row in plan), plan


def _claimed(scene: Scene) -> list[Checkpoint]:
    numbers = [n for (n,) in scene.store.connection.execute("SELECT n FROM instance")]
    return [claims.load_checkpoint(scene.store.connection, n) for n in numbers]
