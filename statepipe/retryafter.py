"""
How long another server asks us to stay away: `Retry-After`, in both its forms.

    retry_after_s   the pause, None if there is none
    asked_s         the same, also of a time that has come
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_s(headers: Mapping[str, str], *, now_ms: int) -> float | None:
    """
    Return the seconds that the answer asks us to stay away, above 0; None if it does not ask.

    A date is compared with the answer's own `Date`, so that clocks that differ do no harm:
    `Date` has lost its fraction of a second, so the pause is never too short.

    Args:
        headers: Of the answer, names in lower case.
        now_ms: The time by our own clock, used only if the answer has no date of its own.
    """
    seconds = asked_s(headers, now_ms=now_ms)
    return seconds if seconds is not None and seconds > 0 else None


def asked_s(headers: Mapping[str, str], *, now_ms: int) -> float | None:
    """Return the same, 0 or less for a time that has come; None if it does not ask."""
    text = headers.get("retry-after", "").strip()
    try:
        if text[:1].isdigit():
            # Of two, as from an API and a proxy before it, both are kept by the longer one.
            seconds = max(map(float, text.split(",")))
        else:
            seconds = _between(headers.get("date"), text, now_ms)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None


def _between(date: str | None, then: str, now_ms: int) -> float:
    """Return the seconds from `date` to `then`, both as HTTP writes dates."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    if date is not None:
        with suppress(ValueError):
            now = _moment(date)
    return (_moment(then) - now).total_seconds()


def _moment(text: str) -> datetime:
    moment = parsedate_to_datetime(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
