"""The endpoint: two paths, and no client that can hold up another."""

import base64
import http.client
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import pytest

from statepipe.clock import SystemClock
from statepipe.errors import UsageError
from statepipe.observe.access import Users
from statepipe.observe.listening import CONNECTIONS_MAX, Address, address_of, tls_context
from statepipe.observe.server import Endpoint, Scrape
from tests.observe.scenery import tls_files

LOOPBACK = Address("127.0.0.1", 0)
BODY = b"statepipe_up 1.0\n"

#: Longer than any answer takes, shorter than the endpoint's own patience.
PATIENCE_S = 5

#: How 512 bytes of a client's hello begin.
_TLS_HELLO = bytes.fromhex("1603010200010001fc0303")

Serve = Callable[..., Endpoint]


def _scrape(accept: str) -> tuple[str, bytes]:
    return f"text/plain; asked={accept}", BODY


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Open endpoints for a test, and close them after it."""
    with ExitStack() as opened:

        def one(scrape: Scrape = _scrape, **facts: object) -> Endpoint:
            endpoint = Endpoint(LOOPBACK, scrape, **facts)  # type: ignore[arg-type]  # its own
            return opened.enter_context(endpoint)

        yield one


def _asked(
    endpoint: Endpoint, path: str = "/metrics", *, method: str = "GET", **headers: str
) -> http.client.HTTPResponse:
    place = urlsplit(endpoint.url)
    client = http.client.HTTPConnection(place.netloc, timeout=PATIENCE_S)
    if place.scheme == "https":
        unverified = ssl._create_unverified_context()
        client = http.client.HTTPSConnection(place.netloc, timeout=PATIENCE_S, context=unverified)
    client.request(method, path, headers=headers)
    return client.getresponse()


def _connected(endpoint: Endpoint) -> socket.socket:
    place = urlsplit(endpoint.url)
    assert place.hostname is not None
    return socket.create_connection((place.hostname, place.port or 0), timeout=PATIENCE_S)


def _all_of(client: socket.socket) -> bytes:
    """Return what comes until the other side closes or cuts; TimeoutError if it does neither."""
    got = b""
    with suppress(ConnectionError):
        while some := client.recv(1_000):
            got += some
    return got


def test_a_scrape_gets_what_was_collected_in_the_form_it_asked_for(serve: Serve) -> None:
    """The Accept header is handed on as it came."""
    answer = _asked(serve(), Accept="application/openmetrics-text")

    assert (answer.status, answer.read()) == (200, BODY)
    assert answer.headers["Content-Type"] == "text/plain; asked=application/openmetrics-text"
    assert answer.headers["Content-Length"] == str(len(BODY))
    assert answer.headers["Server"] == "statepipe"


def test_a_query_string_changes_nothing(serve: Serve) -> None:
    """Prometheus adds one where its configuration has `params`."""
    assert _asked(serve(), "/metrics?name=x").read() == BODY


def test_healthz_says_that_the_process_answers_and_reads_no_store(serve: Serve) -> None:
    """A probe must not be a scrape: it comes often, and a bad disk is not mended by a restart."""

    def no_scrape(_accept: str) -> tuple[str, bytes]:
        raise AssertionError

    answer = _asked(serve(no_scrape), "/healthz")

    assert (answer.status, answer.read()) == (200, b"ok\n")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/metricsx", "/../metrics", "/favicon.ico"])
def test_there_are_no_other_paths(serve: Serve, path: str) -> None:
    """What is not served cannot be wrong."""
    assert _asked(serve(), path).status == 404


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_there_are_no_other_methods(serve: Serve, method: str) -> None:
    """It only ever answers questions."""
    answer = _asked(serve(), method=method)

    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


def test_a_scrape_that_breaks_says_so_and_the_next_is_answered(serve: Serve) -> None:
    """A defect shows as a failed scrape in Prometheus, without what is inside."""

    def broken(_accept: str) -> tuple[str, bytes]:
        raise ZeroDivisionError("secret")

    endpoint = serve(broken)
    first, second = _asked(endpoint), _asked(endpoint)

    assert (first.status, second.status) == (500, 500)
    assert first.read() == b"a defect: ZeroDivisionError\n"


@pytest.mark.parametrize("secure", [False, True])
def test_a_client_that_connects_and_says_nothing_holds_up_nobody(
    serve: Serve, tmp_path: Path, *, secure: bool
) -> None:
    """prometheus-client's own TLS server makes handshakes one by one where it accepts."""
    endpoint = serve(tls=tls_context(*tls_files(tmp_path)) if secure else None)

    with ExitStack() as idle:
        for _ in range(5):
            idle.enter_context(closing(_connected(endpoint)))

        assert _asked(endpoint).read() == BODY


def test_a_client_that_does_not_take_its_answer_holds_up_nobody(serve: Serve) -> None:
    """Its thread waits, for as long as one connection may last."""
    large = b"x" * 64 * 1024 * 1024
    bodies = [large, BODY]
    started = Event()

    def scrape(_accept: str) -> tuple[str, bytes]:
        started.set()
        return "text/plain", bodies.pop(0)

    endpoint = serve(scrape)
    with closing(_connected(endpoint)) as slow:
        slow.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert started.wait(PATIENCE_S)

        assert _asked(endpoint).read() == BODY


@pytest.mark.parametrize("secure", [False, True])
def test_a_client_that_drips_is_cut(serve: Serve, tmp_path: Path, *, secure: bool) -> None:
    """Each byte resets a patience that counts from the last one; so the whole is limited, too."""
    endpoint = serve(
        tls=tls_context(*tls_files(tmp_path)) if secure else None, connection_ms_max=300
    )
    clock = SystemClock()
    began_ms = clock.boot_ms()

    with closing(_connected(endpoint)) as drip:
        drip.settimeout(0.02)
        drip.sendall(_TLS_HELLO if secure else b"GET /")
        is_open = True
        while is_open and clock.boot_ms() - began_ms < PATIENCE_S * 1_000:
            try:
                drip.sendall(b"\0" if secure else b"x")
                is_open = bool(drip.recv(1))
            except TimeoutError:
                pass
            except ConnectionError:
                is_open = False

    assert not is_open
    assert clock.boot_ms() - began_ms >= 300


def test_connections_are_limited_and_come_free_again(serve: Serve) -> None:
    """Threads are memory; the one too many is told at once, and tries again."""
    endpoint = serve()

    with ExitStack() as idle:
        for _ in range(CONNECTIONS_MAX):
            idle.enter_context(closing(_connected(endpoint)))
        with closing(_connected(endpoint)) as one_too_many:
            assert _all_of(one_too_many) == b""

    clock = SystemClock()
    end_ms = clock.boot_ms() + PATIENCE_S * 1_000
    while clock.boot_ms() < end_ms:  # the threads of the idle ones notice that they went
        try:
            assert _asked(endpoint).read() == BODY
        except (ConnectionError, http.client.HTTPException):
            continue
        return
    pytest.fail("no connection came free")


def test_with_users_a_scrape_needs_one_and_a_probe_does_not(serve: Serve) -> None:
    """/healthz tells nothing, and probes seldom can log in."""
    endpoint = serve(users=Users({"prometheus": "s3cret"}))
    good = "Basic " + base64.b64encode(b"prometheus:s3cret").decode()

    refused = _asked(endpoint)
    assert (refused.status, refused.read()) == (401, b"a user and a password are needed\n")
    assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert _asked(endpoint, Authorization=good[:-2] + "==").status == 401
    assert _asked(endpoint, Authorization=good).read() == BODY
    assert _asked(endpoint, "/healthz").status == 200


def test_tls_serves_https_alone(serve: Serve, tmp_path: Path) -> None:
    """Whoever speaks plain HTTP to it is cut, and only he."""
    endpoint = serve(tls=tls_context(*tls_files(tmp_path)))

    with closing(_connected(endpoint)) as plain:
        plain.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert BODY not in _all_of(plain)

    assert endpoint.url.startswith("https://")
    assert _asked(endpoint).read() == BODY


def test_old_tls_is_not_spoken(tmp_path: Path) -> None:
    """1.0 and 1.1 are broken."""
    assert tls_context(*tls_files(tmp_path)).minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    """Before anything is served."""
    cert, _ = tls_files(tmp_path)

    with pytest.raises(UsageError, match="cannot be used"):
        tls_context(cert, cert)
    with pytest.raises(UsageError, match="No such file"):
        tls_context(cert, tmp_path / "none.pem")


def test_an_address_that_is_taken_is_refused(serve: Serve) -> None:
    """With a way on."""
    place = urlsplit(serve().url)

    with pytest.raises(UsageError, match="in use") as refused:
        Endpoint(Address("127.0.0.1", place.port or 0), _scrape)
    assert "ss -ltnp" in refused.value.next_step


def test_after_close_nobody_listens(serve: Serve) -> None:
    """The port can be used again at once."""
    endpoint = serve()
    port = urlsplit(endpoint.url).port or 0
    assert _asked(endpoint).read() == BODY

    endpoint.close()

    with pytest.raises(ConnectionError):
        _connected(endpoint)
    Endpoint(Address("127.0.0.1", port), _scrape).close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9464", Address("127.0.0.1", 9464)),
        ("localhost:0", Address("localhost", 0)),
        ("0.0.0.0:65535", Address("0.0.0.0", 65_535)),
        ("[::1]:9464", Address("::1", 9464)),
    ],
)
def test_an_address_is_host_and_port(text: str, address: Address) -> None:
    """Everybody who can reach the host can scrape; so it is always named."""
    assert address_of(text) == address


@pytest.mark.parametrize("text", ["", ":9464", "9464", "localhost", "h:", "h:x", "h:65536", "h:-1"])
def test_what_names_no_host_or_no_port_is_refused(text: str) -> None:
    """`:9464` means all addresses elsewhere; here nobody opens a port to the world by a slip."""
    with pytest.raises(UsageError, match="is not HOST:PORT"):
        address_of(text)
