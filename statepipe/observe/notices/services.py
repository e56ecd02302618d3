"""
Everything that apprise reaches: chats, mails, pagers, by a URL of its own.

apprise is an extra; this module is imported when a notice goes to a target with `url`. It
says why it failed only in its log, which is caught here, for the reason, and goes nowhere
else: it may repeat parts of the URL, and the URL is a secret.
"""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import unquote

import apprise

from statepipe.observe.notices import body as bodies
from statepipe.observe.notices.letter import Letter, Undelivered
from statepipe.observe.redact import MASK

#: Shorter parts of a URL stand in ordinary words.
_PART_CHARS_MIN: Final = 4

_TYPES: Final = {
    "failed": apprise.NotifyType.FAILURE,
    "retries_exhausted": apprise.NotifyType.FAILURE,
    "stalled": apprise.NotifyType.WARNING,
    "dropped": apprise.NotifyType.WARNING,
    "done": apprise.NotifyType.SUCCESS,
}


def tell(url: str, letter: Letter) -> None:
    """
    Send `letter`, as text for people that ends in its key, to the service at `url`.

    Raises:
        Undelivered: apprise does not know such a URL, or could not deliver.
    """
    said = bodies.read(letter.body)
    # In this thread, which is a daemon: apprise's own are waited for when the process ends,
    # and with a time limit it uses them for a single service as well.
    asset = apprise.AppriseAsset(app_id="statepipe", async_mode=False, service_timeout=0)
    service = apprise.Apprise(asset=asset)
    with _log() as said_by_apprise:
        if not service.add(url):
            raise Undelivered("what its reference leads to is no URL that apprise knows")
        told = service.notify(
            body=bodies.message(said),
            title=f"statepipe: {said['event'].replace('_', ' ')}",
            notify_type=_TYPES.get(said["event"], apprise.NotifyType.INFO),
            body_format=apprise.NotifyFormat.TEXT,
        )
        why = " ".join(" ".join(said_by_apprise).split())
    if not told:
        raise Undelivered(_without(url, why or "apprise could not deliver it"))


#: What apprise has logged, by the thread that delivers.
_said: dict[int, list[str]] = {}


@contextmanager
def _log() -> Iterator[list[str]]:
    """Give what apprise warns of in this thread; none of it goes to any handler."""
    thread = threading.get_ident()
    _said[thread] = []
    try:
        yield _said[thread]
    finally:
        del _said[thread]


def _keep(record: logging.LogRecord) -> bool:
    said = _said.get(record.thread or 0)
    if said is not None and record.levelno >= logging.WARNING:
        said.append(record.getMessage())
    return said is None


logging.getLogger(apprise.LOGGER_NAME).addFilter(_keep)


def _without(url: str, text: str) -> str:
    """Return `text` without any part of `url`."""
    _, _, address = url.partition("://")
    parts = {unquote(part) for part in re.split(r"[/:@?&=#,;]", address)} | {address, url}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _PART_CHARS_MIN:
            text = text.replace(part, MASK)
    return text
