"""
A REST API that does everything wrong but lie, and writes down what it did.

    RoughApi      answers; the seed decides when it misbehaves, and how
    items         what it hands out, page after page: each row as JSON text, repeated ones too
    clean, dirty  which of them a pipeline has to load, and which it has to reject

Of its 700 rows every 15th is dirty, each in one of nine ways. A page has 40 rows, of which
the first 5 are the last of the page before; every 7th page comes twice. From row 400 on,
rows have another column. One way of paging is one path, and each has its own faults.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from email.utils import formatdate
from itertools import islice
from typing import Any, Final, NamedTuple

from tests.io.web import Reply, Request, Web, as_json

ROWS: Final = 700
PAGE: Final = 40
OVERLAP: Final = 5
WAYS: Final = ("page", "offset", "cursor", "link")
TOKEN: Final = "open-sesame/+=9"

_NEW_COLUMN_FROM: Final = 400

#: What the API does instead of answering, and how often of 100.
_FAULTS: Final = {
    "none": 62,
    "throttle": 4,
    "500": 5,
    "503": 3,
    "cut": 5,
    "cut, no length": 4,
    "cut chunks": 3,
    "reset": 3,
    "reset midway": 3,
    "silence": 2,
    "slow": 3,
    "HTML": 1,
    "error with 200": 2,
}

#: What is wrong with a dirty row: its text, from its number and its good text.
_DIRT: Final[tuple[Callable[[int, str], str], ...]] = (
    lambda n, _: f'"row {n}"',
    lambda n, _: f'[{n}, "a row"]',
    lambda _, good: good.replace('"amount": ', '"amount": NaN, "was": '),
    lambda n, good: good.replace('"name": ', f'"id": {n}, "name": '),
    lambda _, good: good.replace('"name": "', '"name": "\\ud800'),
    lambda n, _: f'{{"id": {n}, "title": "has no name"}}',
    lambda n, _: f'{{"id": "{n}", "name": "the id is text"}}',
    lambda n, _: f'{{"id": {n}, "name": "too large", "serial": {2**70 + n}}}',
    lambda n, _: f'{{"id": {n}, "name": "has a NUL \\u0000"}}',
)


def _row(number: int, *, is_dirty: bool) -> str:
    rng = random.Random(number)
    amount = rng.choice([f"{number}.{number % 100:02}", str(number), "null", f"{number}.5e-7"])
    if is_dirty:
        amount = f"{number}.25"  # written alike by whoever writes it again
    new = {"channel": rng.choice(["web", "shop", None])} if number >= _NEW_COLUMN_FROM else {}
    row = {
        "id": number,
        "name": rng.choice(["Ada", "Žofie", "\U0001f600 o'Neil", "", 'a "quoted" one']),
        "amount": "?",
        "serial": rng.choice([2**62 + number, -number, 0]),
        "flag": rng.choice([True, False]),
        "tags": rng.choice([None, [], ["a", number], [{"deep": [None, "é"]}]]),
        **new,
    }
    return json.dumps(row).replace('"?"', amount)


def _texts() -> tuple[list[str], set[str]]:
    texts, dirty = [], set()
    for number in range(ROWS):
        is_dirty = number % 15 == 7
        text = _row(number, is_dirty=is_dirty)
        if is_dirty:
            text = _DIRT[number // 15 % len(_DIRT)](number, text)
            dirty.add(text)
        texts.append(text)
    return texts, dirty


def _items(texts: list[str]) -> list[str]:
    """Return all pages behind each other; each but the last is full."""
    handed: list[str] = []
    pages = 0
    fresh = iter(texts)
    page = list(islice(fresh, PAGE))
    while page:
        handed += page * (2 if pages % 7 == 3 and len(page) == PAGE else 1)
        pages += 1
        new = list(islice(fresh, PAGE - OVERLAP))
        page = page[-OVERLAP:] + new if new else []
    return handed


ALL, DIRTY = _texts()
ITEMS: Final = _items(ALL)


def clean(*, decimals: bool) -> dict[int, dict[str, Any]]:
    """Return what a destination must hold, by id, as SQLite keeps it."""
    rows = [
        json.loads(text, parse_float=Decimal if decimals else float)
        for text in ALL
        if text not in DIRTY
    ]
    return {row["id"]: {name: _stored(value) for name, value in row.items()} for row in rows}


def _stored(value: Any) -> Any:  # noqa: ANN401  (whatever is passed on)
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, bool):
        return int(value)
    return str(value) if isinstance(value, Decimal) else value


class Grant(NamedTuple):
    """A Retry-After: from when to when nobody is to come, in seconds since 1970."""

    way: str
    at_s: float
    until_s: float


@dataclass(slots=True)
class RoughApi:
    """
    The API.

    Attributes:
        seed: Decides what goes wrong when.
        grants: Every pause that it asked for.
        faults: How often it did what.
        good: How many whole pages it gave, by way.
    """

    seed: int
    grants: list[Grant] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    good: Counter[str] = field(default_factory=Counter)
    _asked: Counter[str] = field(default_factory=Counter)
    _burst: Counter[str] = field(default_factory=Counter)

    def __call__(self, request: Request) -> Reply:
        """Answer."""
        way = request.path.strip("/")
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return as_json({"error": "who are you?"}, status=401)
        if way not in WAYS:
            return as_json({"error": "nothing here"}, status=404)
        self._asked[way] += 1
        rng = random.Random(f"{self.seed} {way} {self._asked[way]}")
        (fault,) = rng.choices(list(_FAULTS), list(_FAULTS.values()))
        if any(grant.way == way and request.at_s < grant.until_s for grant in self.grants):
            fault = "throttle"  # who comes too early is told again
        elif self._burst[way]:
            self._burst[way] -= 1
            fault = "500"
        elif fault == "500":
            self._burst[way] = rng.randrange(4)
        self.faults[fault] += 1
        self.good[way] += fault in {"none", "slow"}
        return self._answer(fault, request, self._page(way, request.query), rng)

    def _page(self, way: str, query: Mapping[str, str]) -> Reply:
        match way:
            case "page":
                start = PAGE * (int(query["page"]) - 1)
            case "offset":
                start = int(query["offset"])
            case _:
                start = int(query.get("cursor", "c0").removeprefix("c"))
        following = f"c{start + PAGE}" if start + PAGE < len(ITEMS) else None
        facts = {
            "total": ROWS,
            "pages": -(-len(ITEMS) // PAGE),
            "more": following is not None,
            "next": following,
        }
        rows = ", ".join(ITEMS[start : start + PAGE])
        body = f'{json.dumps(facts)[:-1]}, "rows": [{rows}]}}'.encode()
        link = f'</link?cursor={following}>; rel="next"' if way == "link" and following else None
        return Reply(body=body, headers={"Link": link})

    def _answer(self, fault: str, request: Request, good: Reply, rng: random.Random) -> Reply:
        cut = rng.randrange(len(good.body))
        no_length = {**good.headers, "Content-Length": None}
        html = {"Content-Type": "text/html"}
        answers: dict[str, Callable[[], Reply]] = {
            "none": lambda: good,
            "throttle": lambda: self._throttle(request, rng),
            "500": lambda: as_json({"error": "oops"}, status=500),
            "503": lambda: as_json({}, status=503),
            "cut": lambda: replace(good, cut=cut),
            "cut, no length": lambda: replace(good, cut=cut, headers=no_length),
            "cut chunks": lambda: replace(good, cut=cut, chunked=True),
            "reset": lambda: Reply(reset=True),
            "reset midway": lambda: replace(good, cut=cut, reset=True),
            "silence": lambda: replace(good, stall_s=5),
            "slow": lambda: replace(good, stall_s=0.05, chunked=True),
            "HTML": lambda: Reply(body=b"<html>Down</html>", headers=html),
            "error with 200": lambda: as_json({"error": "try again"}),
        }
        return answers[fault]()

    def _throttle(self, request: Request, rng: random.Random) -> Reply:
        """Ask for a pause, in one form or the other, with 429 or 503."""
        status = rng.choice([429, 503])
        way, now = request.path.strip("/"), request.at_s
        if rng.random() < 0.5:
            self.grants.append(Grant(way, now, now + 1))
            return as_json({}, status=status, headers={"Retry-After": "1"})
        self.grants.append(Grant(way, now, int(now) + 2))
        date, then = formatdate(int(now), usegmt=True), formatdate(int(now) + 2, usegmt=True)
        return as_json({}, status=status, headers={"Date": date, "Retry-After": then})


def early(api: RoughApi, web: Web) -> list[tuple[Grant, float]]:
    """Return each request that came within a pause, with the pause."""
    return [
        (grant, request.at_s)
        for grant in api.grants
        for request in web.requests
        if request.path == f"/{grant.way}" and grant.at_s < request.at_s < grant.until_s
    ]
