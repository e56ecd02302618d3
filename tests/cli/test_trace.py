"""`statepipe trace export`, to a peer that understands OTLP: what arrives, and what refuses."""

import random
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.cli.project import Project


class Peer:
    """A collector on loopback that keeps what it is sent."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.status = 200
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = ExportTraceServiceRequest()
                request.ParseFromString(body)
                peer.requests.append((self.path, request))
                self.send_response(peer.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.end_headers()
                self.wfile.write(ExportTraceServiceResponse().SerializeToString())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def spans(self) -> list[Any]:
        """Everything that arrived."""
        return [
            span
            for _, request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def resources(self) -> list[dict[str, str]]:
        """Return what each request says of whom it comes from."""
        return [
            {each.key: each.value.string_value for each in resource.resource.attributes}
            for _, request in self.requests
            for resource in request.resource_spans
        ]


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    """Listen, as long as a test runs; nothing outside has a say."""
    for name in ("EXPORTER_OTLP_ENDPOINT", "EXPORTER_OTLP_TRACES_ENDPOINT", "SERVICE_NAME"):
        monkeypatch.delenv(f"OTEL_{name}", raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    peer = Peer()
    yield peer
    peer.close()


def test_a_failed_and_resumed_instance_is_one_trace(project: Project, peer: Peer) -> None:
    """Two runs that are linked, with their states and attempts, and the error."""
    project.break_it()
    project.call("run", "numbers", "--id", "one")
    project.mend_it()
    project.call("resume", "one")

    said = project.call("trace", "export", "one", "--endpoint", f"{peer.url}/v1/traces")

    assert said.code == 0, said.err
    assert said.out == f"1 trace, {len(peer.spans)} spans to {peer.url}/v1/traces\n"
    ((path, _),) = peer.requests
    assert path == "/v1/traces"
    assert len({span.trace_id for span in peer.spans}) == 1
    runs = [span for span in peer.spans if not span.parent_span_id]
    assert [run.name for run in runs] == ["numbers", "numbers"]
    assert [link.span_id for link in runs[1].links] == [runs[0].span_id]
    assert runs[0].status.code == 2
    assert runs[0].status.message == "ConnectionError: the other side hung up"
    states = [span.name for span in peer.spans if span.parent_span_id == runs[1].span_id]
    assert states == ["transforming", "loading"]
    (resource,) = peer.resources()
    assert resource["service.name"] == "statepipe"
    assert len(resource["service.instance.id"]) == 32


def test_sending_again_sends_the_same(project: Project, peer: Peer) -> None:
    """A timer that exports what changed lately doubles nothing."""
    project.call("run", "numbers", "--id", "one")
    project.call("run", "numbers", "--id", "two")

    for _ in range(2):
        said = project.call(
            "trace", "export", "--since", "1h", "--endpoint", f"{peer.url}/v1/traces", "-o", "json"
        )
        assert said.json["traces"] == 2

    first, second = (request.SerializeToString() for _, request in peer.requests)
    assert first == second
    assert said.json["spans"] == len(peer.spans) // 2


def test_the_environment_of_opentelemetry_counts(
    project: Project, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for every program that speaks it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", peer.url)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "nightly-loads")
    project.call("run", "numbers", "--id", "one")

    said = project.call("trace", "export", "one")

    assert said.code == 0, said.err
    assert peer.resources()[0]["service.name"] == "nightly-loads"


def test_an_endpoint_that_refuses_is_named_with_its_reason(project: Project, peer: Peer) -> None:
    """Nothing is lost by it: the journal is where traces come from."""
    project.call("run", "numbers", "--id", "one")
    peer.status = 400

    said = project.call("trace", "export", "one", "--endpoint", f"{peer.url}/v1/traces")

    assert said.code == 1
    assert said.err.startswith(f"statepipe: {peer.url}/v1/traces did not take ")
    assert "400" in said.err.splitlines()[0]
    assert "sending them again does no harm" in said.err


def test_where_nobody_listens_that_is_the_reason(
    project: Project, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not that the library gave up; its pauses between two tries are cut short."""
    monkeypatch.setattr(random, "uniform", lambda *_: 0.001)
    project.call("run", "numbers", "--id", "one")
    peer.close()

    said = project.call("trace", "export", "one", "--endpoint", f"{peer.url}/v1/traces")

    assert said.code == 1
    told = said.err.splitlines()[0]
    assert told.endswith(" spans: ConnectionRefusedError: [Errno 111] Connection refused")


def test_an_instance_that_has_not_begun_to_end_sends_nothing(project: Project, peer: Peer) -> None:
    """What is open has no span yet; an empty request is not made."""
    project.call("start", "numbers", "--id", "one")

    said = project.call("trace", "export", "one", "--endpoint", f"{peer.url}/v1/traces")

    assert (said.code, peer.requests) == (0, [])
    assert said.out.startswith("1 trace, 0 spans to ")


def test_without_the_extra_it_says_what_to_install(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core needs none of OpenTelemetry."""
    project.call("run", "numbers", "--id", "one")
    monkeypatch.delitem(sys.modules, "statepipe.observe.otlp", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)

    said = project.call("trace", "export", "one")

    assert said.code == 2
    assert 'pip install "statepipe[otel]"' in said.err


@pytest.mark.parametrize(
    "argv", [(), ("one", "--since", "1h"), ("one", "--machine", "numbers")], ids=str
)
def test_what_is_to_be_sent_is_said_in_one_way(project: Project, argv: tuple[str, ...]) -> None:
    """Names, or a time; not both."""
    project.call("run", "numbers", "--id", "one")

    assert project.call("trace", "export", *argv).code == 2


def test_an_unknown_instance_exits_3(project: Project, peer: Peer) -> None:
    """As of every command."""
    project.call("run", "numbers", "--id", "one")

    assert project.call("trace", "export", "two", "--endpoint", peer.url).code == 3
    assert peer.requests == []
