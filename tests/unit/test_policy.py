"""Policies: which failures are retried, how long the pauses are, and what is refused."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statepipe.errors import DefinitionError
from statepipe.policy import DURATION_MS_MAX, Policy, policy_fields

ACHES = ["TaskTimeout", "TaskError", "TimeoutError", "OSError", "Exception"]


def test_a_failure_is_retried_if_any_of_its_classes_is_listed() -> None:
    """A base class in the policy stands for its subclasses."""
    assert Policy(errors=("OSError",)).retries(ACHES)
    assert Policy(errors=("TaskTimeout", "X")).retries(ACHES)
    assert not Policy(errors=("ValueError",)).retries(ACHES)
    assert not Policy(errors=()).retries(ACHES)
    assert Policy(errors=("*",)).retries(["Anything"])


def test_fatal_is_never_retried() -> None:
    """Not by "*", not by its own name, not by a base class."""
    names = ["MyFatal", "Fatal", "TaskError", "Exception"]

    for errors in (("*",), ("Fatal",), ("MyFatal",), ("Exception",)):
        assert not Policy(errors=errors).retries(names)


def test_pauses_grow_to_their_bound() -> None:
    """interval, then times backoff_rate each, never above max_delay."""
    policy = Policy(interval_ms=1_000, backoff_rate=2.0, max_delay_ms=5_000, jitter="none")
    rng = random.Random(1)

    pauses = [policy.pause_ms(attempt=n, rng=rng) for n in range(1, 6)]

    assert pauses == [1_000, 2_000, 4_000, 5_000, 5_000]


@given(attempt=st.integers(1, 10**9), rate=st.floats(1.0, 1_000.0), seed=st.integers())
def test_no_pause_is_outside_its_bounds(attempt: int, rate: float, seed: int) -> None:
    """Full jitter from 0, equal jitter from half, whatever the attempt; no overflow."""
    rng = random.Random(seed)
    whole = Policy(backoff_rate=rate, jitter="none").pause_ms(attempt=attempt, rng=rng)

    full = Policy(backoff_rate=rate, jitter="full").pause_ms(attempt=attempt, rng=rng)
    equal = Policy(backoff_rate=rate, jitter="equal").pause_ms(attempt=attempt, rng=rng)

    assert 1_000 <= whole <= 60_000
    assert 0 <= full <= whole
    assert whole // 2 <= equal <= whole


def test_what_the_server_asked_for_wins() -> None:
    """Retry-After replaces the computed pause, shorter or longer; a year is the most."""
    policy = Policy(max_delay_ms=1_000)
    rng = random.Random(1)

    for asked, taken in ((0, 0), (7, 7), (90_000, 90_000), (-5, 0), (10**30, DURATION_MS_MAX)):
        assert policy.pause_ms(attempt=1, rng=rng, retry_after_ms=asked) == taken


def test_people_write_durations_and_retries() -> None:
    """Every key, in the form people use."""
    fields = policy_fields(
        {
            "errors": ["ConnectionError", "Throttled"],
            "retries": 4,
            "interval": "500ms",
            "backoff_rate": 3,
            "max_delay": "PT2M",
            "jitter": "equal",
            "max_elapsed": "1h",
            "timeout": "1h30m",
            "grace": "0s",
            "heartbeat": "30s",
            "max_lost": 5,
            "executor": "thread",
            "batch_size": 250,
        }
    )

    assert Policy(**fields) == Policy(
        errors=("ConnectionError", "Throttled"),
        max_attempts=5,
        interval_ms=500,
        backoff_rate=3.0,
        max_delay_ms=120_000,
        jitter="equal",
        max_elapsed_ms=3_600_000,
        timeout_ms=5_400_000,
        grace_ms=0,
        heartbeat_ms=30_000,
        max_lost=5,
        executor="thread",
        batch_size=250,
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"max_attempts": 0}, "max_attempts is 0; it counts all tries, the first included"),
        ({"max_attempts": -1}, "max_attempts is -1, outside 1..1000"),
        ({"max_attempts": True}, "max_attempts is True, not a whole number"),
        ({"max_attempts": "3"}, "max_attempts is '3', not a whole number"),
        ({"retries": -1}, "retries is -1, outside 0..999"),
        ({"retries": 2, "max_attempts": 3}, "retries and max_attempts say the same thing"),
        ({"intervall": "1s"}, 'unknown key "intervall"; did you mean "interval"?'),
        ({"timeout": 90}, "timeout is 90; a duration carries its unit"),
        ({"timeout": "soon"}, "timeout: 'soon' is not a duration"),
        ({"timeout": "0s"}, "timeout is 0 ms, outside 1 ms..365 days"),
        ({"timeout": "400d"}, "timeout is 34560000000 ms, outside"),
        ({"timeout": "9" * 400 + "d"}, "timeout: "),
        ({"backoff_rate": "2"}, "backoff_rate is '2', not a number"),
        ({"backoff_rate": 0.5}, "backoff_rate is 0.5, outside 1.0..1000.0"),
        ({"backoff_rate": float("nan")}, "backoff_rate is nan, outside"),
        ({"backoff_rate": 10**400}, "outside 1.0..1000.0"),
        ({"jitter": "ful"}, "jitter is 'ful'; did you mean \"full\"?"),
        ({"executor": "threads"}, "executor is 'threads'; did you mean \"thread\"?"),
        ({"executor": 1}, "executor is 1, not text"),
        ({"batch_size": 0}, "batch_size is 0, outside 1.."),
        ({"errors": [1]}, "errors has 1, which is not the name of an exception class"),
        ({"errors": ["a.b"]}, "errors has 'a.b', which is not the name"),
    ],
)
def test_what_governs_nothing_is_refused(values: dict[str, object], said: str) -> None:
    """Each mistake by place and key, with a way out."""
    with pytest.raises(DefinitionError) as refusal:
        policy_fields(values, where="statepipe.toml: policies.p")

    assert refusal.value.message.startswith("statepipe.toml: policies.p: ")
    assert said in refusal.value.message
    assert refusal.value.next_step


def test_a_digest_names_one_policy() -> None:
    """Equal policies share it, any other field gives another."""
    assert Policy().digest == Policy().digest == Policy(**policy_fields({})).digest
    assert len(Policy().digest) == 16
    assert Policy().digest != Policy(max_attempts=4).digest
