"""Every supported Arrow type, through binary COPY and back, unchanged."""

import math
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.table import TableContract
from batch_assets.errors import SchemaMismatch
from batch_assets.loading.column_types import check_columns, read_columns
from batch_assets.loading.copy import copy_batches
from batch_assets_tests.conftest import PostgresServer
from batch_assets_tests.loading.synthetic import connector

_EXAMPLES = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
_HARD_TEXTS = ["", "\\.", "\\N", "NULL", '"', "'", "a\nb\r\n", "\t", "\\", "😀", "é", "股票", " "]


def _decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    limit = 10**precision - 1
    digits = st.one_of(
        st.integers(-limit, limit), st.sampled_from([0, limit, -limit, 1, -1, 10**scale - 1])
    )
    # Built from digits: arithmetic would round to the 28 digits of the default context.
    return digits.map(lambda n: Decimal((int(n < 0), tuple(int(d) for d in str(abs(n))), -scale)))


_TYPES = [
    ("boolean", pa.bool_(), st.booleans()),
    ("smallint", pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    ("integer", pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    ("bigint", pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    ("real", pa.float32(), st.floats(width=32)),
    ("double precision", pa.float64(), st.floats()),
    ("text", pa.string(), st.one_of(_TEXT, st.sampled_from(_HARD_TEXTS))),
    ("text", pa.large_string(), st.one_of(_TEXT, st.sampled_from(_HARD_TEXTS))),
    ("character varying", pa.string(), _TEXT),
    ("bytea", pa.binary(), st.binary()),
    ("bytea", pa.large_binary(), st.binary()),
    ("date", pa.date32(), st.dates()),
    ("time", pa.time64("us"), st.times()),
    ("timestamp", pa.timestamp("us"), st.datetimes()),
    ("timestamptz", pa.timestamp("us", "UTC"), st.datetimes(timezones=st.just(UTC))),
    ("numeric(1,0)", pa.decimal128(1, 0), _decimals(1, 0)),
    ("numeric(5,5)", pa.decimal128(5, 5), _decimals(5, 5)),
    ("numeric(18,2)", pa.decimal128(18, 2), _decimals(18, 2)),
    ("numeric(20,6)", pa.decimal128(20, 6), _decimals(20, 6)),
    ("numeric(24,8)", pa.decimal128(24, 8), _decimals(24, 8)),
    ("numeric(38,0)", pa.decimal128(38, 0), _decimals(38, 0)),
    ("numeric(38,38)", pa.decimal128(38, 38), _decimals(38, 38)),
    ("numeric", pa.decimal128(30, 9), _decimals(30, 9)),
    ("uuid", pa.binary(16), st.uuids().map(lambda value: value.bytes)),
]


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[str]:
    """One database for all cases: each rolls back what it did."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection]:
    with connector(database)() as conn:
        yield conn
        conn.rollback()


def make_table(conn: psycopg.Connection, column_type: str) -> None:
    conn.execute("DROP TABLE IF EXISTS public.kept")
    conn.execute(
        sql.SQL("CREATE TABLE public.kept (place bigint, value {}, load_id bigint)").format(
            sql.SQL(column_type)
        )
    )


def contract_of(arrow_type: pa.DataType) -> TableContract:
    return TableContract(
        target="public.kept",
        columns=pa.schema([("place", pa.int64()), ("value", arrow_type)]),
        key=("place",),
        disposition=Disposition.APPEND,
    )


def round_trip(conn: psycopg.Connection, arrow_type: pa.DataType, values: pa.Array) -> list[object]:
    """Through the type check and COPY, and read back as rows in the order sent."""
    contract = contract_of(arrow_type)
    check_columns(contract, read_columns(conn, contract.target))
    conn.execute("TRUNCATE public.kept")
    places = pa.array(range(len(values)), pa.int64())
    batch = pa.RecordBatch.from_arrays([places, values], schema=contract.columns)
    stored = copy_batches(conn, sql.Identifier("public", "kept"), contract.columns, [batch])
    assert stored == len(values)
    # The text of a real is its shortest one; as double precision all of its bits are seen.
    seen = "value::double precision" if arrow_type == pa.float32() else "value"
    rows = conn.execute(f"SELECT {seen} FROM public.kept ORDER BY place").fetchall()
    return [row[0] for row in rows]


def alike(sent: object, found: object) -> bool:
    """Equal in type and value; NaN equals NaN, and -0.0 is not 0.0."""
    if isinstance(sent, float) and isinstance(found, float):
        if math.isnan(sent):
            return math.isnan(found)
        return sent == found and math.copysign(1, sent) == math.copysign(1, found)
    if isinstance(sent, bytes) and isinstance(found, uuid.UUID):
        return found.bytes == sent
    return type(sent) is type(found) and sent == found


@pytest.mark.parametrize(
    ("column_type", "arrow_type", "values"),
    _TYPES,
    ids=[f"{arrow_type}-{column}" for column, arrow_type, _ in _TYPES],
)
def test_values_and_nulls_come_back_as_they_were_sent(
    conn: psycopg.Connection,
    column_type: str,
    arrow_type: pa.DataType,
    values: st.SearchStrategy[object],
) -> None:
    make_table(conn, column_type)

    @_EXAMPLES
    @given(st.lists(st.one_of(st.none(), values), max_size=30))
    def check(sent: list[object]) -> None:
        found = round_trip(conn, arrow_type, pa.array(sent, arrow_type))

        assert all(alike(*pair) for pair in zip(sent, found, strict=True))

    check()


# Arrow and PostgreSQL both have timestamps without a zone, and Python's limits have none.
_FIRST, _LAST = datetime.min, datetime.max  # noqa: DTZ901 - naive values are what is sent

_EXTREMES: Sequence[tuple[str, pa.DataType, list[object]]] = [
    ("real", pa.float32(), [math.nan, math.inf, -math.inf, -0.0, 0.0, 2.0**-149]),
    ("double precision", pa.float64(), [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.8e308]),
    ("text", pa.string(), [*_HARD_TEXTS, None, "x" * 2**20, "\U0010ffff", "\x01\x7f\ufffe"]),
    ("bytea", pa.binary(), [b"", b"\x00", None, bytes(range(256)) * 4096]),
    ("date", pa.date32(), [date.min, date(1969, 12, 31), date(1970, 1, 1), date.max, None]),
    ("time", pa.time64("us"), [time.min, time.max, None]),
    ("timestamp", pa.timestamp("us"), [_FIRST, _LAST, None]),
    (
        "timestamptz",
        pa.timestamp("us", "UTC"),
        [_FIRST.replace(tzinfo=UTC), _LAST.replace(tzinfo=UTC), None],
    ),
]


@pytest.mark.parametrize(
    ("column_type", "arrow_type", "sent"), _EXTREMES, ids=[case[0] for case in _EXTREMES]
)
def test_extremes_come_back_as_they_were_sent(
    conn: psycopg.Connection, column_type: str, arrow_type: pa.DataType, sent: list[object]
) -> None:
    make_table(conn, column_type)

    found = round_trip(conn, arrow_type, pa.array(sent, arrow_type))

    assert all(alike(*pair) for pair in zip(sent, found, strict=True))


def test_days_beyond_python_reach_the_limits_of_postgres(conn: psycopg.Connection) -> None:
    make_table(conn, "date")
    # Days from 1970-01-01: the first and the last date that PostgreSQL has.
    days = pa.array([-2_440_588, 2_145_042_905], pa.int32()).view(pa.date32())

    conn.execute("TRUNCATE public.kept")
    batch = pa.RecordBatch.from_arrays(
        [pa.array([1, 2], pa.int64()), days], schema=contract_of(pa.date32()).columns
    )
    copy_batches(conn, sql.Identifier("public", "kept"), batch.schema, [batch])

    found = conn.execute("SELECT value::text FROM public.kept ORDER BY place").fetchall()
    assert found == [("4714-11-24 BC",), ("5874897-12-31",)]


def test_slices_of_larger_arrays_send_their_own_rows_only(conn: psycopg.Connection) -> None:
    make_table(conn, "text")
    values = pa.array([None if n % 7 == 0 else f"row {n}" for n in range(1000)], pa.string())

    found = round_trip(conn, pa.string(), values.slice(333, 100))

    assert found == values.slice(333, 100).to_pylist()


def test_batches_above_the_encoders_limit_are_sent_in_pieces(conn: psycopg.Connection) -> None:
    make_table(conn, "numeric(25,6)")
    numbers = pa.array([n if n % 5 else None for n in range(200_000)], pa.int64())

    found = round_trip(conn, pa.decimal128(25, 6), numbers.cast(pa.decimal128(25, 6)))

    assert found == [Decimal(n) if n % 5 else None for n in range(200_000)]


_WRONG_PAIRS = [
    ("numeric", pa.int64()),
    ("numeric(20,6)", pa.int64()),
    ("numeric(20,6)", pa.float64()),
    ("bigint", pa.float64()),
    ("bigint", pa.int32()),
    ("bigint", pa.uint64()),
    ("bigint", pa.decimal128(18, 0)),
    ("integer", pa.int64()),
    ("integer", pa.uint32()),
    ("integer", pa.date32()),
    ("smallint", pa.int8()),
    ("smallint", pa.bool_()),
    ("double precision", pa.int64()),
    ("double precision", pa.float32()),
    ("real", pa.float64()),
    ("real", pa.float16()),
    ("date", pa.int32()),
    ("date", pa.date64()),
    ("date", pa.timestamp("us")),
    ("timestamptz", pa.timestamp("us")),
    ("timestamptz", pa.timestamp("us", "Asia/Shanghai")),
    ("timestamptz", pa.timestamp("us", "+00:00")),
    ("timestamp", pa.timestamp("us", "UTC")),
    ("timestamp", pa.timestamp("ns")),
    ("timestamp", pa.timestamp("ms")),
    ("timestamp", pa.int64()),
    ("timestamp(0)", pa.timestamp("us")),
    ("timestamptz(3)", pa.timestamp("us", "UTC")),
    ("time", pa.time32("ms")),
    ("time", pa.time64("ns")),
    ("time(0)", pa.time64("us")),
    ("timetz", pa.time64("us")),
    ("interval", pa.duration("us")),
    ("numeric(20,6)", pa.decimal128(20, 5)),
    ("numeric(20,6)", pa.decimal128(20, 7)),
    ("numeric(20,6)", pa.decimal128(21, 6)),
    ("numeric(20,6)", pa.decimal128(19, 6)),
    ("numeric(20,6)", pa.decimal256(20, 6)),
    ("numeric", pa.decimal128(5, -2)),
    ("numeric(5,-2)", pa.decimal128(5, -2)),
    ("varchar(10)", pa.string()),
    ("char(10)", pa.string()),
    ("name", pa.string()),
    ("json", pa.string()),
    ("jsonb", pa.string()),
    ("uuid", pa.string()),
    ("uuid", pa.binary()),
    ("uuid", pa.binary(15)),
    ("bytea", pa.string()),
    ("bytea", pa.binary(16)),
    ("text", pa.binary()),
    ("text", pa.dictionary(pa.int32(), pa.string())),
    ("text", pa.string_view()),
    ("text", pa.null()),
    ("text", pa.opaque(pa.null(), "integer", "PostgreSQL")),
    ("numeric(5,2)", pa.opaque(pa.null(), "numeric(5,3)", "PostgreSQL")),
    ("text", pa.list_(pa.string())),
    ("text[]", pa.list_(pa.string())),
    ("money", pa.int64()),
    ("oid", pa.int32()),
    ("inet", pa.binary()),
]


@pytest.mark.parametrize(
    ("column_type", "arrow_type"), _WRONG_PAIRS, ids=[f"{a}-{p}" for p, a in _WRONG_PAIRS]
)
def test_pairs_whose_bytes_differ_in_meaning_are_refused(
    conn: psycopg.Connection, column_type: str, arrow_type: pa.DataType
) -> None:
    if conn.info.server_version < 150000 and column_type == "numeric(5,-2)":
        pytest.skip("negative scales came with PostgreSQL 15")
    make_table(conn, column_type)
    contract = contract_of(arrow_type)

    with pytest.raises(SchemaMismatch, match=r"'value' is .* in the contract and .* in the table"):
        check_columns(contract, read_columns(conn, contract.target))


def test_a_domain_is_not_its_base_type(conn: psycopg.Connection) -> None:
    conn.execute("CREATE DOMAIN public.percent AS smallint CHECK (VALUE BETWEEN 0 AND 100)")
    make_table(conn, "public.percent")
    contract = contract_of(pa.int16())

    with pytest.raises(SchemaMismatch, match="int16 in the contract and percent in the table"):
        check_columns(contract, read_columns(conn, contract.target))
