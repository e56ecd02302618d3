"""Rows about staged batches: found by their stay, in order, and given back as a whole."""

from pathlib import Path

import pytest

from statepipe.model import Attachment, Change, Rejects, Stay
from statepipe.store.codec import encode
from statepipe.store.file.connection import Store
from statepipe.store.stage import rows as staged
from statepipe.store.walk.committer import Committer, Verdict
from statepipe.testing import violations
from tests.store import stores

STAY = Stay(1, "s0", 1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Open a store with three batches of `a`, the last one in a file, and one of `b`."""
    opened = stores.opened(tmp_path)
    worker = stores.registered(opened)
    stores.created(opened, "a", "b")
    a, b = stores.claimed(opened, worker)
    rejects = Rejects(1, 1, b"\1" * 32, "folder/r.rejects.msgpack", None, {"why": 1})
    for number in range(3):
        batch = stores.batch(
            number,
            file="folder/two.msgpack" if number == 2 else None,
            rejects=rejects if number == 1 else None,
        )
        change, attachment = stores.batched(a._replace(seq=2 + number), worker, batch)
        got = Committer(opened).commit([change], {0: attachment}, policies={})
        assert got == [Verdict.COMMITTED]
    change, attachment = stores.batched(b, worker, stores.batch(0, file="folder/b.msgpack"))
    Committer(opened).commit([change], {0: attachment}, policies={})
    return opened


def test_a_batch_comes_back_as_it_was_committed(store: Store) -> None:
    """All but its rejects, which nobody reads on the way."""
    for number in range(3):
        file = "folder/two.msgpack" if number == 2 else None
        found = staged.staged_batch(store.connection, 1, STAY, number)
        assert found == stores.batch(number, file=file)

    assert staged.staged_batch(store.connection, 1, STAY, 3) is None
    for stay in (Stay(2, "s0", 1), Stay(1, "s1", 1), Stay(1, "s0", 2)):
        assert staged.staged_batch(store.connection, 1, stay, 0) is None


def test_a_source_goes_on_after_its_last_batch(store: Store) -> None:
    """The cursor is the last one's, by number."""
    assert staged.last_cursor(store.connection, 1, STAY) == encode(2)
    assert staged.last_cursor(store.connection, 1, Stay(2, "s0", 1)) is None
    assert stores.count_batches(store.connection, 1, STAY) == 3


def test_the_files_of_an_instance_are_its_own_with_its_rejects(store: Store) -> None:
    """What a sweep must not touch."""
    assert staged.files_of(store.connection, 1) == {
        "folder/two.msgpack",
        "folder/r.rejects.msgpack",
    }
    assert staged.files_of(store.connection, 2) == {"folder/b.msgpack"}


def test_giving_batches_back_keeps_rejects_and_neighbours(store: Store) -> None:
    """In the commit that ends the instance; quarantine stays to be read."""
    n, epoch, seq = store.connection.execute(
        "SELECT n, epoch, seq FROM instance WHERE id = 'a'"
    ).fetchone()
    done = Change(n, epoch, seq, "done", 1, "ok", 1, None, "done", "s0", "m", 0, 0, None)
    given_back = Attachment(STAY, "s0", releases=True)

    assert Committer(store).commit([done], {0: given_back}, policies={}) == [Verdict.COMMITTED]

    assert stores.count_batches(store.connection, 1, STAY) == 0
    assert staged.files_of(store.connection, 1) == {"folder/r.rejects.msgpack"}
    assert stores.count_batches(store.connection, 2, STAY) == 1
    assert violations(store.path) == []


def test_no_plan_is_an_empty_plan(store: Store) -> None:
    """Of whichever length."""
    assert staged.load_plan(store.connection, 1, STAY) == []
    assert staged.load_plan(store.connection, 1, STAY, limit=1) == []


def test_a_plan_longer_than_a_page_is_read_page_by_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan of 100,000 batches is longer than one answer to a worker process may be."""
    monkeypatch.setattr(staged, "PLAN_PAGE", 2)
    store = stores.opened(tmp_path)
    stores.created(store, "a")
    with store.write() as connection:
        connection.executemany(
            "INSERT INTO plan VALUES (1, 1, 's0', 1, ?, 1, 'x', 1, 'x', 5, zeroblob(32), NULL)",
            [(number,) for number in range(5)],
        )

    pages = [staged.load_plan(store.connection, 1, STAY, first=first) for first in (0, 2, 4, 5)]

    assert [[each.number for each in page] for page in pages] == [[0, 1], [2, 3], [4], []]
