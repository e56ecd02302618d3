"""The records of a batch come back as they were, dicts as dicts and tables as tables (R7)."""

import datetime as dt
import math
import random
import sys
from collections import OrderedDict
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statepipe.errors import DataError, StagedDataDamaged, ValueRefused
from statepipe.store import codec
from statepipe.store.stage.frames import Block, write_frames
from statepipe.store.stage.records import decode_records, encode_records

FLIGHTS: list[dict[str, Any]] = [
    {
        "id": number,
        "carrier": "naïve" if number % 2 else "UA",
        "dep_time": None if number % 7 == 0 else number * 1.5,
        "at": dt.datetime(2013, 2, 8, tzinfo=dt.UTC) + dt.timedelta(minutes=number),
        "price": Decimal(number) / 4,
        "stops": [("EWR", 1), {"code": "LGA", "tags": {"x", "y"}}],
    }
    for number in range(10)
]


def back(records: Any) -> Any:  # noqa: ANN401  (dicts or a table)
    """Return `records` after a way to bytes and back."""
    encoded = encode_records(records)
    return decode_records(encoded.format, encoded.payload)


class Foreign:
    """Another library's table: it speaks the Arrow stream interface and nothing else."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Hand the table over as an Arrow stream."""
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "records",
    [
        pytest.param([], id="none"),
        pytest.param([{}], id="one without keys"),
        pytest.param([{}] * 3, id="several without keys"),
        pytest.param([{"a": 1}], id="one"),
        pytest.param(FLIGHTS, id="all the same keys"),
        pytest.param([{"a": 1}, {"a": 1, "b": 2}, {}], id="different keys"),
        pytest.param([{"a": 1, "b": 2}, {"b": 1, "a": 2}], id="different order"),
        pytest.param([{"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}], id="different types"),
        pytest.param([{"": "", "a.b": b"\x00", "日": -(2**70)}], id="odd names"),
        pytest.param([{"n": number} for number in range(10_001)], id="several blocks"),
        pytest.param([{"n": 1}] * 5_000 + [{"m": 1}] * 5_000, id="keys change on the way"),
    ],
)
def test_records_come_back_as_they_were(records: list[dict[str, Any]]) -> None:
    """Values, types and the order of keys, record for record."""
    encoded = encode_records(records)
    returned = decode_records("msgpack", encoded.payload)

    assert encoded.format == "msgpack"
    assert encoded.records == len(records)
    assert returned == records
    assert [[(k, type(v)) for k, v in record.items()] for record in returned] == [
        [(k, type(v)) for k, v in record.items()] for record in records
    ]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abc"),
            st.none() | st.integers() | st.text(max_size=3) | st.lists(st.booleans(), max_size=2),
            max_size=3,
        ),
        max_size=5,
    )
)
@settings(max_examples=300)
def test_any_records_come_back_as_they_were(records: list[dict[str, Any]]) -> None:
    """Whether a block is written by columns or by records shows nowhere."""
    returned = back(records)

    assert [list(record.items()) for record in returned] == [list(r.items()) for r in records]


def test_returned_records_share_nothing() -> None:
    """An author may change one record without changing its neighbour."""
    shared: list[int] = []
    first, second = back([{"list": shared}, {"list": shared}])

    first["list"].append(1)

    assert second == {"list": []}


def test_a_coded_column_whose_values_can_be_changed_is_refused() -> None:
    """We write none, and records would share them."""
    block = codec.pack([["a"], [{"values": [[1]], "codes": b"\0\0"}]])

    with pytest.raises(StagedDataDamaged, match="records would share"):
        decode_records("msgpack", write_frames([Block(2, block)]))


def test_nan_stays_nan_in_a_record() -> None:
    """Floats are data; what a destination makes of NaN is its own affair."""
    assert math.isnan(back([{"x": math.nan}])[0]["x"])


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (({"a": 1},), r"^\$ is a tuple, not a list of dicts or a table"),
        ("text", r"^\$ is a str"),
        (None, r"^\$ is a NoneType"),
        (iter([{"a": 1}]), r"^\$ is a list_iterator"),
        ([{"a": 1}, [1]], r"^\$\[1\] is a list, not a dict"),
        ([{"a": 1}, OrderedDict(a=1)], r"^\$\[1\] is a OrderedDict, not a dict"),
        ([{"a": 1}, {5: 1}], r"^\$\[1\] has a key of type int, not str"),
        ([{5: 1}], r"^\$\[0\] has a key of type int, not str"),
        ([{"a": 1}] * 7 + [{"a": {"b": [1j]}}], r"^\$\[7\]\.a\.b\[0\] is of type .*complex"),
        ([{"a": 1}] * 5_000 + [{"a": bytearray()}], r"^\$\[5000\]\.a is of type .*bytearray"),
        ([{"a": "x"}, {"a": "\ud800"}], r"^\$\[1\]\.a .*surrogate"),
        ([{"a": "x"}, {"b": "\ud800"}], r"^\$\[1\]\.b .*surrogate"),
        ([{"at": dt.datetime(2013, 2, 8)}], r"^\$\[0\]\.at .*offset"),  # noqa: DTZ001  (a moment without an offset is what is tested)
        ([{"\udfff": 1}], r"^\$\[0\]\['\\udfff'\] \(the key\) .*surrogate"),
    ],
    ids=[f"bad {number}" for number in range(14)],
)
def test_a_bad_record_is_refused_with_its_number_and_path(records: Any, message: str) -> None:  # noqa: ANN401  (whatever is passed on)
    """The author finds the record in the source by its number, counted from 0."""
    with pytest.raises(ValueRefused, match=message):
        encode_records(records)


def test_nesting_is_bounded_in_records_too() -> None:
    """What a record may hold, a value in a checkpoint may hold, and the other way round."""
    deep: list[Any] = []
    for _ in range(99):
        deep = [deep]

    assert back([{"a": deep[0]}]) == [{"a": deep[0]}]
    with pytest.raises(ValueRefused, match="deep"):
        encode_records([{"a": [deep]}])


def test_damage_in_a_batch_is_noticed_or_harmless() -> None:
    """2,000 mutants of a whole payload; the checksums see every one."""
    payload = encode_records(FLIGHTS * 20).payload
    chance = random.Random(11)

    for _ in range(2_000):
        mutant = bytearray(payload)
        mutant[chance.randrange(len(mutant))] ^= chance.randint(1, 255)
        with pytest.raises(StagedDataDamaged):
            decode_records("msgpack", bytes(mutant))


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\xc0",
        b"\x92\xc0\x90",  # no records where one is counted
        b"\x92\xc0\xc0",
        b"\x92\x91\xa1a\x90",  # a key without a column
        b"\x92\x92\xa1a\xa1b\x92\x91\x01\x92\x01\x02",  # columns of two lengths
        b"\x92\x91\xa1a\x01",
        b"\x92\x91\x90\x91\x91\x01",  # a list as a key
        b"\x93\xc0\x90\x90",
    ],
    ids=lambda block: block.hex(),
)
def test_a_block_with_right_checksums_and_wrong_content_is_noticed(block: bytes) -> None:
    """Checksums prove that we wrote it, not that this version can read it."""
    with pytest.raises(StagedDataDamaged):
        decode_records("msgpack", write_frames([Block(1, block)]))


def test_an_unknown_format_is_named() -> None:
    """A batch staged by a newer version, or a hostile row."""
    with pytest.raises(StagedDataDamaged, match="'parquet'"):
        decode_records("parquet", b"")  # type: ignore[arg-type]  # the wrong type, or keywords in a dict


@pytest.mark.parametrize("wrap", [lambda table: table, Foreign], ids=["pyarrow", "foreign"])
def test_a_table_stays_a_table(wrap: Any) -> None:  # noqa: ANN401  (whatever is passed on)
    """Schema, metadata and chunks included; no dict is made on the way."""
    table = pa.table({"id": [1, 2, None], "name": ["a", "b", "c"]}).replace_schema_metadata(
        {"source": "test"}
    )

    encoded = encode_records(wrap(table))

    assert encoded.format == "arrow"
    assert encoded.records == 3
    assert decode_records("arrow", encoded.payload).equals(table, check_metadata=True)


def test_record_batches_and_readers_are_tables_too() -> None:
    """Whatever speaks the stream interface; a reader is read once."""
    batch = pa.record_batch({"n": list(range(5))})
    reader = pa.RecordBatchReader.from_batches(batch.schema, [batch, batch])

    assert back(batch).to_pylist() == batch.to_pylist()
    assert back(reader).num_rows == 10


def test_views_become_what_arrow_can_filter() -> None:
    """Polars hands texts over as views, and a contract must be able to part their rows."""
    table = pa.table(
        {
            "a": pa.array(["x", None], pa.string_view()),
            "b": pa.array([[b"x"], []], pa.list_(pa.binary_view())),
            "c": pa.array([{"d": "x"}, None], pa.struct({"d": pa.string_view()})),
        }
    )

    staged = back(table)

    assert staged.to_pylist() == table.to_pylist()
    assert staged.filter([False, True]).to_pylist() == table.to_pylist()[1:]
    assert staged.schema.field("a").type == pa.large_string()


def test_an_empty_table_keeps_its_columns() -> None:
    """No rows are still rows of a known shape."""
    empty = pa.table({"id": pa.array([], pa.int64())})

    assert back(empty).schema == empty.schema


def test_a_cut_table_is_noticed() -> None:
    """The footer stands at the end of the file."""
    payload = encode_records(pa.table({"n": list(range(1_000))})).payload

    for length in range(0, len(payload), 7):
        with pytest.raises(StagedDataDamaged):
            decode_records("arrow", payload[:length])


def test_a_table_that_arrow_cannot_take_is_refused() -> None:
    """An object that offers a stream and then hands over something else."""

    class Liar:
        def __arrow_c_stream__(self, _requested_schema: object = None) -> object:
            return "not a stream"

    with pytest.raises(ValueRefused, match="Liar that Arrow cannot write"):
        encode_records(Liar())


def test_without_pyarrow_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in hand and no pyarrow: polars alone can offer one."""
    table = Foreign(pa.table({"n": [1]}))
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(DataError, match="pyarrow") as refusal:
        encode_records(table)

    assert refusal.value.next_step == 'pip install "statepipe[arrow]"'


def test_a_table_whose_chunks_have_dictionaries_of_their_own_comes_back() -> None:
    """Row groups and files have each its own; the file form of Arrow has room for one."""
    parts = [pa.table({"k": pa.array(list(words)).dictionary_encode()}) for words in ("ab", "cb")]
    table = pa.concat_tables(parts)

    again = back(table)

    assert again.to_pylist() == [{"k": "a"}, {"k": "b"}, {"k": "c"}, {"k": "b"}]
    assert again.schema == table.schema
