"""
The Pushgateway: for machines that Prometheus cannot reach, or that are gone when it comes.

    Group       one group of series at one gateway
    Group.put   replace whatever it holds
    Group.delete

A gateway keeps a group for ever, so that it shows last year's numbers as today's. Whoever
puts one there has to take it away again.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from typing import Final
from urllib.error import HTTPError
from urllib.parse import urlsplit

from prometheus_client.exposition import (
    basic_auth_handler,
    default_handler,
    delete_from_gateway,
    push_to_gateway,
)

from statepipe.errors import Unreachable, UsageError
from statepipe.observe.exposition import Collector
from statepipe.observe.series import Family

_TIMEOUT_S: Final = 30
_SAID_CHARS_MAX: Final = 200
_DEFAULT_HANDLER: Final[Callable[..., Callable[[], None]]] = default_handler


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """
    One group of series at one gateway. Its repr shows no password.

    Attributes:
        url: The gateway, "http://host:9091"; credentials are no part of it.
        job: The label that every series of the group gets.
        instance: Another, or None.
        user: Name and password for the gateway, or None.

    Raises:
        UsageError: The url is none, or has a password in it.
    """

    url: str
    job: str
    instance: str | None = None
    user: tuple[str, str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what is no place to push to."""
        try:
            parts = urlsplit(self.url)
            sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
        except ValueError:
            sound = False
        if not sound:
            raise _refusal(
                f"{_without_secrets(self.url)!r} is not the URL of a gateway",
                next_step="statepipe metrics push http://gateway:9091",
            )
        if "@" in parts.netloc:
            raise _refusal(
                "the URL of the gateway has a user in it, which everybody on this machine can see",
                next_step="--auth-file FILE   # with one line user:password",
            )
        if not self.job or self.instance == "":
            raise _refusal("a group needs a job that is not empty", next_step="--job nightly")

    def put(self, families: Sequence[Family]) -> None:
        """
        Put `families` there, instead of whatever the group holds.

        Raises:
            Unreachable: The gateway did not take it; what it holds is as it was.
        """
        self._ask(
            partial(push_to_gateway, self.url, job=self.job, registry=Collector(families)),
            failed="what the gateway holds is as it was",
        )

    def delete(self) -> None:
        """
        Take the group away; no error if it is not there.

        Raises:
            Unreachable: The gateway did not do it.
        """
        self._ask(
            partial(delete_from_gateway, self.url, job=self.job),
            failed="the group is still there, and shows old numbers as if they were new",
        )

    def _ask(self, call: Callable[..., None], *, failed: str) -> None:
        handler = _DEFAULT_HANDLER
        if self.user is not None:
            user, password = self.user
            handler = partial(basic_auth_handler, username=user, password=password)
        labels = {} if self.instance is None else {"instance": self.instance}
        try:
            call(grouping_key=labels, timeout=_TIMEOUT_S, handler=handler)
        except (OSError, HTTPException) as error:
            raise Unreachable(
                f"the gateway {self.url} says: {_said(error)}",
                meaning=failed,
                next_step="the same command again; nothing is counted twice",
            ) from None


def _said(error: Exception) -> str:
    if isinstance(error, HTTPError):
        with error:
            text = error.read(_SAID_CHARS_MAX).decode(errors="replace").strip()
        return f"{error.code} {error.reason}" + (f": {text}" if text else "")
    return str(getattr(error, "reason", error))


def _without_secrets(url: str) -> str:
    return re.sub(r"//[^/]*@", "//…@", url)


def _refusal(message: str, *, next_step: str) -> UsageError:
    return UsageError(message, meaning="nothing was sent", next_step=next_step)
