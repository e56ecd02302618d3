"""
How a task is retried, timed out and limited: one frozen value, and its parsing.

    Policy          the merged result that governs an attempt; in milliseconds
    policy_fields   what people write (`timeout = "90s"`) as fields of a Policy

Where the parts of a policy come from, and which wins, is the subject of `statepipe.config`.
"""

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

from statepipe.errors import DefinitionError
from statepipe.suggest import did_you_mean
from statepipe.tables import known, refusal
from statepipe.units import parse_duration_ms

Jitter = Literal["full", "equal", "none"]
ExecutorKind = Literal["process", "thread", "inline"]

#: In `errors`: retry whatever the class, `Fatal` always excepted.
ANY_ERROR: Final = "*"

#: The longest duration of any kind, a server's Retry-After included: one year.
#: What the store computes with it stays far inside 64 bits.
DURATION_MS_MAX: Final = 365 * 86_400_000

ATTEMPTS_MAX: Final = 1_000
BATCH_SIZE_MAX: Final = 10_000_000
PARALLEL_MAX: Final = 64
_RATE_MAX: Final = 1_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    How the task of one state is retried, timed out and limited.

    Attributes:
        errors: Class names that are worth another try; a base class stands for
            its subclasses, "*" for any error. `Fatal` is never retried.
        max_attempts: All tries, the first included, 1..1000. 1 means never retry.
        interval_ms: Pause after the first failed try, before jitter.
        backoff_rate: What each further pause is multiplied by, 1.0..1000.0.
        max_delay_ms: Upper bound of any computed pause.
        jitter: "full" draws from 0..pause, "equal" from half..pause, "none" takes the pause.
        max_elapsed_ms: No new try after this long in the state, or None for no such bound.
        timeout_ms: How long one attempt may take before it is killed.
        grace_ms: How long a task that was asked to stop may still take.
        heartbeat_ms: An attempt silent for this long is killed, or None.
        max_lost: How many times in a row the driver may die without progress, 1..1000.
        executor: Where the task runs: a process of its own, a thread, or the loop itself.
        batch_size: How many records a batch should hold, at least 1.
        batch_size_min: How small batches may become where the other side throttles or is too
            slow, 1..batch_size: the size is halved then, and recovers with each committed
            batch. None if the size does not adapt.
        parallel: How many batches of the input are worked on at once, each by a worker of
            its own, 1..64. Where a worker runs is the executor's matter; "inline" has one.

    Raises:
        DefinitionError: If a value is outside its range.
    """

    errors: tuple[str, ...] = (
        "Throttled",
        "ConnectionError",
        "TimeoutError",
        "TaskCrashed",
        "Busy",  # a destination that somebody else keeps locked
    )
    max_attempts: int = 3
    interval_ms: int = 1_000
    backoff_rate: float = 2.0
    max_delay_ms: int = 60_000
    jitter: Jitter = "full"
    max_elapsed_ms: int | None = None
    timeout_ms: int = 3_600_000
    grace_ms: int = 5_000
    heartbeat_ms: int | None = None
    max_lost: int = 20
    executor: ExecutorKind = "process"
    batch_size: int = 1_000
    batch_size_min: int | None = None
    parallel: int = 1

    def __post_init__(self) -> None:
        """Refuse what no attempt could be governed by."""
        if self.max_attempts == 0:
            raise refusal(
                "max_attempts is 0; it counts all tries, the first included",
                next_step="max_attempts = 1 for a task that is never retried",
            )
        _within("max_attempts", self.max_attempts, 1, ATTEMPTS_MAX)
        _within("max_lost", self.max_lost, 1, ATTEMPTS_MAX)
        _within("batch_size", self.batch_size, 1, BATCH_SIZE_MAX)
        if self.batch_size_min is not None:
            _within("batch_size_min", self.batch_size_min, 1, BATCH_SIZE_MAX)
        _within("parallel", self.parallel, 1, PARALLEL_MAX)
        _within("backoff_rate", self.backoff_rate, 1.0, _RATE_MAX)
        _duration("interval", self.interval_ms, 0)
        _duration("max_delay", self.max_delay_ms, 0)
        _duration("grace", self.grace_ms, 0)
        _duration("timeout", self.timeout_ms, 1)
        if self.max_elapsed_ms is not None:
            _duration("max_elapsed", self.max_elapsed_ms, 1)
        if self.heartbeat_ms is not None:
            _duration("heartbeat", self.heartbeat_ms, 1)
        if self.jitter not in get_args(Jitter):
            raise _one_of("jitter", self.jitter, get_args(Jitter))
        if self.executor not in get_args(ExecutorKind):
            raise _one_of("executor", self.executor, get_args(ExecutorKind))

    def refuse_misfit(self, *, where: str) -> None:
        """
        Refuse fields that do not go together; each may have been said in another place.

        Not when a policy is built: attempts of the past may have been governed by such a one.

        Raises:
            DefinitionError: Batches could become no smaller.
        """
        least, size = self.batch_size_min or 1, self.batch_size
        if least > size:
            raise refusal(
                f"{where}: batch_size_min is {least}, above batch_size, which is {size}",
                next_step=f"batch_size_min = {size}, or less",
            )

    def retries(self, names: Iterable[str]) -> bool:
        """
        Return True if a failure is worth another try, attempts left or not.

        Args:
            names: Class names of the error, most derived first.
        """
        seen = set(names)
        if "Fatal" in seen:
            return False
        return ANY_ERROR in self.errors or not seen.isdisjoint(self.errors)

    def pause_ms(
        self, *, attempt: int, rng: random.Random, retry_after_ms: int | None = None
    ) -> int:
        """
        Return how many milliseconds to wait after failed `attempt`, counted from 1.

        What the other side asked for (`retry_after_ms`) always wins, above
        `max_delay_ms` too; only `DURATION_MS_MAX` bounds it.
        """
        if retry_after_ms is not None:
            return min(max(retry_after_ms, 0), DURATION_MS_MAX)
        try:
            raised = self.interval_ms * self.backoff_rate ** (attempt - 1)
        except OverflowError:
            raised = float(self.max_delay_ms)
        longest = round(min(raised, self.max_delay_ms))
        if self.jitter == "none":
            return longest
        shortest = longest // 2 if self.jitter == "equal" else 0
        return rng.randint(shortest, longest)

    def to_dict(self) -> dict[str, Any]:
        """Return the policy as plain data, by field name."""
        return {**asdict(self), "errors": list(self.errors)}

    @property
    def digest(self) -> str:
        """16 hex digits that name exactly this policy; stored with each attempt it governed."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def policy_fields(values: Mapping[str, Any], *, where: str = "policy") -> dict[str, Any]:
    """
    Return people's `values` as fields of a Policy, by field name; only what they say.

    Args:
        values: People's keys, as in a table of `statepipe.toml`.
        where: Names the place in error messages: a file and a key path.

    Raises:
        DefinitionError: If a key is unknown, or a value of the wrong kind or range.
    """
    fields: dict[str, Any] = {}
    known(values, _KEYS, where=where)
    for key, value in values.items():
        field, read = _KEYS[key]
        if field in fields:
            raise refusal(
                f"{where}: retries and max_attempts say the same thing; keep one",
                next_step="retries = n is max_attempts = n + 1",
            )
        try:
            fields[field] = read(key, value)
            Policy(**{field: fields[field]})
        except DefinitionError as error:
            raise DefinitionError(
                f"{where}: {error.message}", meaning=error.meaning, next_step=error.next_step
            ) from None
    return fields


def _one_of(key: str, value: object, choices: tuple[str, ...]) -> DefinitionError:
    return refusal(
        f"{key} is {value!r}{did_you_mean(str(value), choices)}",
        next_step=f"{key} is one of " + ", ".join(f'"{choice}"' for choice in choices),
    )


def _within(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise refusal(
            f"{key} is {value}, outside {low}..{high}", next_step=f"a {key} from {low} to {high}"
        )


def _duration(key: str, ms: int, low_ms: int) -> None:
    if not low_ms <= ms <= DURATION_MS_MAX:
        raise refusal(
            f"{key} is {ms} ms, outside {low_ms} ms..365 days",
            next_step=f'{key} = "90s", for example',
        )


def _read_duration(key: str, value: object) -> int:
    if not isinstance(value, str):
        raise refusal(
            f"{key} is {value!r}; a duration carries its unit",
            next_step=f'{key} = "90s", "10m", "1h30m" or "PT15M"',
        )
    try:
        return parse_duration_ms(value)
    except (ValueError, OverflowError) as error:
        raise refusal(f"{key}: {error}", next_step=f'{key} = "90s", for example') from None


def _read_int(key: str, value: object) -> int:
    if type(value) is not int:
        raise refusal(f"{key} is {value!r}, not a whole number", next_step=f"{key} = 3")
    return value


def _read_retries(key: str, value: object) -> int:
    retries = _read_int(key, value)
    _within(key, retries, 0, ATTEMPTS_MAX - 1)
    return retries + 1


def _read_rate(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refusal(f"{key} is {value!r}, not a number", next_step=f"{key} = 2.0")
    _within(key, value, 1.0, _RATE_MAX)
    return float(value)


def _read_text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise refusal(f"{key} is {value!r}, not text", next_step=f'write {key} in quotes ("…")')
    return value


def _read_errors(key: str, value: object) -> tuple[str, ...]:
    names = value if isinstance(value, list | tuple) else [value]
    for name in names:
        if not isinstance(name, str) or not (name == ANY_ERROR or name.isidentifier()):
            raise refusal(
                f"{key} has {name!r}, which is not the name of an exception class",
                next_step=f'{key} = ["ConnectionError", "Throttled"], or ["*"] for any',
            )
    return tuple(names)


#: What people write, the field it sets, and how it is read.
_KEYS: Final[Mapping[str, tuple[str, Callable[[str, Any], Any]]]] = {
    "errors": ("errors", _read_errors),
    "max_attempts": ("max_attempts", _read_int),
    "retries": ("max_attempts", _read_retries),
    "interval": ("interval_ms", _read_duration),
    "backoff_rate": ("backoff_rate", _read_rate),
    "max_delay": ("max_delay_ms", _read_duration),
    "jitter": ("jitter", _read_text),
    "max_elapsed": ("max_elapsed_ms", _read_duration),
    "timeout": ("timeout_ms", _read_duration),
    "grace": ("grace_ms", _read_duration),
    "heartbeat": ("heartbeat_ms", _read_duration),
    "max_lost": ("max_lost", _read_int),
    "executor": ("executor", _read_text),
    "batch_size": ("batch_size", _read_int),
    "batch_size_min": ("batch_size_min", _read_int),
    "parallel": ("parallel", _read_int),
}

#: What a state of a machine file may say itself: how its task runs. How it is
#: retried goes into `retry`, so that a policy has one name and one place.
STATE_KEYS: Final = (
    "timeout",
    "grace",
    "heartbeat",
    "executor",
    "batch_size",
    "batch_size_min",
    "parallel",
)
