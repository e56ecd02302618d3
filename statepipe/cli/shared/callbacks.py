"""
Callbacks over HTTP, for as long as a worker works.

    taking      serve them while a block runs, if an address was given
    answered    what one call is answered with
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from statepipe.cli.shared.places import config_here
from statepipe.cli.shared.session import Session
from statepipe.config import Config
from statepipe.engine import Engine
from statepipe.errors import (
    BadParameter,
    BadToken,
    NotFound,
    Refused,
    StatepipeError,
    UsageError,
    ValueRefused,
)
from statepipe.observe.callbacks import Answer, Call, CallbackEndpoint
from statepipe.observe.listening import address_of, tls_of

_STATUSES: Final[Mapping[type[StatepipeError], HTTPStatus]] = {
    BadToken: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Refused: HTTPStatus.CONFLICT,
    BadParameter: HTTPStatus.BAD_REQUEST,
    ValueRefused: HTTPStatus.BAD_REQUEST,
}


@contextmanager
def taking(listen: str | None, cert: str | None, key: str | None) -> Generator[None]:
    """Take callbacks at `listen` while the block runs, if that was given."""
    if listen is None:
        if cert or key:
            raise UsageError(
                "no callbacks are taken, so there is nothing to encrypt",
                meaning="nothing was driven",
                next_step="--callbacks-listen 127.0.0.1:8765",
            )
        yield
        return
    config = config_here()
    with CallbackEndpoint(
        address_of(listen), lambda call: answered(config, call), tls=tls_of(cert, key)
    ) as endpoint:
        Session.current().out().note(f"taking callbacks at {endpoint.url}/callbacks")
        yield


def answered(config: Config, call: Call) -> Answer:
    """Hand a callback on, and return what to answer; an engine is for one thread, so each has."""
    try:
        with Engine(config, create=False) as engine:
            called = engine.callback(call.token, call.event, call.params)
    except StatepipeError as error:
        status = next(
            (code for kind, code in _STATUSES.items() if isinstance(error, kind)),
            HTTPStatus.SERVICE_UNAVAILABLE,
        )
        if status == HTTPStatus.SERVICE_UNAVAILABLE:  # of the store: it names paths
            return Answer(status, {"error": "the store cannot be used now; call again"})
        return Answer(status, {"error": error.message, "meaning": error.meaning})
    repeated = called.is_repeated
    return Answer(HTTPStatus.OK, {"event": called.event, "repeated": repeated})
