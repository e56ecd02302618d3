"""
`[notify.NAME]` in `statepipe.toml`: who is told, of what, and how much of it.

    Target          one of them, complete; in milliseconds
    target_fields   what people write in one table, as fields of a Target
    merged          the tables of all levels as Targets; an overlay wins key by key
    refuse_unknown  names of targets that nobody has declared

How a target is reached is `observe.notices`' part, whether something is to be told
`runtime.notices`'.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from statepipe.errors import DefinitionError
from statepipe.policy import DURATION_MS_MAX
from statepipe.suggest import did_you_mean
from statepipe.tables import known, refusal
from statepipe.units import Rate, parse_duration_ms, parse_rate

#: What a target can be told of.
EVENTS: Final = ("failed", "retries_exhausted", "stalled", "drift", "done", "skipped")

#: What a target is told of that does not say `on`, of the machines it belongs to.
EVENTS_DEFAULT: Final = ("failed", "retries_exhausted", "stalled")

#: The three ways to reach one; each target has exactly one of them.
Way = Literal["url", "webhook", "command"]
WAYS: Final[tuple[Way, ...]] = ("url", "webhook", "command")

#: What may stand in braces in the arguments of a command.
PLACEHOLDERS: Final = ("summary", "event", "machine", "instance", "state", "key")

TIMEOUT_MS_MAX: Final = 300_000

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/[^\0\n]+")
_BRACES = re.compile(r"\{(\w+)\}")
_SHELLS: Final = frozenset({"sh", "bash", "dash", "ksh", "zsh", "ash"})
#: An option that has a shell read the next argument, alone or among others: -c, -euc.
_READS: Final = re.compile(r"-[A-Za-z]*c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """
    One place where people are told.

    Attributes:
        name: What machine files, the outbox and metrics call it.
        url: Where an apprise URL is read from, "env:NAME" or "file:/PATH".
        webhook: An http or https URL, or where it is read from.
        command: A program and its arguments; the words of `PLACEHOLDERS` in braces.
        on: The events it is told of; None if it does not say.
        machines: The machines it is told of without being named by them; None for all.
        rate: How much it is told; None for everything.
        timeout_ms: How long one attempt to tell it may take.
        stalled_after_ms: How long a driver must be gone before an instance is `stalled`.
        repeat_after_ms: How soon `stalled` is said again; None for once.
    """

    name: str
    url: str | None = None
    webhook: str | None = None
    command: tuple[str, ...] | None = None
    on: tuple[str, ...] | None = None
    machines: tuple[str, ...] | None = None
    rate: Rate | None = None
    timeout_ms: int = 10_000
    stalled_after_ms: int = 600_000
    repeat_after_ms: int | None = None

    @property
    def way(self) -> Way:
        """How it is reached."""
        return next(way for way in WAYS if getattr(self, way) is not None)

    @property
    def hears_by_itself(self) -> bool:
        """True if it is told of anything without being named by a machine."""
        return self.on is not None if self.machines is None else bool(self.machines)

    @property
    def for_a_shell(self) -> tuple[str, ...]:
        """The words in braces of its command that a shell would read as a part of its program."""
        arguments = self.command or ()
        for at, each in enumerate(arguments):
            if each.rpartition("/")[2] in _SHELLS:
                # Only the first after its options is a program; the others are its $0, $1, …
                before = ""
                for option, program in pairwise(arguments[at + 1 :]):
                    if not option.startswith(("-", "+")) and before[-1:] not in ("o", "O"):
                        break
                    if _READS.fullmatch(option):
                        return tuple(dict.fromkeys(_BRACES.findall(program)))
                    before = option
        return ()

    def hears(self, event: str, *, machine: str, named: bool) -> bool:
        """
        Return whether it is told of `event` of any instance of `machine`.

        Args:
            event: One of `EVENTS`.
            machine: The machine's name.
            named: True if the machine names it for all of its states.
        """
        own = self.hears_by_itself if self.machines is None else machine in self.machines
        return (named or own) and event in (EVENTS_DEFAULT if self.on is None else self.on)


def target_fields(values: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """
    Return people's `values` as fields of a Target, by field name; only what they say.

    Args:
        values: One table `[notify.NAME]`.
        where: Names the table in error messages.

    Raises:
        DefinitionError: If a key is unknown, or a value of the wrong kind or range. What may
            be a secret is not repeated.
    """
    fields: dict[str, Any] = {}
    known(values, _KEYS, where=where)
    for key, value in values.items():
        field, read = _KEYS[key]
        try:
            fields[field] = read(key, value)
        except DefinitionError as error:
            raise DefinitionError(
                f"{where}: {error.message}", meaning=error.meaning, next_step=error.next_step
            ) from None
    return fields


def merged(levels: Iterable[Mapping[str, Mapping[str, Any]]], *, where: str) -> dict[str, Target]:
    """
    Return the targets by name, from their fields at each level, the weakest level first.

    Another way to reach a target replaces the one below; everything else is merged key by key.

    Raises:
        DefinitionError: If a name is none, or a target is not reached in exactly one way.
    """
    tables: dict[str, dict[str, Any]] = {}
    for level in levels:
        for name, fields in level.items():
            table = tables.setdefault(name, {})
            if any(way in fields for way in WAYS):
                for way in WAYS:
                    table.pop(way, None)
            table.update(fields)
    for name, table in tables.items():
        if not _NAME.fullmatch(name):
            raise refusal(
                f"{where}: notify: {name!r} is not a name",
                next_step="a name is a-z, then a-z, 0-9, - or _, at most 64 characters",
            )
        if sum(way in table for way in WAYS) != 1:
            raise refusal(
                f"{where}: notify.{name} must have exactly one of {', '.join(WAYS)}",
                next_step='url = "env:ONCALL_URL", webhook = "https://…" or command = ["…"]',
            )
    return {name: Target(name=name, **table) for name, table in tables.items()}


def refuse_unknown(named: Iterable[str], targets: Collection[str], *, where: str) -> None:
    """
    Refuse a name that is no target; nobody would ever be told.

    Args:
        named: What `where` names.
        targets: All that there are.
        where: Names the place in error messages.

    Raises:
        DefinitionError: If there is one.
    """
    for name in named:
        if name not in targets:
            raise refusal(
                f'{where}: notify: there is no target "{name}"{did_you_mean(name, targets)}',
                next_step=f"add [notify.{name}] to statepipe.toml",
            )


def _read_reference(key: str, value: object) -> str:
    if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
        raise refusal(
            f"{key} is not a reference; an apprise URL has secrets in it",
            next_step=f'{key} = "env:ONCALL_URL", or "file:/run/secrets/oncall"',
        )
    return value


def _read_webhook(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise refusal(f"{key} is {value!r}, not text", next_step=f'{key} = "https://…"')
    if _REFERENCE.fullmatch(value):
        return value
    problem = webhook_problem(value)
    if problem is None and "@" in urlsplit(value).netloc:
        problem = "has a login in it"
    if problem is not None:
        raise refusal(
            f"{key} {problem}",
            next_step=f'{key} = "https://…", or all of it by reference: "env:NAME", "file:/PATH"',
        )
    return value


def webhook_problem(url: str) -> str | None:
    """Return what is wrong with the URL of a webhook, None if nothing is; never the URL."""
    try:
        parts = urlsplit(url)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https"):
        return "is neither an http nor an https URL"
    printable = url.isascii() and url.isprintable() and " " not in url
    return None if parts.hostname and port_is_right and printable else "is not a URL"


def _read_command(key: str, value: object) -> tuple[str, ...]:
    example = f'{key} = ["mail", "-s", "{{summary}}", "oncall@example.org"]'
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise refusal(
            f"{key} is not a list of a program and its arguments; no shell reads it",
            next_step=example,
        )
    if not value[0] or any("\0" in each for each in value):
        raise refusal(f"{key} names no program", next_step=example)
    for word in (word for each in value for word in _BRACES.findall(each)):
        if word not in PLACEHOLDERS:
            raise refusal(
                f"{key} has {{{word}}}{did_you_mean(word, PLACEHOLDERS)}",
                next_step="in braces may stand " + ", ".join(PLACEHOLDERS),
            )
    return tuple(value)


def _read_events(key: str, value: object) -> tuple[str, ...]:
    events = _read_names(key, value, example='["failed", "stalled"]')
    for event in events:
        if event not in EVENTS:
            raise refusal(
                f'{key}: there is no event "{event}"{did_you_mean(event, EVENTS)}',
                next_step=f"the events are {', '.join(EVENTS)}",
            )
    return events


def _read_names(key: str, value: object, *, example: str = '["orders"]') -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in names):
        raise refusal(f"{key} is {value!r}, not a list of names", next_step=f"{key} = {example}")
    return tuple(dict.fromkeys(names))


def _read_rate(key: str, value: object) -> Rate:
    try:
        return parse_rate(value if isinstance(value, str) else "")
    except ValueError:
        raise refusal(
            f"{key} is {value!r}, not a number of notices in a time",
            next_step=f'{key} = "10/h"; s, m, h or d',
        ) from None


def _read_duration(key: str, value: object) -> int:
    try:
        ms = parse_duration_ms(value) if isinstance(value, str) else -1
    except (ValueError, OverflowError):
        ms = -1
    longest_ms = TIMEOUT_MS_MAX if key == "timeout" else DURATION_MS_MAX
    if not 0 < ms <= longest_ms:
        raise refusal(
            f"{key} is {value!r}, not a duration of more than nothing"
            f" and at most {'5 minutes' if key == 'timeout' else '365 days'}",
            next_step=f'{key} = "{"10s" if key == "timeout" else "1h"}", for example',
        )
    return ms


#: What people write, the field it sets, and how it is read.
_KEYS: Final[Mapping[str, tuple[str, Callable[[str, Any], Any]]]] = {
    "url": ("url", _read_reference),
    "webhook": ("webhook", _read_webhook),
    "command": ("command", _read_command),
    "on": ("on", _read_events),
    "machines": ("machines", _read_names),
    "rate": ("rate", _read_rate),
    "timeout": ("timeout_ms", _read_duration),
    "stalled_after": ("stalled_after_ms", _read_duration),
    "repeat_after": ("repeat_after_ms", _read_duration),
}
