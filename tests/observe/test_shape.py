"""A machine is finite: what its series can be called is known before anything has run."""

from statepipe.errors import ENGINE_ERRORS
from statepipe.observe.shape import shape_of
from tests.observe.scenery import form


def test_every_move_the_rules_allow_is_known() -> None:
    """Creation, each event's each target, the last resort, a cancel, and each resume."""
    moves = set(shape_of(form()).moves)

    assert moves == {
        ("", "create", "one"),
        ("one", "ok", "two"),
        ("one", "error", "failed"),
        ("one", "timeout", "failed"),
        ("one", "cancel", "cancelled"),
        ("one", "kill", "cancelled"),
        ("two", "ok", "rejected"),
        ("two", "ok", "done"),
        ("two", "again", "one"),
        ("two", "error", "failed"),
        ("two", "timeout", "failed"),
        ("two", "cancel", "cancelled"),
        ("two", "kill", "cancelled"),
        ("failed", "resume", "one"),
        ("failed", "resume", "two"),
        ("rejected", "resume", "two"),
        ("cancelled", "resume", "one"),
        ("cancelled", "resume", "two"),
    }


def test_no_move_is_known_twice() -> None:
    """The last resort is mostly a rule as well."""
    moves = shape_of(form()).moves

    assert len(moves) == len(set(moves))


def test_errors_are_of_declared_classes_or_other() -> None:
    """What a policy names, what the engine itself fails with, and one name for the rest."""
    shape = shape_of(form(), declared={"one": ("QuotaExceeded", "*")})
    classes = {state: {each for at, each in shape.errors if at == state} for state in shape.acting}

    assert classes["one"] == {"QuotaExceeded", *ENGINE_ERRORS, "other"}
    assert {"ConnectionError", "Busy", "other"} < classes["two"]  # as the default policy says


def test_a_form_that_says_nothing_implies_nothing() -> None:
    """A store may hold what an older or a later release wrote down."""
    shape = shape_of({"machine": "m"})

    assert (shape.acting, shape.moves) == ((), ())
