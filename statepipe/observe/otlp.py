"""
Spans to whoever understands OTLP over HTTP: a collector, Tempo, Jaeger.

    Exporter          one endpoint
    Exporter.export   send spans; those of one call arrive together or not at all

The library is the extra `statepipe[otel]`. Where nothing else is said it goes by the
variables that all of OpenTelemetry goes by: OTEL_EXPORTER_OTLP_ENDPOINT, _HEADERS,
_CERTIFICATE, _TIMEOUT, and OTEL_SERVICE_NAME.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags

from statepipe.errors import Unreachable
from statepipe.observe import redact
from statepipe.observe.spans import Span

#: Spans in one request.
SPANS_MAX: Final = 500

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_MS_NS: Final = 1_000_000


class Exporter:
    """
    Sends spans to one endpoint.

    Args:
        version: Of statepipe.
        store_id: Of the store the spans come from.
        endpoint: The whole URL, such as "http://localhost:4318/v1/traces"; None for what
            the environment says.

    Attributes:
        endpoint: Where they go.
    """

    def __init__(self, *, version: str, store_id: str, endpoint: str | None = None) -> None:
        self._exporter = OTLPSpanExporter(endpoint=endpoint)
        self.endpoint: str = self._exporter._endpoint  # noqa: SLF001  (it tells nobody else)
        ours = {"service.name": "statepipe", "service.instance.id": store_id}
        self._resource = Resource(ours).merge(OTELResourceDetector().detect())
        self._scope = InstrumentationScope("statepipe", version)

    def export(self, spans: Sequence[Span]) -> None:
        """
        Send spans, some at a time.

        Raises:
            Unreachable: The endpoint did not take them; whatever it has taken before it
                keeps, and takes again without harm.
        """
        for start in range(0, len(spans), SPANS_MAX):
            some = [self._readable(span) for span in spans[start : start + SPANS_MAX]]
            complaints = _Complaints()
            logger = logging.getLogger("opentelemetry")
            logger.addHandler(complaints)
            try:
                result = self._exporter.export(some)
            finally:
                logger.removeHandler(complaints)
            if result is not SpanExportResult.SUCCESS:
                where = redact.redacted(self.endpoint)
                raise Unreachable(
                    f"{where} did not take {len(some):,} spans: {complaints.last or 'no reason'}",
                    meaning="nothing was lost: spans are made from the journal, and sending"
                    " them again does no harm",
                    next_step="the same command again, or another --endpoint",
                )

    def close(self) -> None:
        """Give the connection up."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the library has no types

    def _readable(self, span: Span) -> ReadableSpan:
        return ReadableSpan(
            name=span.name,
            context=_context(span.trace_id, span.span_id),
            parent=None if span.parent_id is None else _context(span.trace_id, span.parent_id),
            resource=self._resource,
            attributes=span.attributes,
            events=[
                Event(mark.name, attributes=mark.attributes, timestamp=mark.at_ms * _MS_NS)
                for mark in span.marks
            ],
            links=[Link(_context(span.trace_id, each)) for each in span.links],
            status=Status(StatusCode.UNSET)
            if span.error is None
            else Status(StatusCode.ERROR, span.error),
            start_time=span.start_ms * _MS_NS,
            end_time=span.end_ms * _MS_NS,
            instrumentation_scope=self._scope,
        )


class _Complaints(logging.Handler):
    """
    Keeps what the library logs: it says why an export failed nowhere else.

    That it gives up is its last word; then what the tries before that failed with is kept.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        given = record.args if isinstance(record.args, tuple) else ()
        if self.last and not given[1:]:  # of what it gives up, and no reason
            return
        is_error = bool(given) and isinstance(given[0], BaseException)
        said = _first_cause(given[0]) if is_error else record.getMessage()
        self.last = redact.beginning(said, chars_max=500)


def _first_cause(error: Any) -> str:  # noqa: ANN401  (an exception; logging knows no types)
    """Return what went wrong first: "ConnectionRefusedError: [Errno 111] Connection refused"."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return f"{type(error).__name__}: {error}"


def _context(trace_id: int, span_id: int) -> Any:  # noqa: ANN401  (SpanContext, which is a tuple)
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED)
