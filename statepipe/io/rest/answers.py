"""
What an answer means before its content is looked at: go on, come later, or never come again.

    failure_of     status and headers -> the error to raise, None for a page
    failure_of_post  the same where records were given, or what was said of them
    no_page        the same for a page that turns out to be none
    next_link      where the `Link` header leads on
    not_read       the Content-Encoding of a body, if it may be why nobody can read that
    is_json        may the body be JSON, by its Content-Type?
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from statepipe.errors import BadAnswer, Fatal, Throttled
from statepipe.io.rest.pages import UnusableError
from statepipe.retryafter import asked_s, retry_after_s

#: 206 is how some APIs mark one page of several; 204 and 202 have no page.
_PAGES: Final = frozenset({HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT})

#: What takes a body that was posted. Not 207: it says that part of it was, and not which.
_TAKEN: Final = frozenset(range(200, 206))

#: What is said of a body for what it holds: malformed, too large, not to be processed.
_REFUSED: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)

#: What a client may mend by trying the same again, besides 5xx and 429.
_PASSING: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})

_SERVER_ERRORS: Final = 500
_CLIENT_ERRORS: Final = 400

#: How a body may be packed.
ENCODINGS: Final = ("gzip", "deflate")

#: As much of a body as a message quotes.
_QUOTED_CHARS_MAX: Final = 300

# Nothing is given back to be matched in another way: a header may be as long as it likes.
_PARAM: Final = (
    r"""\s*+;\s*+(?:([^\s;,="<>]++)\s*+(?:=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s;,"]*+)))?)?"""
)
_PARAMS: Final = re.compile(_PARAM)
_LINK: Final = re.compile(rf"<([^<>]*)>((?:{_PARAM})*+)")


def failure_of(
    status: int, headers: Mapping[str, str], *, body: str, now_ms: int
) -> BadAnswer | Fatal | Throttled | None:
    """
    Return the error that an answer is; None if it is a page.

    Args:
        status: Its status.
        headers: Its headers, names in lower case.
        body: The beginning of its body.
        now_ms: The time by our own clock, milliseconds since 1970; used only if the answer
            has no date of its own.

    Returns:
        Throttled for 429, and for whatever names a time to come back; BadAnswer for
        what may pass by itself (5xx, 408, 425, an answer without a page); else Fatal.
    """
    if status in _PAGES:
        return None
    failure = _failure(status, headers, body=body, now_ms=now_ms)
    if isinstance(failure, Fatal) and status < HTTPStatus.MULTIPLE_CHOICES:
        return BadAnswer(*failure.args)
    return failure


def failure_of_post(
    status: int, headers: Mapping[str, str], *, body: str, now_ms: int
) -> BadAnswer | Fatal | Throttled | str | None:
    """
    Return the error that an answer to a POST is; None if the body was taken.

    Args:
        status: Its status.
        headers: Its headers, names in lower case.
        body: The beginning of its body.
        now_ms: As `failure_of` takes it.

    Returns:
        What was said, as text, if the body was refused for what it holds (400, 413, 422).
        BadAnswer also for 409: the key of this request is in use, so the answer to it is
        still being made. A redirect is Fatal: a POST would not survive most of them.
    """
    if status in _TAKEN:
        return None
    if HTTPStatus.MULTIPLE_CHOICES <= status < _CLIENT_ERRORS:
        where = f" to {headers['location']}" if "location" in headers else ""
        return Fatal(f"{_named(status)}{where}: redirects are not followed; nothing was taken")
    if status < _CLIENT_ERRORS:
        # Part of it was taken: to give all of it again is not for a header to decide.
        return Fatal(f"{_named(status)}{quoted(body)}")
    failure = _failure(status, headers, body=body, now_ms=now_ms)
    if isinstance(failure, Fatal) and status in _REFUSED:
        return str(failure)
    if isinstance(failure, Fatal) and status == HTTPStatus.CONFLICT:
        return BadAnswer(*failure.args)
    return failure


def _failure(
    status: int, headers: Mapping[str, str], *, body: str, now_ms: int
) -> BadAnswer | Fatal | Throttled:
    said = f"{_named(status)}{quoted(body)}"
    pause_s = asked_s(headers, now_ms=now_ms)
    if status == HTTPStatus.TOO_MANY_REQUESTS or pause_s is not None:
        # No time to wait is still an invitation to come back.
        return Throttled(said, retry_after=retry_after_s(headers, now_ms=now_ms))
    if status >= _SERVER_ERRORS or status in _PASSING:
        return BadAnswer(said)
    return Fatal(said)


def no_page(said: str, *, pause_s: float | None) -> BadAnswer | Throttled:
    """Return the error that an answer is which promised a page; a pause it asks for wins."""
    return BadAnswer(said) if pause_s is None else Throttled(said, retry_after=pause_s)


def next_link(header: str | None) -> str | None:
    """
    Return the target of the first link of relation "next" in a `Link` header.

    Raises:
        UnusableError: If there is none, but a part that cannot be read and speaks of one.
    """
    header = header or ""
    for link in _LINK.finditer(header):
        for name, within_quotes, bare in _PARAMS.findall(link[2]):
            # Single quotes are nobody's standard, and in use.
            if (
                name.lower() == "rel"
                and "next" in (within_quotes or bare.strip("'")).lower().split()
            ):
                return link[1].strip()
    if "next" in _LINK.sub("", header).lower():
        # Not quoted: it may repeat a credential, and would be cut before that is masked.
        raise UnusableError("its Link header speaks of what is next, and cannot be read")
    return None


def not_read(headers: Mapping[str, str]) -> str:
    """Return for the end of a message how a body is packed that was not asked for so, or ""."""
    packed = headers.get("content-encoding", "").strip()
    if packed.lower() in {"", "identity", *ENCODINGS}:
        return ""
    return (
        f"; its Content-Encoding is {quoted(packed)[2:]!a}, and {' and '.join(ENCODINGS)} are read"
    )


def is_json(content_type: str | None) -> bool:
    """Return True if a body of this type may be JSON; text/plain and no type at all may be."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind in {"", "application/json", "text/json", "text/plain"} or kind.endswith("+json")


def quoted(body: str) -> str:
    """Return the beginning of `body` for the end of a message, on one line, printable."""
    text = " ".join(body.split())
    text = "".join(each if each.isprintable() else "�" for each in text)
    if len(text) > _QUOTED_CHARS_MAX:
        text = f"{text[:_QUOTED_CHARS_MAX]}…"
    return f": {text}" if text else ""


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
