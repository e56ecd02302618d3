"""
The source that reads an API: page after page, from where the last commit left off.

    read_rest    records of a REST API over HTTP, in batches of whole pages

A cursor names the next request, never a place inside a page: a page that was committed is
not asked for again, and one that was not is asked for as a whole. What cannot be relied on
(an error, a cut body, a page that does not say what comes next) is an error before anything
of that page counts; pages that came before it are committed first, and the policy of the
state says when the next attempt begins. So a pause that the API asks for is kept in the
store, over any crash.

Every item of every page is either in a batch or rejected with its reason. A rejected item
is `{"page": …, "item": …, "text": …}`: page from 1, place in it from 0, JSON as it came.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from statepipe.batch import Batch
from statepipe.effects import Auth
from statepipe.errors import DataError, Fatal, TaskCancelled
from statepipe.io.jsontext import Document, MalformedError, parse_document, text_of
from statepipe.io.rest.answers import next_link, no_page, quoted
from statepipe.io.rest.asking import refused
from statepipe.io.rest.limits import HttpLimits
from statepipe.io.rest.pages import (
    AllAtOnce,
    Page,
    Pages,
    UnusableError,
    kind_of,
    total_of,
    with_params,
)
from statepipe.io.rest.paths import Path
from statepipe.io.rest.position import LoopError, Position
from statepipe.model import Record, Task

#: Most characters of a rejected item that are kept.
ASIDE_CHARS_MAX: Final = 64 * 1024

#: Most pages of one batch, however few records they have: what a kill makes us ask for again.
BATCH_PAGES_MAX: Final = 100

#: As much of a body as is looked at for a quotation.
_QUOTED_FROM_CHARS: Final = 16 * 1024

_ALL_AT_ONCE: Final = AllAtOnce()
_LIMITS: Final = HttpLimits()


class _Read(NamedTuple):
    """What is read, and how."""

    url: str
    pages: Pages
    records: Path
    total: str | None
    decimals: bool
    repeats: bool


class _Taken(NamedTuple):
    """What one page holds, and the position behind it."""

    clean: list[Record]
    rejects: list[tuple[Record, str]]
    ahead: Position


def read_rest(  # noqa: PLR0913  (an API differs in all of these, and each has its default)
    task: Task,
    url: str,
    *,
    records: str = "$",
    pages: Pages = _ALL_AT_ONCE,
    total: str | None = None,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    auth: Auth = None,
    decimals: bool = False,
    repeats: bool = False,
    limits: HttpLimits = _LIMITS,
    resource: str | None = None,
) -> Iterator[Batch]:
    """
    Yield the records of an API from `task.cursor` on, in batches of whole pages.

    A batch is committed as soon as it has `task.batch_size` records or is of
    `BATCH_PAGES_MAX` pages, and before an error is raised; it has no records if its pages had
    none. Records that the API gives twice are read twice: a key of the destination, or the
    transform, has to make one of them.

    Args:
        task: The source's task; items that cannot be records go to `task.reject`.
        url: The API's address, http or https. Only its scheme, host and port are ever asked.
        records: Path to the list of records in a body, such as "$.data.items".
        pages: How the API is paged: `ByPage`, `ByOffset`, `ByCursor`, `ByLink`; one request
            without.
        total: Path to the number of all records. If fewer have come when the pages end, the
            last page is not taken: a `BadAnswer`.
        params: Further parameters of the query. A list is sent as several.
        headers: Further headers; never credentials.
        auth: Credentials, by reference ("env:NAME" or "file:/PATH"): one reference for a
            bearer token, ("user", reference) for a password, {"X-Api-Key": reference} for a
            header, {"?key": reference} for a parameter of the query.
        decimals: Numbers with a point become Decimal, every digit kept, instead of float.
        repeats: Pages may be the same, because records have no id. Otherwise the second is not
            taken if it is the same as the first, nor a third in a row: so answers an API that
            does not know the parameter of `pages`.
        limits: Timeouts, and the largest body.
        resource: A resource that the state uses; each request waits for a permit of it.

    Raises:
        Throttled: If the API asks for a pause.
        BadAnswer: If it answers 5xx, or something that is no whole page.
        ConnectionError: If it cannot be reached or hangs up.
        TimeoutError: If it is silent, or too slow.
        Fatal: If no retry can mend it: another 4xx, a credential that is missing, pages in a
            circle or always the same, a link to another host, or a cursor of another read.
        DefinitionError: If `pages` is no way of paging, or a path is none.
        DataError: If httpx2 is not installed.
    """
    _check_way(pages)
    http = _http()
    address = with_params(url, params or {})
    read = _Read(address, pages, Path.parse(records), total, decimals, repeats)
    of = _identity(read, records)
    at = Position.start(of=of, first=pages.first())
    if task.cursor is not None:
        at = Position.resumed(task.cursor, of=of)
    if at.next is None:
        return
    with http.Connection(
        url,
        auth=auth,
        headers=headers or {},
        limits=limits,
        stop=partial(_stop, task),
        permit=None if resource is None else partial(task.acquire, resource),
    ) as connection:
        yield from _batches(task, connection, read, at)


def _batches(task: Task, connection: Any, read: _Read, at: Position) -> Iterator[Batch]:  # noqa: ANN401  (http is imported late)
    clean: list[Record] = []
    kept = at
    while at.next is not None:
        task.heartbeat()
        try:
            taken = _take(connection, read, at)
        except TaskCancelled:
            raise
        except Exception:
            # What came before the failure is whole, records or none: it need not be asked for
            # again. Without that, failures that come more often than records would be for ever.
            if at.pages > kept.pages:
                yield Batch(clean, cursor=at.cursor())
            raise
        at = taken.ahead
        clean += taken.clean
        for record, reason in taken.rejects:
            task.reject(record, reason)
        is_full = at.records - kept.records >= task.batch_size
        is_long = at.pages - kept.pages >= BATCH_PAGES_MAX and at.next is not None
        if is_full or is_long:
            yield Batch(clean, cursor=at.cursor())
            clean, kept = [], at
    # Pages without records at the very end are worth no batch: the end itself is committed.
    if at.records > kept.records:
        yield Batch(clean, cursor=at.cursor())


def _stop(task: Task) -> None:
    if task.cancelled:
        raise TaskCancelled("the attempt was asked to stop")


def _take(connection: Any, read: _Read, at: Position) -> _Taken:  # noqa: ANN401  (of a library, or plain data)
    """Ask for the page at a position, and judge it as a whole."""
    assert at.next is not None
    answer = connection.get(read.pages.place(at.next, read.url))
    where = f"GET {answer.url}"
    try:
        document = parse_document(answer.text, decimals=read.decimals)
        items = _items(document, read.records)
        total = total_of(read.total, document.value)
        page = Page(
            document.value,
            len(items),
            total,
            partial(next_link, answer.link),
            lambda link: str(connection.follow(answer.url, link)),
        )
        token = read.pages.following(at.next, page)
        ahead = at.after(
            token=token,
            items=items,
            total=total,
            empty_max=read.pages.empty_max,
            repeats=read.repeats,
        )
    except (MalformedError, UnusableError) as error:
        said = quoted(connection.masked(answer.text[:_QUOTED_FROM_CHARS]))
        raise no_page(f"{where}: {error}{said}", pause_s=answer.pause_s) from error
    except LoopError as error:
        raise Fatal(f"{where}: {error}; nothing of it was taken") from error
    except RecursionError as error:
        raise Fatal(f"{where}: it is nested too deep to be read") from error
    if type(token) is str and connection.hides(token):
        raise Fatal(f"{where}: what leads to the next page holds a credential")
    return _judged(items, document, ahead)


def _items(document: Document, path: Path) -> list[Any]:
    found = path.find(document.value)
    if type(found) is not list:
        raise UnusableError(f"{path.text} is {kind_of(found)}, not a list of records")
    return found


def _judged(items: list[Any], document: Document, ahead: Position) -> _Taken:
    clean: list[Record] = []
    rejects: list[tuple[Record, str]] = []
    for place, item in enumerate(items):
        reason = document.why_refused(item)
        if reason is None:
            clean.append(item)
        else:
            rejects.append((_aside(item, page=ahead.pages, place=place), reason))
    return _Taken(clean, rejects, ahead)


def _aside(item: object, *, page: int, place: int) -> Record:
    """Return what is kept of an item that cannot be a record."""
    try:
        text = text_of(item)
    except RecursionError:
        text = "(nested too deep to be written)"
    kept: Record = {"page": page, "item": place, "text": text[:ASIDE_CHARS_MAX]}
    if len(text) > ASIDE_CHARS_MAX:
        kept["cut_from_chars"] = len(text)
    return kept


def _identity(read: _Read, records: str) -> str:
    """Return a digest of everything that a position is a position in."""
    facts = [read.url, records, read.total, repr(read.pages)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _http() -> Any:  # noqa: ANN401  (a module)
    try:
        from statepipe.io.rest import http  # noqa: PLC0415  (httpx2 is optional, and 100 ms of import)
    except ImportError as error:
        if error.name != "httpx2":
            raise
        raise DataError(
            "reading an API needs httpx2, which is not installed",
            meaning="nothing was read",
            next_step='pip install "statepipe[http]"',
        ) from error
    return http


def _check_way(pages: object) -> None:
    """Refuse what is no way of paging, a class of one included."""
    if isinstance(pages, type) or not isinstance(pages, Pages):
        given = pages.__name__ if isinstance(pages, type) else repr(pages)
        raise refused(
            f"pages is {given}, no way of paging",
            "pages=ByPage(), ByOffset(), ByCursor() or ByLink()",
        )
