"""
Checks that the parts of a definition share: of names, texts, limits, and addresses.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs, unquote
from zoneinfo import ZoneInfo, available_timezones

from statepipe.policy import STATE_KEYS, policy_fields
from statepipe.suggest import did_you_mean
from statepipe.tables import refusal
from statepipe.tasknames import task_of
from statepipe.units import parse_share

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_TEXT_MAX: Final = 2_000

_MODES: Final = ("append", "upsert", "replace")

#: How a secret is referred to; `io.secrets` reads it.
_REFERENCES: Final = ("env:", "file:")


def check_name(what: str, name: object) -> None:
    """
    Refuse what cannot name a machine, a state or an event.

    Raises:
        DefinitionError: If `name` is not a-z, then a-z, 0-9, - or _, at most 64 characters.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise refusal(
            f"{what}: {name!r} is not a name",
            next_step="a name is a-z, then a-z, 0-9, - or _, at most 64 characters",
        )


def check_machine_name(name: object) -> None:
    """
    Refuse what can name no machine: neither an author's nor one that a task becomes.

    Raises:
        DefinitionError: As `check_name`.
    """
    for part in (isinstance(name, str) and task_of(name)) or (name,):
        check_name("machine", part)


def check_names(what: str, names: tuple[str, ...]) -> None:
    """
    Refuse what is no tuple of names.

    Raises:
        DefinitionError: As `check_name`.
    """
    if not isinstance(names, tuple):
        raise refusal(f"{what} is {names!r}, not a tuple of names", next_step=f'{what}=("oncall",)')
    for name in names:
        check_name(what, name)


def check_text(key: str, value: object) -> None:
    """
    Refuse what is no text, an empty one, or one too long.

    Raises:
        DefinitionError: If `value` is not text of 1..2,000 characters without NUL.
    """
    if not isinstance(value, str) or not 0 < len(value) <= _TEXT_MAX or "\0" in value:
        raise refusal(
            f"{key} is {value!r}, not text of 1..{_TEXT_MAX} characters",
            next_step=f'{key} = "…"',
        )


def check_load(to: object, *, table: str, key: tuple[str, ...], mode: str) -> str:
    """
    Refuse a load that says too little, too much, or contradicts itself.

    Args:
        to: The destination's address. It may hold no password, because a definition is
            kept in the store and printed by commands; it may hold a reference to one.
        table: The table.
        key: Columns of the key.
        mode: "append", "upsert" or "replace", or "" for what the key says.

    Returns:
        The mode, never "".

    Raises:
        DefinitionError: With no word of a password.
    """
    if isinstance(to, str) and not all(map(is_reference, _passwords(to))):
        raise refusal(
            "to has a password in it, which would be kept in the store",
            next_step="write ?password=env:NAME at its end instead (auth, for a POST),"
            ' or the whole address as a reference: to = "env:NAME"',
        )
    check_text("to", to)
    if table != "":
        check_text("table", table)
    for column in key:
        check_text("key", column)
    if len(set(key)) != len(key):
        raise refusal(f"key names a column twice: {', '.join(key)}", next_step='key = ["id"]')
    if mode not in {"", *_MODES}:
        raise refusal(
            f"mode is {mode!r}{did_you_mean(mode, _MODES)}",
            next_step=f"write one of {', '.join(_MODES)}",
        )
    if mode == "upsert" and not key:
        raise refusal('mode is "upsert", but there is no key', next_step='key = ["id"]')
    if mode == "append" and key:
        raise refusal(
            'mode is "append", but there is a key to upsert by',
            next_step="leave the key out, or the mode",
        )
    return mode or ("upsert" if key else "append")


def check_auth(auth: object) -> None:
    """
    Refuse credentials that are not given by reference.

    Raises:
        DefinitionError: With no word of a credential.
    """
    said: list[object] = []
    if isinstance(auth, str):
        said = [auth]
    elif isinstance(auth, tuple) and len(auth) == 2:  # noqa: PLR2004  (user and password)
        said = [auth[1]]
    elif isinstance(auth, Mapping) and auth:
        said = list(auth.values())
    elif auth is None:
        return
    if not said or not all(isinstance(each, str) and is_reference(each) for each in said):
        raise refusal(
            "auth holds something else than references",
            next_step='auth = "env:TOKEN" for a bearer token, ["user", "env:PASSWORD"],'
            ' or { "X-Api-Key" = "env:KEY" }',
        )


def is_reference(text: str) -> bool:
    """Return True if `text` says where a secret is, instead of being one."""
    return text.startswith(_REFERENCES)


def check_policy(
    settings: Mapping[str, Any], retry: str | Mapping[str, Any] | None, *, where: str
) -> None:
    """
    Refuse what says of a task how it runs, and of its retries, what nobody knows.

    Args:
        settings: In people's keys.
        retry: The name of a policy, or a policy's keys, or None.
        where: Whose they are, for the message.

    Raises:
        DefinitionError: A key is unknown, or a value out of range.
    """
    if unknown := [key for key in settings if key not in STATE_KEYS]:
        raise refusal(
            f'unknown setting "{unknown[0]}"{did_you_mean(unknown[0], STATE_KEYS)}',
            next_step=f"the settings of a task are {', '.join(STATE_KEYS)}",
        )
    policy_fields(settings, where=where)
    if isinstance(retry, str):
        check_name("retry", retry)
    elif retry is not None:
        policy_fields(retry, where=f"{where}, retry")


def check_contract(contract: object) -> None:
    """
    Refuse what names no contract beside the machines.

    Raises:
        DefinitionError: If it is no text, or leads out of their folder.
    """
    check_text("contract", contract)
    if ".." in str(contract).split("/") or str(contract).startswith("/"):
        raise refusal(
            f'contract "{contract}" leaves the folder of the machines',
            next_step='keep contracts beside the machine: "contracts/flight.json"',
        )


def check_function(function: str | Callable[..., Any]) -> None:
    """
    Refuse what names no function, and is none.

    Raises:
        DefinitionError: It is neither "module:name" nor something that can be called.
    """
    if not (is_function_name(function) if isinstance(function, str) else callable(function)):
        raise refusal(
            f"{function!r} does not name a function",
            next_step='write "module:function", for example "flights:extract"',
        )


def reference_of(function: str | Callable[..., Any]) -> str:
    """Return a function as text, "module:name"; what a definition's digest contains."""
    if isinstance(function, str):
        return function
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', '?')}:{name}"


def is_function_name(text: str) -> bool:
    """Return True if `text` names a function: "module:name"."""
    return _FUNCTION.fullmatch(text) is not None


def check_once(what: str, names: list[str]) -> None:
    """
    Refuse a name that stands for two things.

    Raises:
        DefinitionError: If `names` has one of them twice.
    """
    for name in names:
        if names.count(name) > 1:
            raise refusal(f'{what} "{name}" is there twice', next_step="rename one of them")


def check_one_of(key: str, value: object, choices: Sequence[str]) -> None:
    """
    Refuse what is none of `choices`.

    Raises:
        DefinitionError: With the nearest of them, and all of them.
    """
    if value not in choices:
        raise refusal(
            f"{key}: there is no {value!r}{did_you_mean(str(value), choices)}",
            next_step=f"it is one of {', '.join(choices)}",
        )


def check_zone(tz: str) -> None:
    """
    Refuse what names no time zone.

    Raises:
        DefinitionError: With the nearest that there is.
    """
    check_text("tz", tz)
    try:
        ZoneInfo(tz)
    except (LookupError, ValueError, OSError):
        raise refusal(
            f"tz: there is no time zone {tz!r}{did_you_mean(tz, sorted(available_timezones()))}",
            next_step='tz = "Europe/Berlin", a name of the IANA database',
        ) from None


def check_limit(key: str, limit: object, *, of: str) -> None:
    """
    Refuse what is neither a share nor a number from 0.

    Args:
        key: Its name.
        limit: The value.
        of: What is counted, for the message: "records".

    Raises:
        DefinitionError: It is none.
    """
    example = f'{key} = "5%", or a number of {of}: {key} = 100'
    if isinstance(limit, str):
        try:
            parse_share(limit)
        except ValueError as error:
            raise refusal(f"{key}: {error}", next_step=example) from None
    elif type(limit) is not int or limit < 0:
        raise refusal(
            f"{key} is {limit!r}, neither a share nor a number of {of}", next_step=example
        )


def _passwords(address: str) -> Iterator[str]:
    """Yield what may be a password; rather too much, where an address is hard to read."""
    _, _, rest = address.partition("://")
    for end in "" if rest.startswith("/") else "/?":
        login, _, _ = rest.partition(end)[0].rpartition("@")
        _, _, password = login.partition(":")
        if password:
            yield unquote(password)
    for name, values in parse_qs(rest.partition("?")[2]).items():
        if name.endswith(("password", "secret", "token", "api_key", "apikey")):
            yield from values
