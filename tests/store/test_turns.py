"""
Whose turn it is: priorities, machines in turn, queues, keys; all of it from rows.

Workers are rows, alive because this very process is, dead because it was born at another moment;
time is owned.
"""

from pathlib import Path
from typing import Literal

import pytest

from statepipe.errors import Busy
from statepipe.store.questions.turns import turn_of, unattended
from statepipe.store.walk import asking, ready, resuming
from statepipe.store.walk.ready import Scope
from statepipe.store.walk.routes import route
from statepipe.terms import Terms
from tests.store import stores
from tests.store.turning import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Make a scene."""
    return Scene(tmp_path)


def test_the_higher_priority_goes_first_whatever_came_first(scene: Scene) -> None:
    """Over machines and states, the oldest first among equals; below 0 is behind all others."""
    scene.make("a", "low", priority=-1)
    scene.make("a", "first", "second")
    scene.make("b", "urgent", priority=5, state="later")
    scene.make("b", "more", priority=1)

    assert scene.claim(limit=2) == ["urgent", "more"]
    assert scene.claim() == ["first", "second", "low"]
    scene.sound()


@pytest.mark.parametrize("first", ["crowd", "few"])
def test_machines_take_turns_however_much_one_has_ready(scene: Scene, first: str) -> None:
    """Of 10,000 and two, the two are claimed with the first few, whichever came first."""
    scene.define(first)
    scene.make("crowd", *(f"c{n}" for n in range(10_000)))
    scene.make("few", "one", "two")

    taken = scene.claim(limit=5)

    assert sorted(taken) == ["c0", "c1", "c2", "one", "two"]
    assert sorted(taken[:2]) == ["c0", "one"]
    assert sorted(taken[2:4]) == ["c1", "two"]


def test_the_next_is_of_the_machine_of_which_the_least_is_under_way(scene: Scene) -> None:
    """With one place left and 63 of a machine under way, it is the other machine's."""
    scene.make("crowd", *(f"c{n}" for n in range(100)))
    crowd = scene.define("crowd")
    scene.make("alone", "one", "two")

    assert scene.claim(limit=1, under_way={crowd: 63}) == ["one"]
    assert scene.claim(limit=3, under_way={crowd: 1}) == ["two", "c0", "c1"]
    assert scene.claim(limit=10, each_max=1) == ["c2"]


def test_those_that_are_due_take_turns_as_well(scene: Scene) -> None:
    """One that became due after 200 of another machine is not behind all of them."""
    scene.make("crowd", *(f"c{n}" for n in range(200)))
    scene.make("alone", "one")
    scene.claim()
    for n in range(200):
        scene.commit(stores.waiting(scene.at(f"c{n}"), clock=scene.clock, delay_ms=10 + n))
    scene.commit(stores.waiting(scene.at("one"), clock=scene.clock, delay_ms=1_000))
    scene.clock.advance(2_000)

    assert set(scene.claim(limit=2)) == {"c0", "one"}


def test_a_worker_of_one_queue_leaves_the_states_of_others_alone(scene: Scene) -> None:
    """New, due or left behind by a dead worker: the state decides, not how it came to rest."""
    gone = stores.dead(scene.store)
    scene.make("m", "dead")
    scene.claim(by=gone)
    scene.make("m", "due", "new")
    heavy = Scope(elsewhere=frozenset({(scene.define("m"), "s0")}))
    assert scene.claim(scope=Scope(), limit=2) == ["dead", "due"]
    scene.commit(stores.waiting(scene.at("due"), clock=scene.clock, delay_ms=10))
    scene.clock.advance(20)

    assert scene.claim(scope=heavy) == []
    assert ready.next_timer_boot_ms(scene.store, scope=heavy) is None
    assert scene.claim(scope=Scope()) == ["due", "new"]


def test_a_queue_that_nobody_works_on_is_seen(scene: Scene) -> None:
    """By the rows that say which state is of which queue; a machine without any has none."""
    scene.make("m", "a", "b")
    scene.make("other", "c")
    route(scene.store, scene.define("m"), {"s0": "heavy", "s1": "default"})

    assert unattended(scene.store.connection, ["default"]) == {"heavy": 2}
    assert unattended(scene.store.connection, ["heavy"]) == {"default": 1}
    assert turn_of(scene.store.connection, 1).queue == "heavy"
    route(scene.store, scene.define("m"), {"s0": "default"})
    assert unattended(scene.store.connection, ["default"]) == {}


def test_no_more_have_a_key_than_may_and_the_others_wait_in_the_order_they_were_made(
    scene: Scene,
) -> None:
    """One that has begun has it until it ends, wherever it rests meanwhile."""
    scene.with_key("a", "b", "c")
    scene.with_key("z", key="m:other")

    assert set(scene.claim()) == {"a", "z"}
    assert scene.claim() == []
    scene.commit(stores.waiting(scene.at("a"), clock=scene.clock, delay_ms=10))
    assert scene.claim() == []
    turn = turn_of(scene.store.connection, 3)
    assert (turn.waits, turn.holders, turn.before) == (True, ("a",), 1)
    scene.clock.advance(20)
    assert scene.claim() == ["a"]
    scene.commit(stores.plain(scene.at("a"), "done", status="done"))
    assert scene.claim() == ["b"]
    assert not turn_of(scene.store.connection, 2).waits
    scene.sound()


def test_two_may_have_a_key_if_the_limit_says_so(scene: Scene) -> None:
    """And all of them if there is none any more: the limit is the machine's, not the instance's."""
    scene.with_key("a", "b", "c")

    two = Scope(limits={scene.define("m"): 2})
    assert scene.claim(scope=two) == ["a", "b"]
    assert scene.claim(scope=two) == []
    assert scene.claim(scope=Scope()) == ["c"]


def test_the_key_of_a_dead_worker_is_held_until_it_is_taken_over(scene: Scene) -> None:
    """Then by the same instance: no other one slips in between."""
    gone = stores.dead(scene.store)
    scene.with_key("a", "b")
    assert scene.claim(by=gone) == ["a"]

    assert scene.claim() == ["a"]
    assert scene.claim() == []


@pytest.mark.parametrize("wish", ["pause", "cancel"])
def test_what_is_paused_or_ended_has_no_key(scene: Scene, wish: Literal["pause", "cancel"]) -> None:
    """And waits for its turn again when it is taken back."""
    scene.with_key("a", "b")
    scene.claim()
    scene.commit(stores.waiting(scene.at("a"), clock=scene.clock, delay_ms=10))
    asking.request(scene.store, instance_id="a", wish=wish, reason=None)

    assert scene.claim() == ["b"]
    facts = {"instance_id": "a", "reason": None, "definition": None}
    assert resuming.claim_resume(scene.store, scene.me, **facts, limit=1) is None  # type: ignore[arg-type]  # the wrong type, or keywords in a dict
    assert stores.row(scene.store, "a")["awaits_turn"] == 1
    assert scene.claim() == []
    scene.commit(stores.failing(scene.at("b")))
    assert scene.claim() == ["a"]
    scene.sound()


def test_what_was_paused_is_cleaned_up_after_when_its_key_is_free(scene: Scene) -> None:
    """Another one has it meanwhile; one that was not paused keeps it, and one that waits waits."""
    machine = scene.define("m", cleans=True)
    one = Scope(limits={machine: 1})
    scene.with_key("a", "b", "c", cleans=True)
    assert scene.claim(scope=one) == ["a"]
    scene.commit(stores.waiting(scene.at("a"), clock=scene.clock, delay_ms=10))
    asking.request(scene.store, instance_id="a", wish="pause", reason=None)
    assert scene.claim(scope=one) == ["b"]

    for name in ("a", "c"):
        assert asking.request(scene.store, instance_id=name, wish="cancel", reason=None)

    assert scene.at("a").state == scene.at("c").state == "cancelling"
    assert scene.claim(scope=one) == []
    scene.commit(stores.waiting(scene.at("b"), clock=scene.clock, delay_ms=10))
    asking.request(scene.store, instance_id="b", wish="cancel", reason=None)
    assert scene.claim(scope=one) == ["b"]
    scene.commit(stores.plain(scene.at("b"), "done", status="done"))
    assert scene.claim(scope=one) == ["a"]
    scene.sound()


def test_what_is_taken_back_while_its_key_is_free_is_driven_at_once(scene: Scene) -> None:
    """By whoever takes it back, and then it has the key."""
    scene.with_key("a", "b")
    scene.claim()
    scene.commit(stores.failing(scene.at("a")))

    facts = {"instance_id": "a", "reason": None, "definition": None}
    at = resuming.claim_resume(scene.store, scene.me, **facts, limit=1)  # type: ignore[arg-type]  # the wrong type, or keywords in a dict

    assert at is not None
    assert scene.claim() == []


def test_with_skip_no_instance_is_made_while_its_key_is_taken(scene: Scene) -> None:
    """One that has not begun has it as well, or two starts in a row would make two."""
    skip = Terms(limit=1, behavior="skip")

    first, second = scene.with_key("a", "b", terms=skip)
    (other,) = scene.with_key("z", key="m:other", terms=skip)

    assert [len(each.numbers) for each in (first, second, other)] == [1, 0, 1]
    scene.claim()
    scene.commit(stores.failing(scene.at("a")))
    assert len(scene.with_key("c", terms=skip)[0].numbers) == 1
    scene.sound()


def test_with_cancel_the_older_ones_are_cancelled(scene: Scene) -> None:
    """At once if nobody drives them; otherwise they are asked to, and the new one waits."""
    cancel = Terms(limit=1, behavior="cancel")
    scene.with_key("a", terms=cancel)
    scene.claim()

    made = scene.with_key("b", "c", terms=cancel)

    assert [each.cancelled for each in made] == [{"a": False}, {"b": True}]
    assert stores.row(scene.store, "a")["request"] == "cancel"
    assert stores.row(scene.store, "b")["status"] == "cancelled"
    assert scene.claim() == []
    scene.commit(
        stores.detailed(
            scene.at("a"), "cancelled", status="cancelled", kind="cancel", finished_at_ms=1
        )
    )
    assert scene.claim() == ["c"]


def test_no_more_are_made_than_may_be_ready(scene: Scene) -> None:
    """All or nothing, with what to type; those that are driven do not count."""
    two = Terms(ready_max=2)
    scene.with_key("a", "b", key="m:x", terms=two)

    with pytest.raises(Busy, match=r"2 instances of 'm' are ready .* ready_max = 2") as refused:
        scene.with_key("c", key="m:y", terms=two)

    assert refused.value.exit_code == 75
    assert refused.value.next_step.startswith("statepipe worker --machine m")
    assert stores.count(scene.store, "instance") == 2
    scene.claim()
    scene.with_key("c", key="m:y", terms=two)


def test_the_timers_of_another_boot_are_found_by_index(scene: Scene) -> None:
    """When the wall clock has passed them, or one delay after start-up, whichever is first."""
    scene.make("m", "soon", "late", "slow")
    scene.claim()
    for name, delay_ms in (("soon", 10_000), ("late", 50_000), ("slow", 90_000)):
        scene.commit(stores.waiting(scene.at(name), clock=scene.clock, delay_ms=delay_ms))
    scene.clock.reboot(down_ms=5_000)
    began = scene.clock.boot_ms()

    assert ready.next_timer_boot_ms(scene.store, scope=Scope()) == began + 5_000
    scene.clock.advance(5_000)
    assert scene.claim(scope=Scope()) == ["soon"]
    scene.clock.set_wall(scene.clock.now_ms() - 3_600_000)
    assert ready.next_timer_boot_ms(scene.store, scope=Scope()) == 50_000
    scene.clock.advance(50_000 - scene.clock.boot_ms())
    assert scene.claim(scope=Scope()) == ["late"]
