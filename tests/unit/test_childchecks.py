"""`check` of child machines: they are there, are given what they need, and do not go in circles."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest

from statepipe.machine.definition import Machine, State, Transition
from statepipe.machine.parameter import Param
from statepipe.machine.states.taskgraph import Child
from statepipe.sharing import Concurrency, Sharing
from tests.unit.building import acting, pipeline, to
from tests.unit.test_checker import messages

CHILD = replace(
    pipeline(acting("a", to("done"))),
    name="refresh",
    params=(
        Param(name="day", type="date"),
        Param(name="share", type="float", default=0.5),
        Param(name="note", required=False),
    ),
)


def parent(
    params: Mapping[str, object] = MappingProxyType({}), child: str = "refresh", name: str = "m"
) -> Machine:
    """Return a machine whose one state is an instance of `child` with `params`."""
    given = {"day": "{params.day}", **params}
    state = State(
        name="a",
        task=Child(machine=child, params={k: v for k, v in given.items() if v is not None}),
        on=(to("done"),),
    )
    have = (
        Param(name="day", type="date", default="today"),
        Param(name="until", type="date", required=False),
        Param(name="count", type="int", default=1),
        Param(name="text", default="x"),
    )
    done = State(name="done", final="success")
    return Machine(name=name, initial="a", states=(state, done), params=have)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({}, ""),
        ({"day": "2013-02-04", "share": 1, "note": "of {params.day}"}, ""),
        ({"share": "{params.count}"}, ""),
        ({"day": "{params.text}"}, ""),
        ({"day": None}, 'parameter "day" of machine "refresh" is not given'),
        ({"shar": 1}, 'machine "refresh" has no parameter "shar"; did you mean "share"?'),
        ({"day": "soon"}, 'parameter "day" of machine "refresh" is \'soon\', not a date such as'),
        ({"share": True}, 'parameter "share" of machine "refresh" is True, not a number'),
        ({"day": "{params.count}"}, '"refresh" is of type date, "count" is int'),
        ({"day": "{params.until}"}, '"refresh" is needed, and "until", which it is given, may be'),
    ],
)
def test_a_child_is_given_what_it_needs(params: dict[str, object], told: str) -> None:
    """Found before anything runs: by name, by presence, by type."""
    found = messages(parent(params), others=(CHILD,))

    assert len(found) == bool(told)
    assert all(state == "a" and told in message for _, state, message in found)


def test_a_child_that_is_not_there_is_told() -> None:
    """With what the catalog says of it."""
    assert messages(parent()) == [("error", "a", "no refresh")]


def test_a_child_that_may_be_skipped_is_told_of_without_a_way_on() -> None:
    """A warning: the state ends with `error` then, which may be meant."""
    skip = Sharing(concurrency=Concurrency(key="one", behavior="skip"))
    child = replace(CHILD, sharing=skip)
    before = parent()
    state = before.state("a")
    after = replace(state, on=(*state.on, Transition(event="skipped", target="done")))
    done = before.state("done")

    ((severity, where, said),) = messages(before, others=(child,))
    assert (severity, where) == ("warning", "a")
    assert 'machine "refresh" is not begun while its key is taken' in said
    assert messages(replace(before, states=(after, done)), others=(child,)) == []


def test_machines_that_begin_each_other_never_end() -> None:
    """Two that wait for each other, or one that waits for itself, however long the way."""
    to_m, to_x, to_y = (parent(child=name, name="x") for name in ("m", "x", "y"))
    y = replace(to_m, name="y")

    endless = "begin each other without end"
    assert messages(to_x) == [("error", "a", f"the machines x -> x {endless}")]
    assert messages(parent(child="x"), others=(to_y, y)) == [
        ("error", "a", f"the machines m -> x -> y -> m {endless}")
    ]
    # The circle of others is told of them.
    assert messages(parent(child="x"), others=(to_y, replace(to_x, name="y"))) == []
