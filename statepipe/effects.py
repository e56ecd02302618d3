"""
How often what is loaded arrives, and what a load may therefore say; pure.

    EXACTLY_ONCE, AT_LEAST_ONCE
    effect_of       what a load is: by its destination, or as its author declares
    is_http         is it an address that records are POSTed to?
    contradiction   what a load says that its destination does not have

A destination with a ledger is exactly once by itself. One over HTTP has none: a request
whose answer was lost is made again. It carries the same Idempotency-Key then, and whoever
knows that the receiver honours it may declare the load `exactly_once`. Nobody else can
tell, so it is the author's word.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

EXACTLY_ONCE: Final = "exactly_once"
AT_LEAST_ONCE: Final = "at_least_once"
EFFECTS: Final = (EXACTLY_ONCE, AT_LEAST_ONCE)

#: What the body of one request is: a JSON array, JSON Lines, or one record.
BODIES: Final = ("array", "lines", "record")

#: Credentials, by reference: one for a bearer token, a user and one for the password, or
#: one for each header, or "?name" of the query.
Auth = str | tuple[str, str] | Mapping[str, str] | None

_REFERENCES: Final = ("env:", "file:")


class Contradiction(NamedTuple):
    """What is wrong, and what to write instead."""

    message: str
    next_step: str


def is_http(address: str) -> bool:
    """Return True if records are POSTed to `address`."""
    return address.lower().startswith(("http://", "https://"))


def effect_of(to: str, declared: str) -> str:
    """Return the effect of a load; "" if only the reference `to` knows."""
    if declared or to.startswith(_REFERENCES):
        return declared
    return AT_LEAST_ONCE if is_http(to) else EXACTLY_ONCE


def contradiction(
    address: str, *, table: str, replaces: bool, effect: str, body: str, auth: Auth
) -> Contradiction | None:
    """Return what a load says that the destination at `address`, no reference, does not have."""
    if not is_http(address):
        return _of_ledger(address, table=table, effect=effect, body=body, auth=auth)
    if table:
        return Contradiction(
            f"there is a table, {table!r}, and an address to POST to has none",
            "remove table; the path of the address says what the records are",
        )
    if "@" in address.partition("://")[2].partition("/")[0]:
        return Contradiction(
            "the address has a user in it", 'auth = ["user", "env:PASSWORD"] beside it instead'
        )
    if replaces:
        return Contradiction(
            'mode is "replace", and what was POSTed cannot be taken back',
            "remove mode, or give a key if the receiver upserts by one",
        )
    return None


def _of_ledger(
    address: str, *, table: str, effect: str, body: str, auth: Auth
) -> Contradiction | None:
    if not table:
        return Contradiction('key "table" is missing', 'table = "…"')
    if body or auth is not None:
        key = "body" if body else "auth"
        return Contradiction(f"{key} is for records that are POSTed", f"remove {key}")
    if effect == AT_LEAST_ONCE:
        kind = address.partition(":")[0]
        return Contradiction(
            f'effect is "{AT_LEAST_ONCE}", and {kind} is exactly once by its ledger',
            "remove effect",
        )
    return None
