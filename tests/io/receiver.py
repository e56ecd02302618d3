"""
A receiver of records over HTTP: one that honours idempotency keys, or one that does not care.

    Receiver    what it took, and what it does besides answering
    lost        take it, and hang up before the answer
    told        answer this, and take nothing
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from tests.io.web import Reply, Request, as_json

#: What a receiver does with one request, other than taking it and saying so.
Trouble = Callable[["Receiver", Request], Reply]

_FINE: Final = as_json({"taken": True})


class Receiver:
    """
    Takes what is posted.

    Args:
        honours: True if a key that it knows is answered as before, and nothing is taken.
        troubles: What it does with the first requests, in order; None for nothing.
        refuses: Records that it refuses, each by its own request, with a 422.

    Attributes:
        taken: The records it took, in order.
        keys: How often each key came.
    """

    def __init__(
        self,
        *,
        honours: bool = True,
        troubles: Iterable[Trouble | None] = (),
        refuses: Callable[[Any], bool] = lambda _: False,
    ) -> None:
        self.honours = honours
        self.troubles = list(troubles)
        self.refuses = refuses
        self.taken: list[Any] = []
        self.keys: Counter[str] = Counter()
        self._answered: dict[str, tuple[bytes, Reply]] = {}

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        self.keys[request.headers["idempotency-key"]] += 1
        trouble = self.troubles.pop(0) if self.troubles else None
        return self.take(request) if trouble is None else trouble(self, request)

    def take(self, request: Request) -> Reply:
        """Take what is posted, unless the key says that it is there; return the answer."""
        key = request.headers["idempotency-key"]
        known = self._answered.get(key) if self.honours else None
        if known is not None:
            body, answer = known
            return answer if body == request.body else as_json({}, status=422)
        records = records_of(request)
        answer = _FINE
        if any(map(self.refuses, records)):
            answer = as_json({"detail": f"no such thing as {records}"}, status=422)
        else:
            self.taken += records
        self._answered[key] = (request.body, answer)
        return answer

    def reconsider(self) -> None:
        """Forget what it refused; what it took stays taken."""
        self._answered = {
            key: known for key, known in self._answered.items() if known[1].status < 300
        }

    def forget(self) -> None:
        """Forget everything that it took and answered."""
        self.taken.clear()
        self.keys.clear()
        self._answered.clear()

    def rows(self, *, key: str = "") -> list[dict[str, Any]]:
        """Return what it has, as a table that upserts by `key` would, in order."""
        if not key:
            return list(self.taken)
        merged: dict[Any, dict[str, Any]] = {}
        for record in self.taken:
            merged.setdefault(record[key], {}).update(record)
        return list(merged.values())


def records_of(request: Request) -> list[Any]:
    """Return the records in a body, whichever kind it is of."""
    if request.headers["content-type"] == "application/x-ndjson":
        return [json.loads(line) for line in request.body.splitlines()]
    body = json.loads(request.body)
    return body if isinstance(body, list) else [body]


def lost(receiver: Receiver, request: Request) -> Reply:
    """Take it, and reset the connection instead of answering."""
    receiver.take(request)
    return Reply(reset=True)


def told(reply: Reply) -> Trouble:
    """Answer with `reply`, and take nothing."""
    return lambda _receiver, _request: reply
