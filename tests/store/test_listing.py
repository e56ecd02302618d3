"""Lists stop at their limit, however many instances there are; steps of SQLite are counted."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from statepipe.clock import SystemClock
from statepipe.store.codec import encode
from statepipe.store.file.opening import open_store
from statepipe.store.lookups.listing import Filter
from statepipe.store.reading import Reader
from statepipe.store.steering.instances import NewInstance, create, define

#: Of each of two machines, half of them failed.
INSTANCES = 2_000

#: SQLite looks in after so many steps of its virtual machine.
STEPS = 100

FORM = {"states": {"a": {"task": {"run": "m:f"}}, "done": {"final": "success"}}}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store full of failed and done instances, and one that is ready."""
    path = tmp_path_factory.mktemp("full") / "statepipe.db"
    store = open_store(path, create=True, clock=SystemClock())
    for machine in ("first", "second"):
        number = define(store, machine=machine, version=1, digest="d", body=json.dumps(FORM))
        new = [NewInstance(f"{machine}-{n}", encode({})) for n in range(INSTANCES)]
        create(store, machine=machine, definition=number, initial="a", instances=new)
    with store.write() as connection:
        connection.execute(
            "UPDATE instance"
            "   SET seq = seq + 1, finished_at_ms = 1, updated_at_ms = n, change = 'move',"
            "       status = iif(n % 2, 'failed', 'done'), state = iif(n % 2, 'failed', 'done'),"
            "       failed_state = iif(n % 2, 'a', NULL), error_class = iif(n % 2, 'E', NULL)"
        )
    create(
        store,
        machine="first",
        definition=1,
        initial="a",
        instances=[NewInstance("ready", encode({}))],
    )
    store.close()
    return path


@pytest.mark.parametrize(
    ("wanted", "newest"),
    [
        (Filter(), "ready"),
        (Filter(all=True), "ready"),
        (Filter(failed=True), "second-1998"),
        (Filter(machine="second"), "second-1998"),
        (Filter(machine="second", all=True), "second-1999"),
        (Filter(states=("done",)), "second-1999"),
        (Filter(failed=True, machine="second"), "second-1998"),
    ],
)
def test_a_list_costs_what_it_shows_and_not_what_there_is(
    path: Path, wanted: Filter, newest: str
) -> None:
    """The newest ten cost some thousand steps; a scan would take a hundred times as many."""
    with Reader(path) as reader:
        steps = _counted(reader)
        found = reader.instances(wanted, limit=10)

    assert [found[0].id, len(found)] == [newest, 10]
    assert steps() < 5_000


def test_what_nobody_matches_costs_nothing(path: Path) -> None:
    """No driver died, so nothing is looked for."""
    with Reader(path) as reader:
        steps = _counted(reader)

        assert reader.instances(Filter(stalled=True)) == []
        assert reader.instances(Filter(machine="third")) == []
        assert steps() < 1_000


def test_a_list_can_be_cut_by_the_time_of_the_last_change(path: Path) -> None:
    """`updated_at_ms` is the moment, not the creation."""
    with Reader(path) as reader:
        changed = reader.instances(Filter(since_ms=2 * INSTANCES - 3, all=True), limit=100)

    assert [each.id for each in changed] == [
        "ready",
        *(f"second-{n}" for n in (1999, 1998, 1997, 1996)),
    ]


def test_a_bulk_resume_takes_the_failed_and_the_ready(path: Path) -> None:
    """Counted and listed alike; what is done stays out of it."""
    with Reader(path) as reader:
        counts = reader.resumable_counts(Filter())
        listed = reader.resumable(Filter())
        failed = reader.resumable(Filter(failed=True, machine="first"))

    assert {(kind.machine, *kind[2:]): count for kind, count in counts.items()} == {
        ("first", "failed", "a", "E"): INSTANCES // 2,
        ("second", "failed", "a", "E"): INSTANCES // 2,
        ("first", "ready", "a", None): 1,
    }
    assert Counter(each.kind for each in listed) == counts
    assert len(listed) == INSTANCES + 1
    assert [each.id for each in failed[:2]] == ["first-0", "first-2"]


def _counted(reader: Reader) -> Callable[[], int]:
    """Count what SQLite does for `reader` from now on, in steps of its virtual machine."""
    looks = 0

    def look() -> int:
        nonlocal looks
        looks += 1
        return 0

    reader._connection.set_progress_handler(look, STEPS)
    return lambda: looks * STEPS
