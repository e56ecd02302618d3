"""Parameters: text becomes the declared type, typed values are checked, the rest is refused."""

import datetime as dt
from typing import Any

import pytest

from statepipe.errors import BadParameter, DefinitionError
from statepipe.machine.definition import Machine, State
from statepipe.machine.parameter import Param
from statepipe.machine.params import bind_params
from statepipe.machine.scalars import ParamType, Unread
from tests.unit.building import acting, to

TODAY = dt.date(2026, 11, 22)


def machine(*params: Param) -> Machine:
    """Return a machine with these parameters."""
    done = State(name="done", final="success")
    return Machine(name="m", initial="a", states=(acting("a", to("done")), done), params=params)


@pytest.mark.parametrize(
    ("kind", "given", "bound"),
    [
        ("text", "17", "17"),
        ("text", "", ""),
        ("int", "17", 17),
        ("int", -3, -3),
        ("int", "9" * 30, 10**30 - 1),
        ("float", "2.5", 2.5),
        ("float", 3, 3.0),
        ("bool", "true", True),
        ("bool", "No", False),
        ("bool", "1", True),
        ("bool", False, False),
        ("date", "2013-02-04", dt.date(2013, 2, 4)),
        ("date", "today", TODAY),
        ("date", dt.date(2013, 2, 4), dt.date(2013, 2, 4)),
        ("datetime", "2013-02-04T10:00:00Z", dt.datetime(2013, 2, 4, 10, tzinfo=dt.UTC)),
        ("json", Unread('{"a": [1, 2.5, null, true, "x"]}'), {"a": [1, 2.5, None, True, "x"]}),
        ("json", {"a": []}, {"a": []}),
        ("json", 7, 7),
        ("json", Unread('"5"'), "5"),
        ("json", "5", "5"),
        ("json", "env:X", "env:X"),
        ("text", Unread("18"), "18"),
        ("int", Unread("18"), 18),
    ],
)
def test_a_value_is_bound_as_its_declared_type(kind: ParamType, given: object, bound: Any) -> None:  # noqa: ANN401 - any plain value
    """The type is exact: an int is no bool, a date no datetime."""
    value = bind_params(machine(Param(name="p", type=kind)), {"p": given}, today=TODAY)["p"]

    assert value == bound
    assert type(value) is type(bound)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("text", 17),
        ("text", "\ud800"),
        ("int", "1.5"),
        ("int", 1.0),
        ("int", True),
        ("int", ""),
        ("float", "nan"),
        ("float", "inf"),
        ("float", True),
        ("float", "fast"),
        ("float", 10**400),
        ("bool", "maybe"),
        ("bool", 1),
        ("date", "2013-02-30"),
        ("date", "yesterday"),
        ("date", dt.datetime(2013, 2, 4, tzinfo=dt.UTC)),
        ("datetime", "2013-02-04T10:00:00"),
        ("datetime", "2013-02-04T10:00:00.1234567Z"),
        ("datetime", "2013-02-04"),
        ("datetime", dt.date(2013, 2, 4)),
        ("json", Unread("{")),
        ("json", Unread("NaN")),
        ("json", {"a": float("nan")}),
        ("json", {1: 2}),
        ("json", {"a": {1, 2}}),
        ("json", Unread("[" * 100_000)),
        ("json", Unread("[" * 60 + "]" * 60)),
        ("json", Unread('"\\ud800"')),
        ("json", "\ud800"),
        ("int", None),
    ],
)
def test_a_value_of_another_type_is_refused(kind: ParamType, given: object) -> None:
    """The refusal names machine, parameter and type, and is bounded in length."""
    with pytest.raises(BadParameter) as refusal:
        bind_params(machine(Param(name="p", type=kind)), {"p": given}, today=TODAY)

    assert refusal.value.message.startswith('parameter "p" of machine "m" is ')
    assert refusal.value.next_step == f"-p p=…   # type {kind}"
    assert len(refusal.value.message) < 250


def test_a_moment_without_its_offset_is_quoted_as_it_was_typed() -> None:
    """And not as what Python made of it."""
    at = machine(Param(name="at", type="datetime"))

    with pytest.raises(BadParameter, match="is '2026-11-29T00:00:00', not a moment with its"):
        bind_params(at, {"at": "2026-11-29T00:00:00"}, today=TODAY)


def test_defaults_fill_what_was_not_given() -> None:
    """In declared order; a parameter that may be left out is None."""
    declared = machine(
        Param(name="day", type="date", default="today"),
        Param(name="limit", type="int", default=10),
        Param(name="note", required=False),
        Param(name="path"),
    )

    bound = bind_params(declared, {"path": "x.csv", "limit": "3"}, today=TODAY)

    assert list(bound.items()) == [("day", TODAY), ("limit", 3), ("note", None), ("path", "x.csv")]


def test_a_missing_parameter_is_named() -> None:
    """Nothing is run with half of its input."""
    with pytest.raises(BadParameter, match='parameter "path" of machine "m" is missing'):
        bind_params(machine(Param(name="path")), {}, today=TODAY)


def test_an_unknown_parameter_names_the_nearest() -> None:
    """A typing mistake does not become a silent default."""
    with pytest.raises(BadParameter) as refusal:
        bind_params(machine(Param(name="path", default="x")), {"pth": "y"}, today=TODAY)

    assert refusal.value.message == ('machine "m" has no parameter "pth"; did you mean "path"?')
    assert refusal.value.next_step == "its parameters are path (text)"
    with pytest.raises(BadParameter) as refusal:
        bind_params(machine(), {"pth": "y"}, today=TODAY)
    assert refusal.value.next_step == "it takes no parameters: statepipe run m"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "Day"}, "'Day'|\"Day\" is not a name"),
        ({"name": "p", "type": "string"}, "type is 'string'"),
        ({"name": "p", "type": "int", "default": "many"}, "default is 'many', not a whole number"),
        ({"name": "p", "type": "datetime", "default": "today"}, "default is 'today'"),
    ],
)
def test_a_parameter_declared_wrongly_is_refused(wrong: dict[str, Any], said: str) -> None:
    """When the machine is built, not when somebody runs it."""
    with pytest.raises(DefinitionError, match=said):
        Param(**wrong)
