"""
The journal of an instance as spans: what a tracing backend shows of it.

    spans_of    facts -> spans, pure; the same facts make the same spans, ids included

One trace an instance. In it a span for each run, from its creation, resume or rewind until
it ended, was paused, or was resumed again; in that a span for each stay in a state; in
that one for each attempt. A run links to the one it goes on from. Ids are made of the
store, the instance and the row of the journal, so that whoever exports twice sends the
same spans twice, which backends keep once. What has not ended is no span yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple

from statepipe.model import Status
from statepipe.observe import redact
from statepipe.said import Fact

#: Kinds of facts that begin a run.
_BEGIN: Final = frozenset({"create", "resume", "rewind"})
#: Kinds of facts that are worth a mark in the span of the stay they fall into.
_MARKS: Final = frozenset({"claim", "interrupt", "request", "pause"})
#: Of one stay so many are kept, the first ones.
MARKS_MAX: Final = 100


class Mark(NamedTuple):
    """Something that happened at one moment of a span."""

    name: str
    at_ms: int
    attributes: dict[str, Any]


class Span(NamedTuple):
    """One span; times are milliseconds since 1970."""

    trace_id: int
    span_id: int
    parent_id: int | None
    name: str
    start_ms: int
    end_ms: int
    attributes: dict[str, Any]
    marks: list[Mark]
    links: list[int]  # ids of other spans of the trace
    error: str | None  # "" of one that failed without a message


@dataclass(slots=True)
class _Open:
    """A run or a stay that has not ended yet."""

    span_id: int
    name: str
    start_ms: int
    attributes: dict[str, Any]
    marks: list[Mark] = field(default_factory=list)
    links: list[int] = field(default_factory=list)


def spans_of(facts: Sequence[Fact], *, store_id: str) -> list[Span]:
    """
    Return the spans of an instance, in the order in which they ended.

    Args:
        facts: Its whole journal, oldest first.
        store_id: Names the store, as instances of two stores may have the same id.
    """
    return _Trace(facts, store_id=store_id).spans if facts else []


class _Trace:
    def __init__(self, facts: Sequence[Fact], *, store_id: str) -> None:
        first = facts[0]
        # With the moment of its creation: the id of a pruned instance may be used again.
        self._seed = f"{store_id}\0{first.instance}\0{first.at_ms}"
        self._trace_id = self._id("trace", first.seq, size=16)
        self._run: _Open | None = None
        self._stay: _Open | None = None
        self.spans: list[Span] = []
        last_ms = first.at_ms
        for fact in facts:
            self._take(fact, last_ms=last_ms)
            last_ms = fact.at_ms

    def _take(self, fact: Fact, *, last_ms: int) -> None:
        if fact.kind in _BEGIN:
            self._end_run(last_ms, error=None)  # it was left behind, and is taken up again
            self._begin_run(fact)
            self._begin_stay(fact)
            return
        if self._run is None or self._stay is None:
            return  # a claim of what is at rest: the resume after it begins the run
        if fact.attempt is not None:
            self._attempt(fact)
        if fact.kind in _MARKS and len(self._stay.marks) < MARKS_MAX:
            said: dict[str, Any] = {"statepipe.epoch": fact.epoch}
            if fact.note is not None:
                said["statepipe.note"] = redact.redacted(fact.note)
            self._stay.marks.append(Mark(fact.event, fact.at_ms, said))
        if fact.kind == "batch":
            _add(self._stay.attributes, "statepipe.batches", 1)
            _add(self._stay.attributes, "statepipe.records", fact.records or 0)
            _add(self._stay.attributes, "statepipe.rejected", fact.rejected or 0)
        if fact.kind in ("move", "cancel", "pause"):
            self._leave(fact)

    def _leave(self, fact: Fact) -> None:
        """End the stay, and the run if that is over; else the next stay begins."""
        error = None if fact.error_class is None else _message(fact)
        assert self._stay is not None
        self._stay.attributes["statepipe.event"] = fact.event
        self._end_stay(fact.at_ms, error=error)
        if fact.status == Status.READY:
            self._begin_stay(fact)
            return
        assert self._run is not None
        self._run.attributes["statepipe.status"] = fact.status
        self._end_run(fact.at_ms, error=(error or "") if fact.status == Status.FAILED else None)

    def _begin_run(self, fact: Fact) -> None:
        previous = [] if self._last_run is None else [self._last_run]
        attributes = {
            "statepipe.instance": fact.instance,
            "statepipe.machine": fact.machine,
            "statepipe.generation": fact.generation,
            "statepipe.cause": fact.event,
        }
        if fact.note is not None:
            attributes["statepipe.note"] = redact.redacted(fact.note)
        run = _Open(self._id("run", fact.seq), fact.machine, fact.at_ms, attributes, links=previous)
        self._run, self._last_run = run, run.span_id

    _last_run: int | None = None

    def _begin_stay(self, fact: Fact) -> None:
        attributes = {"statepipe.machine": fact.machine, "statepipe.state": fact.target}
        self._stay = _Open(self._id("stay", fact.seq), fact.target, fact.at_ms, attributes)

    def _attempt(self, fact: Fact) -> None:
        assert self._stay is not None
        attributes = {
            "statepipe.state": fact.source,
            "statepipe.attempt": fact.attempt,
            "statepipe.event": fact.event,
            "statepipe.epoch": fact.epoch,
        }
        for name in ("records", "rejected"):
            if (count := getattr(fact, name)) is not None:
                attributes[f"statepipe.{name}"] = count
        marks, error = [], None
        if fact.error_class is not None:
            error = _message(fact)
            said = {"exception.type": fact.error_class, "exception.message": fact.error or ""}
            marks.append(Mark("exception", fact.at_ms, said))
        self.spans.append(
            Span(
                self._trace_id,
                self._id("attempt", fact.seq),
                self._stay.span_id,
                f"{fact.source} #{fact.attempt}",
                max(self._stay.start_ms, fact.at_ms - (fact.took_ms or 0)),
                max(self._stay.start_ms, fact.at_ms),
                attributes,
                marks,
                [],
                error,
            )
        )

    def _end_stay(self, at_ms: int, *, error: str | None) -> None:
        if self._stay is not None and self._run is not None:
            self._close(self._stay, at_ms, parent_id=self._run.span_id, error=error)
        self._stay = None

    def _end_run(self, at_ms: int, *, error: str | None) -> None:
        self._end_stay(at_ms, error=None)
        if self._run is not None:
            self._close(self._run, at_ms, parent_id=None, error=error)
        self._run = None

    def _close(
        self, opened: _Open, at_ms: int, *, parent_id: int | None, error: str | None
    ) -> None:
        self.spans.append(
            Span(
                self._trace_id,
                opened.span_id,
                parent_id,
                opened.name,
                opened.start_ms,
                max(opened.start_ms, at_ms),  # the wall clock may have been set back
                opened.attributes,
                opened.marks,
                opened.links,
                error,
            )
        )

    def _id(self, kind: str, seq: int, *, size: int = 8) -> int:
        digest = sha256(f"{self._seed}\0{kind}\0{seq}".encode()).digest()
        return int.from_bytes(digest[:size]) or 1


def _add(attributes: dict[str, Any], name: str, count: int) -> None:
    attributes[name] = attributes.get(name, 0) + count


def _message(fact: Fact) -> str:
    return f"{fact.error_class}: {fact.error or ''}"
