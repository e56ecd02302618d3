"""From the journal to spans: a run, its states, their attempts; the same each time."""

from typing import Any

import pytest

from statepipe.observe.spans import MARKS_MAX, Span, spans_of
from statepipe.said import Fact


class Journal:
    """Facts of one instance, a second apart."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def add(self, kind: str, event: str, source: str, target: str, **more: Any) -> "Journal":  # noqa: ANN401  (whatever is passed on)
        """Append a row."""
        seq = len(self.facts) + 1
        fact = Fact(
            kind=kind,
            event=event,
            at_ms=seq * 1_000,
            machine="orders",
            instance="monday",
            source=source,
            target=target,
            status="ready",
            seq=seq,
            epoch=1,
            generation=1,
        )
        self.facts.append(fact._replace(**more))
        return self


def story() -> list[Fact]:
    """Return a journal: it fails, is resumed, fails no more, is rewound, and is cancelled."""
    return (
        Journal()
        .add("create", "create", "", "one")
        .add("claim", "claim", "one", "one", note="host:1")
        .add("batch", "staged", "one", "one", records=5, rejected=1, bytes=9)
        .add("batch", "staged", "one", "one", records=3, rejected=0, bytes=9)
        .add("move", "ok", "one", "two", attempt=1, took_ms=2_500, records=8)
        .add("retry", "error", "two", "two", attempt=1, took_ms=500, error_class="E", error="no")
        .add("claim", "takeover", "two", "two", note="host:2 from host:1", epoch=2)
        .add("interrupt", "interrupt", "two", "two", note="SIGTERM")
        .add("claim", "claim", "two", "two", epoch=3)
        .add(
            "move", "error", "two", "failed", attempt=2, took_ms=100, error_class="E",
            error="never", status="failed",
        )
        .add("resume", "resume", "failed", "two", note="mended")
        .add("move", "ok", "two", "done", attempt=1, took_ms=100, status="done")
        .add("rewind", "rewind", "done", "one", generation=2)
        .add("claim", "claim", "one", "one", epoch=5)
        .add("request", "cancel", "one", "one")
        .add("cancel", "cancel", "one", "cancelled", status="cancelled")
        .facts
    )  # fmt: skip


def named(spans: list[Span]) -> list[tuple[str, int, int]]:
    """Return what spans are called, and their times in seconds."""
    return [(span.name, span.start_ms // 1_000, span.end_ms // 1_000) for span in spans]


def test_an_instance_is_runs_of_states_of_attempts() -> None:
    """Each within the other; what ended first comes first."""
    spans = spans_of(story(), store_id="s")

    assert named(spans) == [
        ("one #1", 2, 5),
        ("one", 1, 5),
        ("two #1", 5, 6),
        ("two #2", 9, 10),
        ("two", 5, 10),
        ("orders", 1, 10),
        ("two #1", 11, 12),
        ("two", 11, 12),
        ("orders", 11, 12),
        ("one", 13, 16),
        ("orders", 13, 16),
    ]
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans)
    assert len({span.trace_id for span in spans}) == 1
    for span in spans:
        parent = by_id.get(span.parent_id or 0)
        if parent is None:
            assert span.name == "orders"
            continue
        assert parent.start_ms <= span.start_ms <= span.end_ms <= parent.end_ms
        assert parent.name == ("orders" if "#" not in span.name else span.name.split(" ")[0])


def test_a_run_links_to_the_one_it_goes_on_from() -> None:
    """Whoever looks at a resume finds the failure it mends."""
    first, second, third = [span for span in spans_of(story(), store_id="s") if not span.parent_id]

    assert first.links == []
    assert second.links == [first.span_id]
    assert third.links == [second.span_id]
    assert second.attributes["statepipe.cause"] == "resume"
    assert second.attributes["statepipe.note"] == "mended"
    assert third.attributes["statepipe.generation"] == 2


def test_spans_say_what_came_of_it() -> None:
    """Errors as errors, with their exception; counts of batches; how the run ended."""
    spans = {(span.name, span.end_ms): span for span in reversed(spans_of(story(), store_id="s"))}

    assert spans["one", 5_000].attributes == {
        "statepipe.machine": "orders",
        "statepipe.state": "one",
        "statepipe.event": "ok",
        "statepipe.batches": 2,
        "statepipe.records": 8,
        "statepipe.rejected": 1,
    }
    tried = spans["two #1", 6_000]
    assert tried.error == "E: no"
    assert tried.marks[0].name == "exception"
    assert tried.marks[0].attributes == {"exception.type": "E", "exception.message": "no"}
    assert [mark.name for mark in spans["two", 10_000].marks] == ["takeover", "interrupt", "claim"]
    failed, done, cancelled = [spans["orders", at] for at in (10_000, 12_000, 16_000)]
    assert (failed.error, done.error, cancelled.error) == ("E: never", None, None)
    assert cancelled.attributes["statepipe.status"] == "cancelled"


def test_what_is_sent_early_is_sent_the_same_later() -> None:
    """A span that has ended never changes, whatever happens to the instance after."""
    facts = story()
    whole = spans_of(facts, store_id="s")

    for length in range(len(facts)):
        early = spans_of(facts[:length], store_id="s")
        assert early == [span for span in whole if span in early]


def test_a_run_that_was_left_behind_ends_where_it_was_last_heard_of() -> None:
    """Its driver died; the resume, much later, is a run of its own."""
    journal = Journal().add("create", "create", "", "one").add("claim", "claim", "one", "one")
    journal.add("batch", "staged", "one", "one", records=1, rejected=0)
    journal.add("resume", "resume", "one", "one", at_ms=900_000)
    journal.add("move", "ok", "one", "done", status="done", attempt=1, took_ms=5, at_ms=901_000)

    spans = spans_of(journal.facts, store_id="s")

    assert named(spans) == [
        ("one", 1, 3),
        ("orders", 1, 3),
        ("one #1", 900, 901),
        ("one", 900, 901),
        ("orders", 900, 901),
    ]


@pytest.mark.parametrize(
    "changed",
    [{"store_id": "t"}, {"instance": "tuesday"}, {"at_ms": 7}],
)
def test_other_instances_have_other_ids(changed: dict[str, Any]) -> None:
    """Of another store, of another name, or of the same name after a prune."""
    store_id = changed.pop("store_id", "s")
    facts = [fact._replace(**changed) for fact in story()]

    others = {span.span_id for span in spans_of(facts, store_id=store_id)}

    assert others.isdisjoint(span.span_id for span in spans_of(story(), store_id="s"))


def test_a_stay_holds_so_many_marks_and_a_clock_set_back_no_negative_time() -> None:
    """An instance may be claimed a million times, and a wall clock may jump."""
    journal = Journal().add("create", "create", "", "one")
    for _ in range(MARKS_MAX + 50):
        journal.add("claim", "claim", "one", "one")
    journal.add("move", "ok", "one", "done", status="done", attempt=1, took_ms=5, at_ms=0)

    spans = spans_of(journal.facts, store_id="s")

    assert len(spans[1].marks) == MARKS_MAX
    assert all(span.start_ms <= span.end_ms for span in spans)
    assert spans_of([], store_id="s") == []
