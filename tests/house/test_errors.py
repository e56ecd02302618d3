"""Errors: three parts, a docstring, a place in the docs, and a way through a pickle."""

import inspect
import pickle  # noqa: TID251 - test runners and multiprocessing pickle errors; we must survive it
import re

import pytest

from statepipe import errors
from tests.house.errors_page import EXIT_CODES, PAGE, errors_raised, render, task_errors


def _classes() -> list[type[BaseException]]:
    return [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, BaseException) and kind.__module__ == errors.__name__
    ]


@pytest.mark.parametrize("kind", errors_raised())
def test_an_error_survives_pickling_with_all_three_parts(kind: type[errors.StatepipeError]) -> None:
    """What happened, what it means and what to type next reach the other process."""
    error = kind("the store is gone", meaning="nothing was written", next_step="statepipe doctor")

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is kind
    assert str(copy) == "the store is gone"
    assert (copy.message, copy.meaning, copy.next_step, copy.exit_code) == (
        "the store is gone",
        "nothing was written",
        "statepipe doctor",
        kind.exit_code,
    )


@pytest.mark.parametrize("kind", task_errors())
def test_a_task_error_survives_pickling(kind: type[errors.TaskError]) -> None:
    """A distributed executor carries what the author raised."""
    copy = pickle.loads(pickle.dumps(kind("too many requests")))

    assert type(copy) is kind
    assert str(copy) == "too many requests"


def test_a_pause_asked_for_survives_pickling() -> None:
    """A lost Retry-After would make us ask again too soon."""
    copy = pickle.loads(pickle.dumps(errors.Throttled("slow down", retry_after=2.5)))

    assert copy.retry_after == 2.5


def test_a_rejected_record_survives_pickling_with_its_reason() -> None:
    """The record is the whole point of a reject."""
    copy = pickle.loads(pickle.dumps(errors.Reject({"id": 7}, "no departure time")))

    assert (copy.record, copy.reason, str(copy)) == (
        {"id": 7},
        "no departure time",
        "no departure time",
    )


@pytest.mark.parametrize("kind", _classes())
def test_every_error_has_a_docstring_of_its_own(kind: type[BaseException]) -> None:
    """An inherited docstring describes another error."""
    assert kind.__dict__.get("__doc__"), f"{kind.__name__} does not say when it is raised"


@pytest.mark.parametrize("kind", _classes())
def test_every_error_is_drawn_in_the_map_of_its_module(kind: type[BaseException]) -> None:
    """Whoever opens errors.py sees the whole tree first."""
    assert kind.__name__ in (errors.__doc__ or "").replace("`", " ").split()


@pytest.mark.parametrize("kind", _classes())
def test_every_error_is_on_the_page(kind: type[BaseException]) -> None:
    """Who meets an error finds it in the docs."""
    assert f"`{kind.__name__}`" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", errors_raised())
def test_every_exit_code_is_explained(kind: type[errors.StatepipeError]) -> None:
    """Scripts branch on exit codes, so each has one documented meaning."""
    assert kind.exit_code in EXIT_CODES


def test_both_pages_have_the_same_exit_codes() -> None:
    """Who operates it reads one page, who writes a script the other."""
    text = (PAGE.parent / "operating.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([0-9, ]+) \|", text, re.MULTILINE)

    assert {int(code) for row in rows for code in row.split(",")} == set(EXIT_CODES)


def test_the_page_of_errors_says_what_the_classes_say() -> None:
    """The page is made from the classes, and made again when they change."""
    shown = PAGE.read_text(encoding="utf-8")

    assert shown == render(), "type: .venv/bin/python -m tests.house.errors_page"
