"""From the outbox to people: tried, tried again, given up; by many processes, never held up."""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from statepipe.errors import Busy
from statepipe.notify import Target
from statepipe.observe import redact
from statepipe.observe.notices.delivery import deliver
from statepipe.observe.notices.letter import Letter, Undelivered
from statepipe.runtime.notices.post import TRIES_MAX, Outcome, Post, pause_ms
from statepipe.store.file.connection import Store
from statepipe.store.walk import notices
from statepipe.testing import ManualClock
from statepipe.units import Rate
from tests.observe.receiving import receiving, status
from tests.store import stores
from tests.store.test_notices import counted, notice, put, rows

ENOUGH_MS = 20_000


class Deliveries:
    """Stands for the other sides: remembers what it is given, and does what it is told."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.acts: dict[str, Callable[[], object]] = {}

    def __call__(
        self, target: Target, letter: Letter, *, address: str | None, root: Path, timeout_ms: int
    ) -> None:
        """Deliver."""
        assert address
        assert root == Path("/")
        assert timeout_ms > 0
        self.keys.append(letter.key)
        self.acts.get(target.name, lambda: None)()

    def fail(self, name: str, reason: str = "503", **facts: Any) -> None:  # noqa: ANN401 of an Undelivered
        """Let a target fail from now on."""

        def act() -> None:
            raise Undelivered(reason, **facts)

        self.acts[name] = act


@pytest.fixture
def clock() -> ManualClock:
    """Return the time that the test owns."""
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    """Return an empty store."""
    yield stores.opened(tmp_path, clock)
    stores.close_all()


@pytest.fixture
def others() -> Deliveries:
    """Return the other sides."""
    return Deliveries()


def post_of(store: Store, deliver: Deliveries | None = None, **settings: Any) -> Post:  # noqa: ANN401 of a Target
    """Return a post with the targets `oncall` and `team`."""
    targets = {
        name: Target(name=name, webhook="http://x/", **settings) for name in ("oncall", "team")
    }
    return Post(store, targets, root=Path("/"), env=None, deliver=deliver or Deliveries())


def turns(post: Post) -> list[Outcome]:
    """Turn until nothing is due and nothing is under way."""
    ended: list[Outcome] = []
    while (some := post.turn(wait_ms=ENOUGH_MS)) or post.is_busy:
        ended += some
    return ended


def test_what_is_due_is_sent_and_counted(store: Store, others: Deliveries) -> None:
    """Each under its own key; what belongs to a target that is not known here stays."""
    put(store, notice("a"), notice("b", target="team"), notice("c"), notice("d", target="gone"))

    ended = turns(post_of(store, others))

    assert sorted(others.keys) == ["a", "b", "c"]
    assert {each.error for each in ended} == {None}
    assert [row[2] for row in rows(store)] == ["sent", "sent", "sent", None]
    assert counted(store) == {("oncall", "sent"): 2, ("team", "sent"): 1}


def test_a_failure_is_tried_again_after_pauses_that_grow_and_given_up_in_the_end(
    store: Store, clock: ManualClock, others: Deliveries
) -> None:
    """10 s, 20 s, 40 s, … an hour; the same key each time; the last reason is kept."""
    put(store, notice("a"))
    others.fail("oncall")
    post = post_of(store, others)
    pauses = []
    while (ended := turns(post)) and ended[0].next_at_ms is not None:
        pauses.append(ended[0].next_at_ms - clock.now_ms())
        clock.advance(pauses[-1] - 1)
        assert turns(post) == [], "not a moment too early"
        clock.advance(1)

    assert pauses[:4] == [10_000, 20_000, 40_000, 80_000]
    assert pauses[-1] == 3_600_000
    assert len(pauses) == TRIES_MAX - 1
    assert others.keys == ["a"] * TRIES_MAX
    assert rows(store) == [("a", TRIES_MAX, "given up", "503")]
    assert counted(store) == {("oncall", "given up"): 1}


def test_pauses_survive_the_process(store: Store, clock: ManualClock, others: Deliveries) -> None:
    """A restart neither shortens nor forgets them."""
    put(store, notice("a"))
    others.fail("oncall")
    turns(post_of(store, others))

    assert turns(post_of(store, others)) == []
    clock.advance(pause_ms(1))
    assert len(turns(post_of(store, others))) == 1


def test_who_asks_for_a_longer_pause_gets_it(
    store: Store, clock: ManualClock, others: Deliveries
) -> None:
    """But nobody gets more than a day."""
    for key, asked_ms, given_ms in (("a", 120_000, 120_000), ("b", 10**9, 86_400_000)):
        put(store, notice(key))
        others.fail("oncall", retry_after_ms=asked_ms)
        (ended,) = turns(post_of(store, others))

        assert ended.next_at_ms == clock.now_ms() + given_ms


def test_a_thousand_notices_for_a_target_that_is_down_are_one_try(
    store: Store, clock: ManualClock, others: Deliveries
) -> None:
    """And when it is up again, all of them are sent."""
    put(store, *(notice(f"k{n}") for n in range(100)))
    others.fail("oncall")
    post = post_of(store, others)

    assert len(turns(post)) == 1
    clock.advance(pause_ms(1))
    assert len(turns(post)) == 1
    others.acts.clear()
    clock.advance(pause_ms(2))
    turns(post)

    assert counted(store) == {("oncall", "sent"): 100}


def test_a_target_that_hangs_holds_up_no_other(store: Store, others: Deliveries) -> None:
    """Each is told in a thread of its own."""
    put(store, notice("a"), notice("b", target="team"), notice("c", target="team"))
    go_on = threading.Event()
    others.acts["oncall"] = go_on.wait
    post = post_of(store, others)
    sent: list[str] = []
    while len(sent) < 2:
        sent += [each.taken.key for each in post.turn(wait_ms=ENOUGH_MS)]

    assert sent == ["b", "c"]
    assert post.is_busy
    go_on.set()
    assert [each.taken.key for each in turns(post)] == ["a"]


def test_a_delivery_that_never_ends_is_given_to_another_and_still_believed(
    store: Store, clock: ManualClock, others: Deliveries
) -> None:
    """After its lease anybody may try; should the first one arrive after all, that counts."""
    put(store, notice("a"))
    go_on = threading.Event()
    others.acts["oncall"] = go_on.wait
    post = post_of(store, others)
    assert post.turn(wait_ms=1) == []
    clock.advance(15_000)
    (late,) = post.turn(wait_ms=1)

    assert late.error == "it did not end"
    assert rows(store) == [("a", 1, None, "it did not end")]
    go_on.set()
    (ended,) = _until(post)
    assert ended.error is None
    assert rows(store) == [("a", 1, "sent", None)]


def test_that_a_late_one_failed_is_no_news(
    store: Store, clock: ManualClock, others: Deliveries
) -> None:
    """It was taken for that already."""
    put(store, notice("a"))
    go_on = threading.Event()

    def act() -> None:
        go_on.wait()
        raise Undelivered("late")

    others.acts["oncall"] = act
    post = post_of(store, others)
    post.turn(wait_ms=1)
    clock.advance(15_000)
    assert len(post.turn(wait_ms=1)) == 1
    (flying,) = [each for each in threading.enumerate() if each.name == "statepipe-notify-oncall"]
    go_on.set()
    flying.join()

    assert post.turn(wait_ms=0) == []
    assert rows(store) == [("a", 1, None, "it did not end")]


def test_two_processes_never_send_the_same(store: Store, tmp_path: Path) -> None:
    """Both look at once, again and again."""
    put(store, *(notice(f"k{n}") for n in range(60)))
    sides = Deliveries()
    posts = [post_of(stores.opened(tmp_path, ManualClock()), sides) for _ in range(2)]
    threads = [threading.Thread(target=turns, args=[post]) for post in posts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(sides.keys) == sorted(f"k{n}" for n in range(60))
    assert counted(store) == {("oncall", "sent"): 60}


def test_what_was_sent_and_could_not_be_written_down_is_written_down_later(
    store: Store, others: Deliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is busy for a while must not make people hear it twice."""
    put(store, notice("a"))
    real = notices.sent
    calls: list[str] = []

    def busy_once(*args: Any) -> None:  # noqa: ANN401 as `sent`
        calls.append("sent")
        if len(calls) == 1:
            raise Busy("locked")
        real(*args)

    monkeypatch.setattr(notices, "sent", busy_once)
    post = post_of(store, others)
    with pytest.raises(Busy):
        turns(post)
    turns(post)

    assert others.keys == ["a"]
    assert rows(store) == [("a", 1, "sent", None)]


def test_beyond_the_rate_people_get_one_notice_that_says_how_many(
    store: Store, clock: ManualClock, others: Deliveries
) -> None:
    """In words."""
    put(store, *(notice(f"k{n}") for n in range(20)))
    post = post_of(store, others, rate=Rate(3, 3_600_000))
    turns(post)
    assert len(others.keys) == 3

    clock.advance(3_600_000)
    (ended,) = turns(post)

    assert '"statepipe: 17 more were dropped, beyond the rate of this target"' in ended.taken.body
    assert counted(store) == {("oncall", "sent"): 4, ("oncall", "dropped"): 17}


def test_whatever_a_library_raises_is_a_failure_of_which_only_the_class_is_kept(
    store: Store, others: Deliveries
) -> None:
    """Its text may repeat what it was given."""
    put(store, notice("a"))

    def act() -> None:
        raise ValueError("hunter2 is no token")

    others.acts["oncall"] = act
    turns(post_of(store, others))

    assert rows(store) == [("a", 1, None, "ValueError while delivering")]


def test_the_address_is_read_at_each_try_and_written_down_nowhere(
    store: Store,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Unset, wrong, refused, right: no store, log or error repeats it."""
    caplog.set_level(logging.DEBUG)
    put(store, notice("a"))
    target = Target(name="oncall", webhook="env:STATEPIPE_TEST_HOOK")
    post = Post(store, {"oncall": target}, root=Path("/"), env=None)
    reasons = []
    with receiving(status("500 No"), status("204 OK")) as receiver:
        url = receiver.url.replace("/hook", "/hunter2hunter2")
        for address in ("", "hunter2hunter2", url, url):
            monkeypatch.setenv("STATEPIPE_TEST_HOOK", address)
            reasons += [each.error for each in turns(post)]
            clock.advance(3_600_000)
    redact.forget()

    assert reasons == [
        "the environment variable STATEPIPE_TEST_HOOK is empty",
        "what the reference of the webhook leads to is neither an http nor an https URL",
        "it answered 500 No",
        None,
    ]
    assert rows(store) == [("a", 4, "sent", None)]
    seen = str(stores.dump(store.connection)) + caplog.text + "".join(capfd.readouterr())
    assert "hunter2" not in seen


def _until(post: Post) -> list[Outcome]:
    """Turn until something has ended."""
    while not (ended := post.turn(wait_ms=10)):
        threading.Event().wait(0.005)
    return ended


def test_the_module_uses_the_real_deliveries_unless_told_otherwise() -> None:
    """All of the above would be true of a post that delivers nowhere."""
    assert Post.__init__.__kwdefaults__ == {"deliver": deliver}
