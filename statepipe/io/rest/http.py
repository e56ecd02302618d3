"""
One API over HTTP: the one module that knows httpx2, imported when an API is read or written.

    Connection      one host, one pool of connections, for one attempt
    get             ask one address; a whole body, or the error that a policy understands
    follow          a link of an answer as an address, if it may be followed
    post            give one body to the address of the connection

Nothing but the configured origin (scheme, host and port) is ever asked, whatever an answer
or a link says, and credentials are added on the last step before the wire: no address in a
log, an error or a cursor has them.
"""

import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.request import getproxies, proxy_bypass

import httpx2

from statepipe.clock import Clock, SystemClock
from statepipe.effects import Auth
from statepipe.errors import BadAnswer, Fatal
from statepipe.io.rest.answers import (
    ENCODINGS,
    failure_of,
    failure_of_post,
    is_json,
    no_page,
    not_read,
    quoted,
)
from statepipe.io.rest.credentials import Added, Credentials
from statepipe.io.rest.limits import HttpLimits
from statepipe.io.rest.pages import with_params, without_params
from statepipe.io.rest.pausing import keep
from statepipe.retryafter import retry_after_s

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_REDIRECTS_MAX: Final = 5
_PORT_MAX: Final = 65_535

#: As much of the body of a failure as is read to quote from.
_FAILURE_BYTES_MAX: Final = 16 * 1024

_KEEP_OUT: Final = frozenset({"authorization", "cookie", "proxy-authorization", "host"})

# At DEBUG it writes down every header of every answer, and an answer may repeat a credential.
# Who wants that for themselves sets a level of their own.
_wire_log = logging.getLogger("httpcore2")
if _wire_log.level == logging.NOTSET:
    _wire_log.setLevel(logging.INFO)


class Answer(NamedTuple):
    """
    A page as it came.

    Attributes:
        url: Where it came from, redirects followed.
        text: Its body.
        link: Its `Link` header; None without one.
        pause_s: Seconds to stay away, should it be no page; None if it does not ask for that.
    """

    url: str
    text: str
    link: str | None
    pause_s: float | None


class Connection:
    """
    A host that is asked for pages, or given records.

    Args:
        url: The address; its scheme, host and port are all that is ever asked.
        auth: Credentials, by reference.
        headers: Further headers.
        limits: Timeouts and sizes.
        stop: Called between the pieces of an answer; raises TaskCancelled if the attempt
            was asked to stop.
        permit: Returns when a page may be asked for; None if that is always.
        name: The address for errors, if the address itself is a secret.
        clock: The time.

    Raises:
        Fatal: If the address or a credential cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: Auth,
        headers: Mapping[str, str],
        limits: HttpLimits,
        stop: Callable[[], None],
        permit: Callable[[], None] | None = None,
        name: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._limits = limits
        self._stop = stop
        self._permit = permit
        self._clock = clock or SystemClock()
        self._secrets = Credentials()
        if name is not None:
            self._secrets.know(url)
        self._url, self._name = url, name or url
        address = _parsed(url, name=name)
        is_web = address.scheme in {"http", "https"} and address.host
        if not is_web or not 0 < _origin(address)[2] <= _PORT_MAX:
            raise Fatal(f"{self._name!r} is no address of an API; write https://host/path")
        if address.userinfo:
            raise Fatal('the address holds a password; write auth=("user", "env:PASSWORD") instead')
        self._origin = _origin(address)
        self._credentials = self._secrets.added(auth)
        transport = _Signing(_transport(address), origin=self._origin, add=self._credentials)
        self._client = httpx2.Client(
            transport=transport,
            headers={
                "Accept": "application/json",
                "Accept-Encoding": ", ".join(ENCODINGS),
                "User-Agent": f"statepipe httpx2/{httpx2.__version__}",
                **_checked(headers),
            },
            timeout=httpx2.Timeout(limits.read_ms / 1000, connect=limits.connect_ms / 1000),
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the host."""
        self._client.close()

    def get(self, url: str) -> Answer:
        """
        Return the page at `url`.

        Raises:
            Throttled: If the API asks for a pause, except for a short one before a redirect.
            BadAnswer: If the answer is a 5xx, is cut, or is no text.
            ConnectionError: If the host cannot be reached or hangs up.
            TimeoutError: If it is silent, or too slow.
            Fatal: If asking again cannot mend it: another 4xx, a redirect to elsewhere.
            TaskCancelled: If the task was asked to stop.
        """
        ends_ms = self._clock.boot_ms() + self._limits.total_ms
        for _ in range(_REDIRECTS_MAX):
            ends_ms += self._wait()
            with self._translated(f"GET {url}"), self._client.stream("GET", url) as response:
                if response.status_code not in _REDIRECTS or "location" not in response.headers:
                    return self._page(response, url, ends_ms=ends_ms)
                pause_s = retry_after_s(response.headers, now_ms=self._clock.now_ms())
                what, url = f"GET {url}", self.follow(url, response.headers["location"])
            if pause_s is not None:
                keep(pause_s, what=what, ends_ms=ends_ms, clock=self._clock, stop=self._stop)
        raise Fatal(f"GET {url}: it was redirected more than {_REDIRECTS_MAX} times")

    def _wait(self) -> int:
        """Wait until the host may be asked; return how long that took, in milliseconds."""
        if self._permit is None:
            return 0
        began_ms = self._clock.boot_ms()
        self._permit()
        return self._clock.boot_ms() - began_ms

    def follow(self, url: str, link: str) -> str:
        """
        Return `link`, found at `url`, as a whole address, without credentials that it repeats.

        Raises:
            Fatal: If it leads to another host, scheme or port.
        """
        target = _parsed(url).join(_parsed(link)).copy_with(fragment=None)
        if _origin(target) != self._origin or target.userinfo:
            shown = self._secrets.masked(f"{target.scheme}://{target.netloc.decode('ascii')}")
            raise Fatal(
                f"GET {url}: it leads to {shown}, and only {_shown(self._origin)} is asked;"
                " nothing was sent there"
            )
        address = without_params(str(target), tuple(self._credentials.params))
        if self._secrets.hides(address):
            raise Fatal(
                f"GET {url}: it leads on with a credential in the address; nothing of it was"
                ' taken. Does the API want it there? Then write auth={"?name": reference}'
            )
        return address

    def post(self, body: bytes, *, headers: Mapping[str, str]) -> str:
        """
        Give `body` to the address of this connection, and hear it taken, to the last byte.

        Returns:
            "" if it was taken, else what was said of it: refused for its content.

        Raises:
            Throttled: If a pause is asked for.
            BadAnswer: If the answer is a 5xx or a 409, or is cut.
            ConnectionError: If the host cannot be reached or hangs up.
            TimeoutError: If it is silent, or too slow.
            Fatal: If giving it again cannot mend it: another 4xx, any redirect.
            TaskCancelled: If the attempt was asked to stop.
        """
        what = f"POST {self._name}"
        ends_ms = self._clock.boot_ms() + self._limits.total_ms
        sending = self._client.stream("POST", self._url, content=body, headers=headers)
        with self._translated(what), sending as response:
            failure = failure_of_post(
                response.status_code,
                response.headers,
                body=self._beginning(response, ends_ms) if not response.is_success else "",
                now_ms=self._clock.now_ms(),
            )
            if failure is None:
                for _ in self._body(response, ends_ms, what=what):
                    pass  # an answer that is cut is none
                return ""
            if isinstance(failure, str):
                return self.masked(failure)
            failure.args = (self.masked(f"{what}: {failure}"),)
            raise failure

    def masked(self, text: str) -> str:
        """Return `text` without the credentials of this connection."""
        return self._secrets.masked(text)

    def hides(self, text: str) -> bool:
        """Return True if `text` holds a credential of this connection."""
        return self._secrets.hides(text)

    def _page(self, response: httpx2.Response, url: str, *, ends_ms: int) -> Answer:
        headers, now_ms = response.headers, self._clock.now_ms()
        failure = failure_of(
            response.status_code,
            headers,
            body=self._beginning(response, ends_ms) if not response.is_success else "",
            now_ms=now_ms,
        )
        if failure is not None:
            failure.args = (self.masked(f"GET {url}: {failure}"),)
            raise failure
        pause_s = retry_after_s(headers, now_ms=now_ms)
        if not is_json(headers.get("content-type")):
            kind = headers["content-type"]
            said = quoted(self._beginning(response, ends_ms))
            said = self.masked(f"GET {url}: {kind} instead of JSON{said}")
            raise no_page(said, pause_s=pause_s)
        body = b"".join(self._body(response, ends_ms, what=f"GET {url}"))
        try:
            text = body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            said = f"GET {url}: not UTF-8: {error.reason}{not_read(headers)}"
            raise no_page(said, pause_s=pause_s) from error
        return Answer(url, text, headers.get("link"), pause_s)

    def _body(self, response: httpx2.Response, ends_ms: int, *, what: str) -> Iterator[bytes]:
        """Yield the body in pieces; silence between two has its own limit, this bounds them all."""
        size, most = 0, self._limits.body_bytes_max
        for piece in response.iter_bytes():
            size += len(piece)
            if size > most:
                raise Fatal(
                    f"{what}: the answer is larger than {most} bytes; ask for smaller"
                    " pages, or read with HttpLimits(body_bytes_max=…)"
                )
            if self._clock.boot_ms() > ends_ms:
                raise TimeoutError(f"{what}: not whole after {self._limits.total_ms} ms")
            self._stop()
            yield piece

    def _beginning(self, response: httpx2.Response, ends_ms: int) -> str:
        """Return the beginning of a body that is only quoted from; what can be had of it."""
        found = b""
        try:
            for piece in self._body(response, ends_ms, what=""):
                found += piece
                if len(found) >= _FAILURE_BYTES_MAX:
                    break
        except (httpx2.HTTPError, TimeoutError, Fatal):
            pass  # the status says what there is to say
        # Masked before anything is cut: half a credential is not found any more.
        return self.masked(found[:_FAILURE_BYTES_MAX].decode("utf-8", "replace"))

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Turn what the library raises into errors that policies know by name."""
        try:
            yield
        except httpx2.TimeoutException as error:
            raise TimeoutError(f"{what}: {_kind(error)}: {self.masked(str(error))}") from None
        except httpx2.DecodingError as error:
            raise BadAnswer(f"{what}: its compression is broken: {error}") from None
        except httpx2.RemoteProtocolError as error:
            raise BadAnswer(f"{what}: {self.masked(str(error))}") from None
        except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL) as error:
            raise Fatal(f"{what}: {self.masked(str(error))}") from None
        except httpx2.TransportError as error:
            if isinstance(_root_of(error), ssl.SSLCertVerificationError):
                raise Fatal(f"{what}: {error}") from None
            message = self.masked(str(error)) or "the connection broke"
            raise ConnectionError(f"{what}: {_kind(error)}: {message}") from None


class _Signing(httpx2.BaseTransport):
    """
    Adds credentials to a copy of each request, and sends nothing to another origin.

    The client, which logs what it asks for, sees the request without them.
    """

    def __init__(self, wire: httpx2.BaseTransport, *, origin: tuple[Any, ...], add: Added) -> None:
        self._wire = wire
        self._origin = origin
        self._add = add

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send `request`."""
        if _origin(request.url) != self._origin:
            # follow() lets nothing else through; but an address may come from a store.
            raise Fatal(
                f"{request.method} {request.url}: only {_shown(self._origin)} is asked;"
                " nothing was sent"
            )
        signed = httpx2.Request(
            request.method,
            with_params(str(request.url), self._add.params),
            headers={**request.headers, **self._add.headers},
            stream=request.stream,
            extensions=request.extensions,
        )
        return self._wire.handle_request(signed)

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()


def _checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in headers.items():
        if name.lower() in _KEEP_OUT:
            raise Fatal(f"the header {name} is not for headers=; credentials go into auth=")
        if not value.isprintable() or not value.isascii():
            raise Fatal(f"the header {name} has characters that no header can carry")
    return headers


def _transport(address: httpx2.URL) -> httpx2.BaseTransport:
    # One at a time is asked; a second connection only while a broken one is put away.
    limits = httpx2.Limits(max_connections=2, max_keepalive_connections=1)
    host = address.host
    is_here = host == "localhost" or host.startswith("127.") or host == "::1"
    proxy = None if is_here or proxy_bypass(host) else getproxies().get(address.scheme)
    # Only the one scheme is ever asked; without https, 100 ms of certificates can be spared.
    return httpx2.HTTPTransport(verify=address.scheme == "https", limits=limits, proxy=proxy)


def _parsed(url: str, *, name: str | None = None) -> httpx2.URL:
    try:
        return httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise Fatal(f"{name or url[:200]!r} is no address: {error}") from None


def _origin(url: httpx2.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme, 0)


def _shown(origin: tuple[str, str, int]) -> str:
    scheme, host, port = origin
    return f"{scheme}://{host}:{port}"


def _kind(error: BaseException) -> str:
    """Return ReadTimeout as "read timeout"."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in type(error).__name__).strip()


def _root_of(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error
