"""
How the instances of a machine share workers: who goes first, which workers, how many at a time.

    Sharing             what is said of one machine, complete
    Concurrency         how many of its instances may have one key at a time
    sharing_fields      what people write, as fields of a Sharing
    queue_name          the name of a queue

    priority  = 10              # the higher goes first, always; 0 unless it is said
    queue     = "heavy"         # workers of that queue alone drive it; "default"
    ready_max = 1_000           # no more are made while so many are ready and nobody drives them
    concurrency = { key = "{params.day}", limit = 1, behavior = "queue" }

In a machine file, or in `[machines.NAME]` of `statepipe.toml`, which wins key by key. Whose turn
it is, is the subject of `store.walk.ready`; what may be made, that of `store.walk.admission`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from statepipe.errors import BadParameter, DefinitionError
from statepipe.filling import filled, has_braces, params_in
from statepipe.suggest import did_you_mean
from statepipe.tables import known, refusal
from statepipe.terms import Behavior, Terms

DEFAULT_QUEUE: Final = "default"
#: Priorities are -100..100.
PRIORITY_MAX: Final = 100
LIMIT_MAX: Final = 100_000
READY_MAX: Final = 10_000_000
#: Of a key, the machine's name included, with the parameters in it.
KEY_CHARS_MAX: Final = 1_200
_TEXT_CHARS_MAX: Final = 1_000

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """
    How many instances of a machine may have one key at a time.

    Attributes:
        key: Text with parameters in it, such as "{params.day}".
        limit: So many may have begun and not ended, 1..100,000. What is paused, has failed or
            was cancelled does not count; what waits for an event or a retry does.
        behavior: What becomes of one more: "queue" lets it wait for its turn, the higher priority
            first, then the older one; with "skip" it is not made; with "cancel" the oldest are
            cancelled, and it waits until they have ended.

    Raises:
        DefinitionError: If one of them is out of range.
    """

    key: str
    limit: int = 1
    behavior: Behavior = "queue"

    def __post_init__(self) -> None:
        """Refuse what limits nothing, or everything."""
        if not self.key or has_braces(self.key):
            raise refusal(
                f"key is {self.key!r}, not text with parameters in it",
                next_step='concurrency = { key = "{params.day}" }',
            )
        if len(self.key) > _TEXT_CHARS_MAX:
            raise refusal(
                f"key has {len(self.key):,} characters, more than {_TEXT_CHARS_MAX:,}",
                next_step='key = "{params.day}"',
            )
        if type(self.limit) is not int or not 1 <= self.limit <= LIMIT_MAX:
            raise refusal(
                f"limit is {self.limit!r}, outside 1..{LIMIT_MAX:,}", next_step="limit = 1"
            )
        if self.behavior not in get_args(Behavior):
            choices = get_args(Behavior)
            raise refusal(
                f"behavior is {self.behavior!r}{did_you_mean(str(self.behavior), choices)}",
                next_step="behavior is one of " + ", ".join(f'"{each}"' for each in choices),
            )

    @property
    def params(self) -> tuple[str, ...]:
        """The parameters that its key names."""
        return params_in(self.key)

    def key_of(self, machine: str, params: Mapping[str, Any]) -> str:
        """
        Return the key of one instance; other machines have others.

        Raises:
            BadParameter: It is longer than KEY_CHARS_MAX with these parameters.
        """
        key = f"{machine}:{filled(self.key, params)}"
        if len(key) > KEY_CHARS_MAX:
            raise BadParameter(
                f"the key of {machine}'s concurrency has {len(key):,} characters with these"
                f" parameters, more than {KEY_CHARS_MAX:,}",
                meaning="nothing was created",
                next_step="name a shorter parameter in concurrency.key",
            )
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """
    How the instances of one machine share workers.

    Attributes:
        priority: Of an instance that is made without one of its own, -100..100.
        queue: Of its states that say none themselves.
        ready_max: No instance is made while so many are ready and driven by nobody; None for
            no bound.
        concurrency: How many may have one key at a time; None if they have no key.
    """

    priority: int = 0
    queue: str = DEFAULT_QUEUE
    ready_max: int | None = None
    concurrency: Concurrency | None = None

    def key_of(self, machine: str, params: Mapping[str, Any]) -> str | None:
        """Return the key of one instance, None if it has none; raises as `Concurrency.key_of`."""
        return None if self.concurrency is None else self.concurrency.key_of(machine, params)

    @property
    def terms(self) -> Terms:
        """On what terms instances are made."""
        if self.concurrency is None:
            return Terms(ready_max=self.ready_max)
        return Terms(self.concurrency.limit, self.concurrency.behavior, self.ready_max)


def sharing_fields(values: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """
    Return people's `values` as fields of a Sharing, by field name; only what they say.

    Args:
        values: Of its keys, those that are there.
        where: What to put in front of a key in error messages.

    Raises:
        DefinitionError: If a value is of the wrong kind or range.
    """
    return {key: _KEYS[key](f"{where}{key}", values[key]) for key in _KEYS if key in values}


def queue_name(key: str, value: object) -> str:
    """
    Return `value`, which must be the name of a queue.

    Raises:
        DefinitionError: It is none.
    """
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise refusal(
            f"{key}: {value!r} is not the name of a queue",
            next_step="a name is a-z, then a-z, 0-9, - or _, at most 64 characters",
        )
    return value


def priority_of(key: str, value: object) -> int:
    """
    Return `value`, which must be a priority.

    Raises:
        DefinitionError: It is none.
    """
    return _whole(key, value, -PRIORITY_MAX, PRIORITY_MAX)


def _whole(key: str, value: object, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise refusal(
            f"{key} is {value!r}, not a whole number from {low:,} to {high:,}",
            next_step=f"{key.rpartition('.')[2]} = 10",
        )
    return value


def _concurrency(key: str, value: object) -> Concurrency:
    if not isinstance(value, Mapping):
        raise refusal(
            f"{key} is {value!r}, not a table",
            next_step='concurrency = { key = "{params.day}", limit = 1, behavior = "queue" }',
        )
    known(value, ("key", "limit", "behavior"), where=key)
    if not isinstance(value.get("key"), str):
        raise refusal(f"{key} has no key", next_step='concurrency = { key = "{params.day}" }')
    try:
        return Concurrency(**value)
    except DefinitionError as error:
        raise refusal(f"{key}: {error.message}", next_step=error.next_step) from None


_KEYS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "priority": priority_of,
    "queue": queue_name,
    "ready_max": lambda key, value: _whole(key, value, 1, READY_MAX),
    "concurrency": _concurrency,
}

#: What a machine file, or a table `[machines.NAME]`, may say of it.
SHARING_KEYS: Final = tuple(_KEYS)
