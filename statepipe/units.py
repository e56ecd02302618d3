"""
Quantities as people write and read them.

    durations   "90s", "10m", "1h30m", "250ms", "2d", "PT15M"; integer milliseconds inside
    shares      "5%", "0.5%"; exact fractions inside
    rates       "10/s", "100/min"; how many in how long
    sizes       "500MB", "2GiB"; integer bytes inside
    moments     "2013-02-04T10:00:00.25Z"; nothing that is said of one is cut off
    counts      "1 batch", "7 batches"; "once", "3 times"
"""

import re
from fractions import Fraction
from typing import Any, NamedTuple

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PLAIN = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_ISO = re.compile(
    r"P(?:(?P<w>\d+)W)?(?:(?P<d>\d+)D)?"
    r"(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?"
)
_RATE = re.compile(r"([1-9][0-9]{0,5})/(s|m|min|h|d)", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([kMGT]i?B)", re.ASCII)
_PREFIXES = "kMGT"
#: What Python would cut off: digits behind those of microseconds that are not zero.
_TOO_FINE = re.compile(r"[.,]\d{6}\d*[1-9]")
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?) ?%", re.ASCII)


class TooFineError(ValueError):
    """A moment that could only be kept with less of its second."""


def parse_duration_ms(text: str) -> int:
    """
    Return `text` in milliseconds, 0 or more.

    Raises:
        ValueError: If `text` is not a duration; the message shows how to write one.
    """
    compact = text.replace(" ", "")
    if _PLAIN.fullmatch(compact):
        return round(sum(float(n) * _UNITS_MS[unit] for n, unit in _PART.findall(compact)))
    iso = _ISO.fullmatch(compact)
    if iso and any(iso.groupdict().values()):
        return round(
            sum(float(n) * _UNITS_MS[unit] for unit, n in iso.groupdict().items() if n is not None)
        )
    raise ValueError(f'{text!r} is not a duration; write "90s", "10m", "1h30m" or "PT15M"')


def format_duration(ms: int) -> str:
    """Return `ms` as people read it: "250ms", "4.2s", "12m 5s", "3h 4m", "2d 1h"."""
    if ms < _UNITS_MS["s"]:
        return f"{ms}ms"
    if ms < _UNITS_MS["m"]:
        return f"{ms / 1_000:.1f}s"
    minutes, seconds = divmod(ms // 1_000, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {seconds}s"


def plural(count: int, word: str) -> str:
    """Return "1 batch", "7 batches", "6,104 records"."""
    ending = "" if count == 1 else "es" if word.endswith(("ch", "s")) else "s"
    return f"{count:,} {word}{ending}"


def times(count: int) -> str:
    """Return "once", "7 times"."""
    return "once" if count == 1 else f"{count:,} times"


def parse_share(text: str) -> Fraction:
    """
    Return the share that `text` says, 0..1: "5%" is one twentieth, exactly.

    Raises:
        ValueError: If `text` is not a share; the message shows how to write one.
    """
    found = _SHARE.fullmatch(text)
    share = Fraction(found[1]) / 100 if found else None
    if share is None or share > 1:
        raise ValueError(f'{text!r} is not a share; write "5%", "0.5%", at most "100%"')
    return share


class Rate(NamedTuple):
    """At most `n` in any `per_ms` milliseconds, at most a day."""

    n: int
    per_ms: int

    def __str__(self) -> str:
        units = {"1s": "s", "1m": "min", "1h": "h", "1d": "d"}
        return f"{self.n}/{next(units[u] for u in units if parse_duration_ms(u) == self.per_ms)}"


def parse_rate(text: str) -> Rate:
    """
    Return the rate that `text` says: "10/s", "100/min", "1000/h", "5/d".

    Raises:
        ValueError: If `text` is not a rate; the message shows how to write one.
    """
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError(f'{text!r} is not a rate; write "10/s", "100/min", "1000/h"')
    return Rate(int(found[1]), _UNITS_MS[found[2][0]])


def parse_size(text: str) -> int:
    """
    Return the size that `text` says in bytes: "500MB", "2GiB", "1.5TB".

    Raises:
        ValueError: If `text` is not a size; the message shows how to write one.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f'{text!r} is not a size; write "500MB" or "2GiB"')
    base = 1_024 if "i" in found[2] else 1_000
    factor: int = base ** (_PREFIXES.index(found[2][0]) + 1)
    return round(Fraction(found[1]) * factor)


def format_size(size: int) -> str:
    """Return `size` bytes as people read it: "512 bytes", "2.0 GB"."""
    if size < 1_000:  # noqa: PLR2004  (where the prefixes begin)
        return f"{size} bytes"
    power = min(len(_PREFIXES), (len(str(size)) - 1) // 3)
    return f"{size / 1_000**power:.1f} {_PREFIXES[power - 1]}B"


def exactly(text: str, kind: Any) -> Any:  # noqa: ANN401  (datetime or time)
    """
    Return the `kind` that `text` means in ISO 8601, a datetime or a time.

    Raises:
        TooFineError: If something of it would be cut off.
        ValueError: If it is none.
    """
    if _TOO_FINE.search(text):
        raise TooFineError(f"{text[:80]!r} has finer parts of a second than can be kept")
    return kind.fromisoformat(text)
