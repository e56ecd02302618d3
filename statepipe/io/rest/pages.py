"""
How an API hands out its records, and so where each next request goes.

    ByPage      ?page=1, ?page=2, …
    ByOffset    ?offset=0&limit=100, ?offset=100&limit=100, …
    ByCursor    a cursor in each body, which the next request gives back
    ByLink      a link to the next page, in the `Link` header or in the body
    AllAtOnce   one request, one answer

Each knows three things of a token, which is all that a checkpoint keeps of a place:

    first       the token of the first request
    place       the address that a token asks for
    following   the token after a page, None if the page was the last

A page number and an offset count from the front: if rows are added or removed there while
pages are read, later pages shift, and rows come twice or never. A cursor and a link are
as stable as the API makes them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar, Final, NamedTuple, Protocol, runtime_checkable
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from statepipe.io.jsontext import Odd
from statepipe.io.rest.asking import check_number, refused
from statepipe.io.rest.paths import MISSING, Path

Token = int | str

#: A token of a cursor or a link that is the start.
_START: Final = ""

#: Pages without records in a row, of numbers that we count up ourselves. The API says nothing
#: with them but that there is more; where it always says so, they would go on for ever.
_EMPTY_OF_OURS_MAX: Final = 100

#: The same where each page names the next, or the last one. Who filters behind a cursor (as
#: DynamoDB and many searches do) gives a page for what was looked through, not for what was
#: found: a long run of empty ones is legal, and ends.
_EMPTY_OF_THEIRS_MAX: Final = 10_000


class UnusableError(ValueError):
    """An answer that says nothing to rely on, with the reason."""


class Page(NamedTuple):
    """What a way of paging looks at: one answer, parsed."""

    document: Any
    records: int  # those that cannot be used included
    total: int | None  # how many records there are in all, if the API says
    link: Callable[[], str | None]  # where the `Link` header leads on; UnusableError as below
    follow: Callable[
        [str], str
    ]  # a link of this answer -> its whole address, if it may be followed


@runtime_checkable
class Pages(Protocol):
    """A way of paging."""

    @property
    def empty_max(self) -> int:
        """Pages without records that may follow one in a row, if there is more."""

    def first(self) -> Token:
        """Return the token of the first request."""

    def place(self, token: Token, url: str) -> str:
        """Return the address that `token` asks for, of an API at `url`."""

    def following(self, token: Token, page: Page) -> Token | None:
        """
        Return the token after `page`, which `token` had asked for; None if it was the last.

        Raises:
            UnusableError: If the answer does not say, or contradicts itself.
        """


@dataclass(frozen=True, slots=True)
class AllAtOnce:
    """One request, one answer with all records."""

    empty_max: ClassVar[int] = _EMPTY_OF_OURS_MAX

    def first(self) -> Token:
        """Return the only token."""
        return _START

    def place(self, token: Token, url: str) -> str:  # noqa: ARG002  (there is one place)
        """Return `url`."""
        return url

    def following(self, token: Token, page: Page) -> None:
        """Return None: there is no second page."""


@dataclass(frozen=True, slots=True)
class ByPage:
    """
    Pages by number; the last is the first empty one, unless the API says which is.

    Attributes:
        param: Name of the parameter with the number.
        start: Number of the first page.
        last: Path to the number of the last page, such as "$.total_pages".
        more: Path to true or false: is there another page?

    Raises:
        DefinitionError: If `start` is no number, or a path is none.
    """

    param: str = "page"
    start: int = 1
    last: str | None = None
    more: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no number, and what is no path."""
        check_number("start", self.start, "ByPage(start=1)")
        _check(self.last, self.more)

    @property
    def empty_max(self) -> int:
        """Few, if all that the API says is that there is more; many up to a last page."""
        ends_at_last = self.last is not None and self.more is None
        return _EMPTY_OF_THEIRS_MAX if ends_at_last else _EMPTY_OF_OURS_MAX

    def first(self) -> Token:
        """Return the number of the first page."""
        return self.start

    def place(self, token: Token, url: str) -> str:
        """Return `url` with the number in it."""
        return with_params(url, {self.param: token})

    def following(self, token: Token, page: Page) -> Token | None:
        """Return the next number; None after the last page."""
        assert type(token) is int
        if self.more is not None:
            ends = not _flag(self.more, page)
        elif self.last is not None:
            ends = token >= _count(self.last, page)
        else:
            ends = page.records == 0
        return None if ends else token + 1


@dataclass(frozen=True, slots=True)
class ByOffset:
    """
    So many records from the n-th on; the end is the total, if the API says it, or nothing.

    The next offset is behind the records that came, not behind those that were asked for:
    an API that gives fewer than `limit` a page loses nothing. A page of more than were asked
    for is not taken: an offset behind all of them would lose records if the API counts by
    `limit`, one behind `limit` would read them twice if it does not.

    Attributes:
        param: Name of the parameter with the number of records before the page.
        limit_param: Name of the parameter with the size of a page; None to send none, for
            an API whose pages have a size of their own.
        limit: The size of a page, at least 1; without a `limit_param` it means nothing.
        more: Path to true or false: is there another page?

    Raises:
        DefinitionError: If `limit` is no number or below 1, or a path is none.
    """

    empty_max: ClassVar[int] = _EMPTY_OF_OURS_MAX

    param: str = "offset"
    limit_param: str | None = "limit"
    limit: int = 100
    more: str | None = None

    def __post_init__(self) -> None:
        """Refuse what would never come to an end."""
        check_number("limit", self.limit, "ByOffset(limit=100)")
        if self.limit < 1:
            raise refused(
                f"limit is {self.limit}; a page has at least 1 record", "ByOffset(limit=100)"
            )
        _check(self.more)

    def first(self) -> Token:
        """Return 0."""
        return 0

    def place(self, token: Token, url: str) -> str:
        """Return `url` with offset and limit in it."""
        limit = {} if self.limit_param is None else {self.limit_param: self.limit}
        return with_params(url, {self.param: token, **limit})

    def following(self, token: Token, page: Page) -> Token | None:
        """Return the next offset; None after the last page."""
        assert type(token) is int
        if self.limit_param is not None and page.records > self.limit:
            raise UnusableError(
                f"the page has {page.records} records, and {self.limit} were asked for, so where"
                " the next begins is not known; if that is the size of its pages, read with"
                f" ByOffset(limit={page.records}), or with limit_param=None"
            )
        offset = token + page.records
        if self.more is not None:
            ends = not _flag(self.more, page)
        elif page.total is not None:
            ends = offset >= page.total
        else:
            ends = page.records == 0
        if not ends and page.records == 0:
            raise UnusableError("there is more, it says, but the page is empty")
        return None if ends else offset


@dataclass(frozen=True, slots=True)
class ByCursor:
    """
    Each body names the cursor of the next page; the last has none, or null, or "".

    Attributes:
        param: Name of the parameter that gives the cursor back.
        path: Path to the cursor, such as "$.meta.next", or "$.data[-1].id" for an API that
            goes on behind a record; there an empty list is the last page, a last record
            without an id is no page.
        more: Path to true or false: is there another page? Where it is given, a page
            without a cursor is the last only if this says so.

    Raises:
        DefinitionError: If a path is none.
    """

    empty_max: ClassVar[int] = _EMPTY_OF_THEIRS_MAX

    param: str = "cursor"
    path: str = "$.next_cursor"
    more: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no path."""
        _check(self.path, self.more)

    def first(self) -> Token:
        """Return the token of the start, for which no cursor is sent."""
        return _START

    def place(self, token: Token, url: str) -> str:
        """Return `url` with the cursor in it."""
        return url if token == _START else with_params(url, {self.param: token})

    def following(self, token: Token, page: Page) -> Token | None:  # noqa: ARG002  (the page says it all)
        """Return the cursor that the page names; None after the last page."""
        if self.more is not None and not _flag(self.more, page):
            return None
        path = Path.parse(self.path)
        cursor = path.find(page.document)
        if cursor is MISSING or cursor is None or cursor == _START:
            if self.more is not None:
                raise UnusableError(f"there is more, it says, but no cursor at {self.path}")
            if path.is_of_last(page.document):
                raise UnusableError(f"the last item has nothing to go on behind at {self.path}")
            return None
        if type(cursor) is int or type(cursor) is str:
            _check_sendable(cursor, self.path)
            return cursor
        raise UnusableError(f"{self.path} is {kind_of(cursor)}, not a cursor")


@dataclass(frozen=True, slots=True)
class ByLink:
    """
    Each answer links to the next page; the last has no link.

    Attributes:
        path: Path to the link in the body, such as "$.next"; None for the `Link` header
            with rel="next".

    Raises:
        DefinitionError: If `path` is none.
    """

    empty_max: ClassVar[int] = _EMPTY_OF_THEIRS_MAX

    path: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no path."""
        _check(self.path)

    def first(self) -> Token:
        """Return the token of the start: the address itself."""
        return _START

    def place(self, token: Token, url: str) -> str:
        """Return the link, or `url` at the start."""
        return url if token == _START else str(token)

    def following(self, token: Token, page: Page) -> Token | None:  # noqa: ARG002  (the page says it all)
        """Return the address of the next page; None after the last page."""
        link = page.link() if self.path is None else Path.parse(self.path).find(page.document)
        if link is None or link is MISSING or link == "":
            return None
        if type(link) is not str:
            raise UnusableError(f"{self.path} is {kind_of(link)}, not a link")
        _check_sendable(link, self.path or "the link")
        return page.follow(link)


def with_params(url: str, params: Mapping[str, Any]) -> str:
    """
    Return `url` with `params` in its query, each in place of what was there by its name.

    A list is sent as one parameter for each item, a bool as true or false, a date and a
    datetime by ISO 8601; None is left out.
    """
    if not params:
        return url
    parts = urlsplit(url)
    kept = [
        pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in params
    ]
    added = [
        (name, _text(each))
        for name, value in params.items()
        for each in (value if isinstance(value, list | tuple) else [value])
        if each is not None
    ]
    return urlunsplit(parts._replace(query=urlencode(kept + added)))


def without_params(url: str, names: Sequence[str]) -> str:
    """Return `url` without the parameters of these names; itself if it has none of them."""
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    kept = [pair for pair in pairs if pair[0] not in names]
    return url if kept == pairs else urlunsplit(parts._replace(query=urlencode(kept)))


def total_of(path: str | None, document: object) -> int | None:
    """
    Return how many records there are in all; None without a path.

    Raises:
        UnusableError: If there is no number at `path`.
    """
    return None if path is None else _number(path, document)


def _count(path: str, page: Page) -> int:
    return _number(path, page.document)


def _number(path: str, document: object) -> int:
    value = Path.parse(path).find(document)
    if type(value) is not int or value < 0:
        raise UnusableError(f"{path} is {kind_of(value)}, not a number of things")
    return value


def _flag(path: str, page: Page) -> bool:
    value = Path.parse(path).find(page.document)
    if type(value) is not bool:
        raise UnusableError(f"{path} is {kind_of(value)}, neither true nor false")
    return value


def _check_sendable(token: Token, path: str) -> None:
    """Refuse what can neither be sent nor kept: JSON can write text that is no Unicode."""
    try:
        str(token).encode()
    except UnicodeEncodeError:
        raise UnusableError(f"{path} holds half a surrogate pair") from None


def kind_of(value: object) -> str:
    """Return what there is instead of what was looked for, after "is": "missing"."""
    if type(value) is Odd:
        return f"unusable ({value.reason})"
    return "missing" if value is MISSING else f"of type {type(value).__name__}"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else str(value)


def _check(*paths: str | None) -> None:
    for path in paths:
        if path is not None:
            Path.parse(path)
