"""Values come back exactly as they went in, or are refused when they are written (R7)."""

import collections
import datetime as dt
import enum
import math
import random
import struct
import threading
import tracemalloc
import uuid
import zoneinfo
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statepipe.errors import DataError, ValueRefused
from statepipe.store.codec import decode, encode
from statepipe.store.plain import DEPTH_MAX

CET = dt.timezone(dt.timedelta(hours=1))
QUIET_NAN = struct.unpack(">d", bytes.fromhex("7ff8000000000001"))[0]
NEGATIVE_NAN = struct.unpack(">d", bytes.fromhex("fff8000000000000"))[0]

EXACT: list[Any] = [
    None, True, False,
    0, 1, -1, 127, 128, -32, -33, 255, 256, 65_535, 65_536, 2**31, -(2**31), 2**32,
    2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, -(2**64), 10**400,
    0.0, -0.0, 1.5, 0.1, 1e308, 5e-324, math.inf, -math.inf, math.nan, QUIET_NAN, NEGATIVE_NAN,
    "", "text", "a\x00b", "naïve", "日本語", "👩‍🚀", "\u202e", "\x1b[31m", "x" * 70_000,
    b"", b"\x00\xff", b"\xc4\xd6\xff", b"x" * 70_000,
    [], [1, "a", None], [[], [[]]], [[1], (1,), {1}],
    {}, {"b": 1, "a": 2}, {1: "a", "1": "b"}, {None: 0, False: 1, b"k": 2}, {1.5: 1, (1, "a"): 2},
    {dt.date(2013, 2, 8): 929}, {Decimal("1.0"): 1, uuid.UUID(int=5): 2}, {"": {"": {"": []}}},
    (), (1,), (1, (2, (3, ()))), ([], {}), [(1, 2), (3, 4)], {"t": ("a", b"b")},
    set(), {1, 2, 3}, {"a", b"a", 1.5, None}, {(1, 2), (3,)}, {"s": {"x"}},
    dt.datetime(2013, 2, 8, 12, tzinfo=dt.UTC), dt.datetime(2013, 2, 8, 12, 0, 0, 1, tzinfo=CET),
    dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=CET),
    dt.datetime(1900, 1, 1, tzinfo=dt.timezone(-dt.timedelta(hours=4, minutes=56, seconds=2))),
    dt.date.min, dt.date.max, dt.date(2013, 2, 8),
    dt.time(), dt.time(23, 59, 59, 999_999), dt.time(1, 2, tzinfo=CET),
    dt.timedelta(), dt.timedelta.min, dt.timedelta.max, dt.timedelta(microseconds=-1),
    Decimal(0), Decimal("-0"), Decimal("1.20"), Decimal("1E+400"), Decimal("0.1") ** 40,
    Decimal("NaN"), Decimal("sNaN123"), Decimal("-Infinity"), Decimal("9" * 200),
    uuid.UUID(int=0), uuid.UUID("12345678-1234-5678-1234-567812345678"),
]  # fmt: skip


class Colour(enum.IntEnum):
    """An int that would come back as a bare one."""

    RED = 1


class Point(NamedTuple):
    """A tuple that would come back without its names."""

    x: int


class Text(str):
    """A str that would come back as its base."""

    __slots__ = ()


class Broken(dt.tzinfo):
    """A time zone that fails."""

    def utcoffset(self, _when: dt.datetime | None) -> dt.timedelta:
        """Fail."""
        raise RuntimeError

    def dst(self, _when: dt.datetime | None) -> dt.timedelta:
        """Fail."""
        raise RuntimeError

    def tzname(self, _when: dt.datetime | None) -> str:
        """Fail."""
        raise RuntimeError


REFUSED: list[tuple[Any, str, str]] = [
    (object(), "$", "builtins.object"),
    ({"rows": [0, 1, 2, {"price": 1j}]}, "$.rows[3].price", "complex"),
    ([lambda: 1], "$[0]", "function"),
    (Colour.RED, "$", "Colour"),
    ({"at": Point(1)}, "$.at", "Point"),
    ([Text("x")], "$[0]", "Text"),
    ({Text("x"): 1}, "$[Text] (the key)", "Text"),
    (collections.OrderedDict(a=1), "$", "OrderedDict"),
    (collections.defaultdict(list), "$", "defaultdict"),
    (collections.deque([1]), "$", "deque"),
    (frozenset({1}), "$", "frozenset"),
    (bytearray(b"x"), "$", "bytearray"),
    ({"a b": [memoryview(b"x")]}, "$['a b'][0]", "memoryview"),
    ({"n": {1: range(3)}}, "$.n[1]", "range"),
    ([(1, {"k": bytearray()})], "$[0][1].k", "bytearray"),
    ([msgpack.ExtType(1, b"\x90")], "$[0]", "ExtType"),
    ([msgpack.Timestamp(1)], "$[0]", "Timestamp"),
    ({msgpack.ExtType(1, b"\x90"): 1}, "$[ExtType] (the key)", "ExtType"),
    ({(1, memoryview(b"")): 1}, "$[tuple] (the key)[1]", "memoryview"),
    ("\ud800", "$", "surrogate"),
    ({"x": ["ok", "a\udfff"]}, "$.x[1]", "surrogate"),
    ({"\ud800": 1}, "$['\\ud800'] (the key)", "surrogate"),
    ({frozenset()}, "${}", "frozenset"),
    (dt.datetime(2013, 2, 8), "$", "offset"),  # noqa: DTZ001  (naive on purpose)
    ({"t": dt.datetime(2013, 2, 8, tzinfo=Broken())}, "$.t", "offset"),
    (dt.time(1, tzinfo=zoneinfo.ZoneInfo("America/New_York")), "$", "offset"),
    (NotImplemented, "$", "NotImplementedType"),
    (dict, "$", "type"),
    (ValueError("x"), "$", "ValueError"),
]


#: What tells two equal values of a type apart.
PICTURES: dict[type, Callable[[Any], object]] = {
    float: lambda value: struct.pack(">d", value),
    Decimal: str,
    dt.datetime: lambda value: (value.isoformat(), str(value.utcoffset())),
    dict: lambda value: list(value.items()),
    set: lambda value: sorted(map(encode, value)),
}


def same(left: Any, right: Any) -> bool:  # noqa: ANN401  (anything)
    """Return whether two values are equal in type, bits, order and offset, all the way down."""
    if type(left) is not type(right):
        return False
    kind = type(left)
    if kind in {list, tuple}:
        return len(left) == len(right) and all(map(same, left, right))
    if kind in PICTURES:
        return same(PICTURES[kind](left), PICTURES[kind](right))
    return bool(left == right)


@pytest.mark.parametrize(
    "value",
    # Names without the value: a set's order and an object's address differ by process.
    [pytest.param(value, id=f"{n}-{type(value).__name__}") for n, value in enumerate(EXACT)],
)
def test_a_plain_value_comes_back_exactly(value: object) -> None:
    """Type, bits, order and offset; alone, in a list, and under a key."""
    assert same(decode(encode(value)), value)
    assert same(decode(encode([value, {"k": value}])), [value, {"k": value}])


def test_the_table_of_values_is_as_long_as_promised() -> None:
    """R7: 78 values and more."""
    assert len(EXACT) >= 78


@pytest.mark.parametrize(
    ("value", "path", "why"),
    [pytest.param(*case, id=f"{n}-{case[2]}") for n, case in enumerate(REFUSED)],
)
def test_what_would_change_is_refused_with_its_path(value: object, path: str, why: str) -> None:
    """The author learns which value it was and why, before anything is written."""
    with pytest.raises(ValueRefused) as refusal:
        encode(value)

    assert refusal.value.message.startswith(f"{path} ")
    assert why in refusal.value.message
    assert refusal.value.meaning
    assert refusal.value.next_step


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_the_deepest_allowed_value_comes_back_and_one_level_more_is_refused(kind: type) -> None:
    """The limit is one number for all containers, and both directions know it."""

    def deeper(value: object) -> object:
        return {"k": value} if kind is dict else kind([value])

    value: object = "x" * 200
    for _ in range(DEPTH_MAX):
        value = deeper(value)

    assert same(decode(encode(value)), value)
    with pytest.raises(ValueRefused, match="deep, or contains itself"):
        encode(deeper(value))


def test_a_value_that_contains_itself_is_refused() -> None:
    """Lists that double at each level must not take for ever, tuples not the stack."""
    twice: list[Any] = []
    twice += [twice, twice]
    inside: list[Any] = []
    around = (inside,)
    inside.append(around)
    mapping: dict[str, Any] = {}
    mapping["self"] = mapping
    hidden: list[Any] = [()]
    for _ in range(400):
        hidden = [hidden]

    for value in (twice, around, mapping, hidden):
        with pytest.raises(ValueRefused, match="deep, or contains itself"):
            encode(value)


def test_a_value_over_the_limit_is_refused_with_both_sizes() -> None:
    """A checkpoint row holds positions and counts; data goes into batches."""
    assert decode(encode("x" * 90, bytes_max=92)) == "x" * 90

    with pytest.raises(ValueRefused, match=r"takes 93 bytes, more than the 92"):
        encode("x" * 91, bytes_max=92)
    with pytest.raises(ValueRefused, match="1,048,576"):
        encode(b"x" * 2**20)


def test_a_datetime_of_a_named_zone_keeps_moment_and_offset() -> None:
    """The name is not kept: it could mean something else when the instance is resumed."""
    winter = dt.datetime(2013, 2, 8, 12, tzinfo=zoneinfo.ZoneInfo("America/New_York"))

    back = decode(encode(winter))

    assert back == winter
    assert back.utcoffset() == dt.timedelta(hours=-5)
    assert type(back.tzinfo) is dt.timezone


def test_equal_sets_have_equal_bytes() -> None:
    """The order of a set depends on the process; digests over its bytes must not."""
    words = [f"word-{number}" for number in range(50)]

    shuffled = set(words[25:])
    shuffled.update(words)
    assert encode(set(words)) == encode(shuffled)


def test_a_failed_encode_leaves_nothing_in_the_next_one() -> None:
    """Packers are used again; half a refused value must not stand before the next."""
    for _ in range(5):
        with pytest.raises(ValueRefused):
            encode(["begun", object()])

        assert decode(encode({"next": 1})) == {"next": 1}


def test_threads_do_not_share_a_packer() -> None:
    """A hook lets another thread run in the middle of a value; both must come out whole."""
    values = [[(number, {"n": number}, Decimal(number))] * 300 for number in range(8)]
    wrong: list[int] = []

    def round_trips(number: int) -> None:
        wrong.extend(number for _ in range(5) if decode(encode(values[number])) != values[number])

    threads = [threading.Thread(target=round_trips, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.dates()
    | st.times(timezones=st.none() | st.just(CET))
    | st.datetimes(timezones=st.sampled_from([dt.UTC, CET]))
    | st.timedeltas()
    | st.decimals()
    | st.uuids()
)
hashable = scalars.filter(lambda value: not (type(value) is Decimal and value.is_snan()))
keys = hashable | st.tuples(hashable)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=2)
        | st.sets(keys, max_size=2)
    ),
    max_leaves=5,
)


@given(value=values)
@settings(max_examples=2_000)
def test_any_plain_value_comes_back_exactly(value: object) -> None:
    """What nobody thought of putting into the table."""
    assert same(decode(encode(value)), value)


def _mutants(seed: int, count: int) -> list[bytes]:
    chance = random.Random(seed)
    samples = [encode(value) for value in EXACT if len(encode(value)) < 1_000]
    samples.append(encode({"rows": EXACT[:40], "when": [(value,) for value in EXACT[-25:]]}))
    mutants = []
    for _ in range(count):
        data = bytearray(chance.choice(samples))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(5):
                case 0:
                    del data[at:]
                case 1:
                    data[at:at] = chance.randbytes(chance.randint(1, 6))
                case 2:
                    data[at : at + 1] = bytes([chance.randrange(256)])
                case 3:
                    data[at:at] = chance.choice(samples)
                case _:
                    data[at : at + chance.randint(1, 5)] = b""
        mutants.append(bytes(data))
    return mutants


def test_damaged_bytes_are_a_data_error_or_a_plain_value() -> None:
    """20,000 mutants: never another exception, never something that is not plain data."""
    refused = 0
    for mutant in _mutants(seed=7, count=20_000):
        try:
            value = decode(mutant)
        except DataError:
            refused += 1
            continue
        again = encode(value, bytes_max=1 << 30)
        assert same(decode(again), value)

    assert refused > 5_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x01\x01",
        b"\xd4\x00\x00",
        b"\xd4\x7f\x00",
        b"\xd6\xff\x00\x00\x00\x01",
        b"\x91\xd7\xff\x00\x00\x00\x00\x00\x00\x00\x01",
        b"\xc7\x03\x07abc",  # a decimal that is none
        b"\xc7\x0a\x032013-02-08",  # a datetime without an offset
        b"\xc7\x03\x02\x92\x01\x01",  # a set with the same element twice
        b"\xd4\x01\x01",  # a tuple that is an int
        b"\x81\x90\x01",  # a list as a key
        b"\x81\xd5\x02\x91\x01\x01",  # a set as a key
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\x91" * 5_000,
        b"\x91" * 5_000 + b"\xc0",
        b"\xdd\x00\x10\x00\x00" * 200_000,  # lists that claim 8 MB each, 200,000 deep
        b"\xc9\x00\x0f\x42\x40\x01" + b"\xdd\x00\x0f\x00\x00" * 200_000,  # the same in a tuple
    ],
    ids=lambda data: f"{data[:8].hex()}-{len(data)}",
)
def test_hostile_bytes_are_a_data_error_and_take_no_memory(data: bytes) -> None:
    """Unknown extensions, lying lengths and endless nesting included."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="cannot be read"):
            decode(data)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 10_000_000


def test_tuples_nested_too_deep_are_a_data_error_and_spare_the_stack() -> None:
    """Each nested extension takes C stack; the hooks stop at the encoder's own limit."""
    data = b"\xc0"
    for _ in range(3_000):
        inner = b"\x91" + data
        data = b"\xc8" + len(inner).to_bytes(2, "big") + b"\x01" + inner
        if len(inner) > 60_000:
            break

    with pytest.raises(DataError, match="deep"):
        decode(data)
