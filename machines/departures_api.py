"""
A REST API of the week's departures, on loopback, that misbehaves as real ones do.

    python machines/departures_api.py [--port 8765] [--seed 1] [--calm]

`GET /departures?after=CURSOR` gives 200 departures, the cursor of the next page and the total;
the first departures of a page are the last of the page before. It wants a bearer token, the
one in DEPARTURES_TOKEN. About every fourth answer is no page: 429 with Retry-After in seconds
or as a date, 500, 503, a body that is cut, a reset, a silence. Which, the seed decides.

When it is stopped it says how often it misbehaved, and whether anybody came too early.
"""

import argparse
import csv
import json
import math
import os
import random
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

DATA = Path(__file__).parent / "data" / "flights.csv"

PAGE = 200
OVERLAP = 5

#: How long a silence is, in seconds, if nobody hangs up before; the machine waits for one.
SILENCE_S = 3

TEXTS = frozenset({"carrier", "tailnum", "origin", "dest", "time_hour"})


class Api(ThreadingHTTPServer):
    """
    The API.

    Attributes:
        token: What a request must carry.
        served: Departures that went out in whole pages, each counted once.
        misbehaved: Answers that were no page.
        early: Requests that came before a Retry-After was over.
        at_once: Most requests that were open at one time.
    """

    daemon_threads = True

    def __init__(self, port: int, *, token: str, seed: int, calm: bool) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.token = token
        self.departures = read_departures()
        self.served: set[int] = set()
        self.requests = self.misbehaved = self.early = self.at_once = self.open = 0
        self.closed_until = 0.0
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self._random = random.Random(seed)  # noqa: S311  (not for secrets)
        self._calm = calm

    def misbehaviour(self) -> "Callable[[Handler], None] | None":
        """Return what to do instead of answering, None to answer."""
        with self.lock:
            self.requests += 1
            is_early = time.time() < self.closed_until  # noqa: TID251  (a real API's clock)
            self.early += is_early
            if not is_early and (self._calm or self._random.random() > 0.25):  # noqa: PLR2004  (one in four)
                return None
            self.misbehaved += 1
            return Handler.throttle if is_early else self._random.choice(MISBEHAVIOURS)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: whoever hangs up may have been killed."""


class Handler(BaseHTTPRequestHandler):
    """One connection to the API."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: Api

    def do_GET(self) -> None:
        """Answer, or misbehave."""
        api = self.server
        with api.lock:
            api.open += 1
            api.at_once = max(api.at_once, api.open)
        try:
            if self.headers.get("Authorization") != f"Bearer {api.token}":
                self.say(401, {"error": "the token is wrong"})
            elif urlsplit(self.path).path != "/departures":
                self.say(404, {"error": "there is nothing but /departures"})
            elif (misbehave := api.misbehaviour()) is not None:
                misbehave(self)
            else:
                self.say(200, self.page())
        finally:
            with api.lock:
                api.open -= 1

    def page(self) -> dict[str, Any]:
        """Return the page that was asked for."""
        departures = self.server.departures
        query = parse_qs(urlsplit(self.path).query)
        start = int(query.get("after", ["at-0"])[0].removeprefix("at-"))
        end = start + PAGE
        first = max(start - OVERLAP, 0)
        self.server.served.update(range(first, min(end, len(departures))))
        return {
            "departures": departures[first:end],
            "next": f"at-{end}" if end < len(departures) else None,
            "total": len(departures),
        }

    def say(self, status: int, value: object, *, cut: bool = False, **headers: str) -> None:
        """Answer with JSON, in one write: two would wait for each other."""
        body = json.dumps(value).encode()
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        lines = [
            f"{self.protocol_version} {status} {HTTPStatus(status).phrase}",
            f"Date: {self.date_time_string()}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *(f"{name}: {text}" for name, text in named.items()),
        ]
        head = "\r\n".join([*lines, "", ""]).encode()
        self.wfile.write(head + (body[: len(body) // 2] if cut else body))
        self.close_connection |= cut

    def throttle(self) -> None:
        """Ask for a pause, in seconds or as a date, to the end of the last one if that goes on."""
        api = self.server
        now = time.time()  # noqa: TID251  (its answers name moments of this clock)
        with api.lock:
            rest_s = max(api.closed_until - now, 1)
            if api.requests % 2:
                seconds = math.ceil(rest_s)
                api.closed_until = now + seconds
                retry_after = str(seconds)
            else:
                api.closed_until = math.ceil(now + rest_s)
                retry_after = formatdate(api.closed_until, usegmt=True)
        self.say(429, {"error": "slow down"}, Retry_After=retry_after)

    def fail(self) -> None:
        """Answer 500 or 503."""
        self.say(500 if self.server.requests % 2 else 503, {"error": "something broke"})

    def cut(self) -> None:
        """Answer, and hang up in the middle of it."""
        self.say(200, self.page(), cut=True)

    def reset(self) -> None:
        """Hang up without a word."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True

    def be_silent(self) -> None:
        """Say nothing for a while, then hang up."""
        gone = select.poll()
        gone.register(self.connection, select.POLLRDHUP)
        for _ in range(SILENCE_S * 50):
            if gone.poll(20) or self.server.stopping.is_set():
                break
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's name)
        """Say nothing of single requests."""


MISBEHAVIOURS = (
    Handler.throttle,
    Handler.fail,
    Handler.fail,
    Handler.cut,
    Handler.cut,
    Handler.reset,
    Handler.be_silent,
)


def read_departures() -> list[dict[str, int | str | None]]:
    """Return the week's departures, typed, in the order of the file."""
    with DATA.open(encoding="utf-8", newline="") as file:
        return [
            {
                name: None if cell == "NA" else cell if name in TEXTS else int(cell)
                for name, cell in row.items()
            }
            for row in csv.DictReader(file)
        ]


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until Ctrl-C, then say how it was."""
    parser = argparse.ArgumentParser(description="A REST API that misbehaves, on loopback.")
    parser.add_argument("--port", type=int, default=8765, help="0 for any")
    parser.add_argument("--seed", type=int, default=1, help="of what it does wrong")
    parser.add_argument("--calm", action="store_true", help="do nothing wrong")
    given = parser.parse_args(argv)
    token = os.environ.setdefault("DEPARTURES_TOKEN", "sesame")
    api = Api(given.port, token=token, seed=given.seed, calm=given.calm)
    port = api.server_address[1]
    print(f"http://127.0.0.1:{port}/departures", flush=True)
    print(f"DEPARTURES_TOKEN={token} statepipe run departures -p url=…", flush=True)
    # Waited for, and not met as an exception: one that is raised while Python tidies up is lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    threading.Thread(target=api.serve_forever, args=(0.05,), daemon=True).start()
    signal.sigwait({signal.SIGINT})
    api.stopping.set()
    api.shutdown()
    print(
        f"{len(api.served)} departures in {api.requests} requests: {api.misbehaved} misbehaved,"
        f" {api.early} came before their Retry-After, at most {api.at_once} at once",
        flush=True,
    )


if __name__ == "__main__":
    main()
