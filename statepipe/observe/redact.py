"""
What must not be seen: secrets, replaced by `***` before anything is stored, written or shown.

    hide            from now on this value is a secret, in this process
    redacted        a text without secrets
    beginning, end  as much of a long text, cut so that no part of a secret is left at the cut
    on_hide         be told of each hidden value; a worker process tells its driver so

Two kinds are replaced: the values that were hidden, also as URLs, JSON, `repr` and base64
spell them, and what looks like a secret wherever it stands: the user and password of a
URL, an Authorization header, a bearer token, that of a callback, `password=…` and its like.
A text is redacted whole and cut afterwards: a secret that is cut in two is not found.
"""

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

MASK: Final = "***"

#: Shorter values are not hidden: they stand in every other word.
SECRET_CHARS_MIN: Final = 4
#: Of a secret with several lines, such as a key, each line is hidden that has so many.
_LINE_CHARS_MIN: Final = 8
#: How far behind a cut is looked for the end of a secret, at least.
_SLACK_CHARS: Final = 2_000

_WORDS: Final = (
    r"password|passwd|pwd|passphrase|client_secret|secret_key|secret|api[_-]?key|access_key"
    r"|(?:access|refresh|auth|id)_token"
)
#: Between a name and its value, as headers, dicts, tuples and JSON within JSON have it.
_EQUALS: Final = r"(?:\\*[\"']\s*[:,]|\s*[:=])\s*"
_QUOTED: Final = r"(b?\\*\")[^\"\n]*(\"?)|(b?\\*')[^'\n]*('?)"
#: A text that has none of the hints cannot match: looking for them is all that most texts cost.
_LOOKS: Final[tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...]] = (
    (
        ("://",),
        re.compile(r"(://)(?:[^\s/@:'\"]*:[^\s/'\"]*@|[^\s/@:'\"]+@)"),
        rf"\1{MASK}@",
    ),
    (
        # The rest of the line, or of the quoted text: some schemes have several parts.
        ("authorization",),
        re.compile(
            rf"(authorization{_EQUALS})(?:{_QUOTED}|[^\s\"'][^\r\n\"']*)",
            re.IGNORECASE,
        ),
        rf"\1\2\4{MASK}\3\5",
    ),
    (
        ("bearer ",),
        re.compile(r"(bearer )\s*[\w.~+/=-]{8,}", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    (
        ("pass", "pwd", "secret", "key", "_token"),
        # A reference only says where a secret is.
        re.compile(
            rf"((?:{_WORDS}){_EQUALS})(?!env:|file:)(?:{_QUOTED}|[^\s,;&\"'}})\]]+)",
            re.IGNORECASE,
        ),
        rf"\1\2\4{MASK}\3\5",
    ),
    (
        # What lets an outside system call back, as `statepipe.store.tokens` makes it.
        ("cb1.",),
        re.compile(r"(cb1\.)[\w-]+\.[\w-]{20,}"),
        rf"\1{MASK}",
    ),
    (
        ("token=",),
        re.compile(r"(token=)[^\s,;&\"'})\]]+", re.IGNORECASE),
        rf"\1{MASK}",
    ),
)

_HINTS: Final = tuple(hint for hints, _, _ in _LOOKS for hint in hints)

_lock = threading.Lock()
_hidden: list[str] = []
_listeners: list[Callable[[str], object]] = []


class _Known:
    """The hidden values in all their spellings, ready to be looked for; replaced, never changed."""

    def __init__(self, values: list[str]) -> None:
        # The longest first: one may be the beginning of another.
        found = {spelling for value in values for spelling in _spellings(value)}
        self.spellings = sorted(found, key=lambda each: (-len(each), each))
        self.pattern = re.compile("|".join(map(re.escape, self.spellings)) or r"(?!)")
        self.chars_max = max(map(len, self.spellings), default=0)


_known = _Known([])


def hide(value: str) -> None:
    """
    Replace `value` wherever this process stores, writes or shows text, from now on.

    A value of fewer than `SECRET_CHARS_MIN` characters is ignored.
    """
    global _known  # noqa: PLW0603  (a process has one set of secrets, whoever asks)
    if len(value) < SECRET_CHARS_MIN:
        return
    with _lock:
        if value in _hidden:
            return
        _hidden.append(value)
        _known = _Known(_hidden)
    for listener in _listeners:
        listener(value)


def hidden(*, since: int = 0) -> list[str]:
    """Return the hidden values in the order they were hidden, without the first `since`."""
    with _lock:
        return _hidden[since:]


def on_hide(listener: Callable[[str], object]) -> None:
    """Let `listener` be told of each value that is hidden from now on, before `hide` returns."""
    _listeners.append(listener)


def forget() -> None:
    """Hide nothing any more; for tests, which share a process."""
    global _known  # noqa: PLW0603  (as in `hide`)
    with _lock:
        _hidden.clear()
        _listeners.clear()
        _known = _Known([])


def redacted(text: str) -> str:
    """Return `text` with each secret in it replaced by `***`."""
    known = _known
    # `map` and not a generator: this is done for each line of each task.
    if any(map(text.__contains__, known.spellings)):
        text = known.pattern.sub(MASK, text)
    is_in = text.lower().__contains__
    if any(map(is_in, _HINTS)):
        for hints, pattern, replacement in _LOOKS:
            if any(map(is_in, hints)):
                text = pattern.sub(replacement, text)
    return text


def beginning(text: str, *, chars_max: int) -> str:
    """Return about the first `chars_max` characters, redacted; all of a text that is no longer."""
    if len(text) <= chars_max:
        return redacted(text)
    window = text[: chars_max + max(_SLACK_CHARS, _known.chars_max)]
    cut = chars_max
    while (further := max((end for _, end in _across(window, cut)), default=cut)) > cut:
        cut = further
    return redacted(window[:cut])


def end(text: str, *, chars_max: int) -> str:
    """Return about the last `chars_max` characters, redacted; all of a text that is no longer."""
    if len(text) <= chars_max:
        return redacted(text)
    window = text[-(chars_max + max(_SLACK_CHARS, _known.chars_max)) :]
    cut = len(window) - chars_max
    while (earlier := min((start for start, _ in _across(window, cut)), default=cut)) < cut:
        cut = earlier
    return redacted(window[cut:])


def _across(text: str, cut: int) -> Iterator[tuple[int, int]]:
    """Yield where each secret begins and ends that a cut at place `cut` would divide."""
    patterns = [_known.pattern, *(pattern for _, pattern, _ in _LOOKS)]
    for pattern in patterns:
        for match in pattern.finditer(text):
            if match.start() < cut < match.end():
                yield match.span()


def _spellings(value: str) -> Iterator[str]:
    """Yield the ways in which programs write `value` down."""
    lines = [line.strip() for line in value.splitlines()]
    long = [line for line in lines if len(line) >= _LINE_CHARS_MIN and not line.startswith("---")]
    for plain in {value, value.strip(), *(long if len(lines) > 1 else ())}:
        if len(plain) < SECRET_CHARS_MIN:
            continue
        encoded = plain.encode("utf-8", "surrogatepass")
        yield plain
        yield quote(encoded)
        yield quote(encoded, safe="")
        yield quote_plus(encoded)
        yield json.dumps(plain)[1:-1]
        yield json.dumps(plain, ensure_ascii=False)[1:-1]
        yield repr(plain)[1:-1]
        yield repr(encoded)[2:-1]
        yield base64.b64encode(encoded).decode().rstrip("=")
