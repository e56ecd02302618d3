"""
Where a read of an API stands, and enough of where it was to see that it goes in circles.

    Position.start    before the first request
    Position.after    after a page; LoopError if the next token was here before
    cursor, resumed   as plain data, and back

A token that comes again is noticed at once if it was one of the last `_RECENT`, and in any
case before three times as many pages as the way into the circle and once around it: kept
besides is the token of every page whose number is a power of two, the newest only, which
the circle must meet (Brent). So a cursor is of one size, however many pages there are.

Tokens that differ may still get the same page: an API that does not know our parameter gives
its first one for ever, or as often as it says that it has pages. So a second page that is the
same as the first, record for record, is refused at once, and later the third in a row: one
page that comes twice is what some APIs do. Whoever reads may say that pages may be the same.

Pages without records whose tokens differ are no circle, but must end, too: how many of them in
a row may be legal is for the way of paging to say.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from statepipe.errors import Fatal
from statepipe.io.changed import changed
from statepipe.io.rest.pages import Token, UnusableError

#: So many pages in a row may be the same as the one before them where records have no id:
#: with more of them, the API does not look at what it is asked.
ALIKE_MAX: Final = 100

#: The same where they have: an API that gives a page twice may go on behind it.
_TWICE_MAX: Final = 2

_RECENT: Final = 16
_DIGEST_BYTES: Final = 8
_TOKEN_CHARS_MAX: Final = 16 * 1024


class LoopError(ValueError):
    """The pages lead back to one that was read, or never change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """
    A place between two pages.

    Attributes:
        of: Digest of what is read: address, parameters, way of paging.
        next: The token to ask for; None after the last page.
        pages: Pages read.
        records: Records in them, rejected ones included.
        least: The lowest total that the API named, None if it named none.
    """

    of: str
    next: Token | None
    pages: int = 0
    records: int = 0
    least: int | None = None
    _recent: bytes = b""
    _mark: bytes = b""
    _content: bytes = b""
    _alike: int = 0

    @classmethod
    def start(cls, *, of: str, first: Token) -> Self:
        """Return the position before the first request."""
        return cls(of=of, next=first, _recent=_digest(first))

    @classmethod
    def resumed(cls, cursor: Any, *, of: str) -> Self:  # noqa: ANN401  (whatever the checkpoint holds)
        """
        Return the position that `cursor` keeps.

        Raises:
            Fatal: If it was not made by a read of the same thing.
        """
        if type(cursor) is not dict or set(cursor) != set(_KEPT):
            raise _foreign("the cursor was not made by read_rest")
        if cursor["of"] != of:
            raise _foreign("the address, its parameters or the way of paging have changed")
        return cls(**{field: cursor[name] for name, field in _KEPT.items()})

    def cursor(self) -> dict[str, Any]:
        """Return the position as plain data."""
        return {name: getattr(self, field) for name, field in _KEPT.items()}

    def after(
        self,
        *,
        token: Token | None,
        items: Sequence[object],
        total: int | None,
        empty_max: int,
        repeats: bool,
    ) -> Self:
        """
        Return the position after a page.

        Args:
            token: What to ask for next; None if the page was the last.
            items: The page's records.
            total: How many there are in all, if the API says.
            empty_max: Most pages without records in a row, besides the first of them.
            repeats: Whether pages with records may be the same.

        Raises:
            LoopError: If the pages go in circles, are the same, or are empty for ever.
            UnusableError: If the pages end before there were as many records as the API
                says there are, or `token` is too long to be kept.
        """
        recent, mark = self._recent, self._mark
        if token is not None:
            recent, mark = self._marks(token)
        seen = _digest_of_all(items)
        alike = self._alike + 1 if seen == self._content else 0
        if items and alike:
            self._refuse_alike(alike, repeats=repeats)
        if not items and token is not None and alike >= empty_max:
            raise LoopError(f"the last {alike + 1} pages have no records, and say there are more")
        so_far = self.records + len(items)
        least = min((each for each in (self.least, total) if each is not None), default=None)
        if token is None and least is not None and so_far < least:
            raise UnusableError(f"the pages end after {so_far} of {least} records")
        return replace(
            self,
            next=token,
            pages=self.pages + 1,
            records=so_far,
            least=least,
            _recent=recent,
            _mark=mark,
            _content=seen,
            _alike=alike,
        )

    def _refuse_alike(self, alike: int, *, repeats: bool) -> None:
        """Refuse a page with which `alike` pages in a row are the same as the one before them."""
        same = f"the last {alike + 1} pages are the same, record for record"
        if not repeats and (self.pages == 1 or alike >= _TWICE_MAX):
            raise LoopError(
                f"{same}: does the API know the parameter that asks for the next page, and where"
                " the pages end? If records have no id, so that pages may be the same, read with"
                " repeats=True and resume"
            )
        if alike >= ALIKE_MAX:
            raise LoopError(same)

    def _marks(self, token: Token) -> tuple[bytes, bytes]:
        """Return the marks to keep once `token` is the next, which none of them may be."""
        if len(str(token)) > _TOKEN_CHARS_MAX:
            raise UnusableError(
                f"what leads to the next page has more than {_TOKEN_CHARS_MAX} characters"
            )
        digest = _digest(token)
        recent = self._recent
        known = {recent[at : at + _DIGEST_BYTES] for at in range(0, len(recent), _DIGEST_BYTES)}
        page = self.pages + 1
        if digest in known or digest == self._mark:
            raise LoopError(f"page {page} leads back to a page that was read before")
        is_power_of_two = page & (page - 1) == 0
        recent = (recent + digest)[-_RECENT * _DIGEST_BYTES :]
        return recent, digest if is_power_of_two else self._mark


#: Names in a cursor, and the fields they keep.
_KEPT: Final = {
    "next": "next",
    "pages": "pages",
    "records": "records",
    "least": "least",
    "of": "of",
    "recent": "_recent",
    "mark": "_mark",
    "content": "_content",
    "alike": "_alike",
}


def _digest(value: object) -> bytes:
    return _digest_of_all((value,))


def _digest_of_all(values: Sequence[object]) -> bytes:
    """Return a digest of `values`, which are written one by one: a page may be large."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for value in values:
        digest.update(_written(value).encode(errors="replace"))
    return digest.digest()


def _written(value: object) -> str:
    try:
        return repr(value)
    except RecursionError:
        return "(nested too deep to be written)"


def _foreign(reason: str) -> Fatal:
    return changed("this", reason, remedy="Read the same again and resume")
