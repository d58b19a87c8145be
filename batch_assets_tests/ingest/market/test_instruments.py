from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from functools import partial

import psycopg
import pyarrow as pa
import pytest

from batch_assets.errors import UnreadableSource
from batch_assets.ingest.market.instruments import (
    sync_aliases,
    sync_factors,
    sync_instruments,
    sync_suspensions,
)
from batch_assets.loading.leases import Connector
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.prepare import RejectLimit
from batch_assets.loading.report import LoadState
from batch_assets.postgres.connect import connect

DAY = date(2024, 9, 30)


@pytest.fixture
def connector(postgres: str) -> Connector:
    return partial(connect, postgres, application_name="test")


@pytest.fixture
def conn(postgres: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres, autocommit=True) as conn:
        yield conn


def instruments(**listed: tuple[date | None, date | None]) -> pa.Table:
    return pa.table(
        {
            "symbol": list(listed),
            "listed_on": pa.array([a for a, _ in listed.values()], pa.date32()),
            "delisted_on": pa.array([b for _, b in listed.values()], pa.date32()),
        }
    )


def test_instruments_are_stored_and_a_shorter_list_deletes_none(
    connector: Connector, conn: psycopg.Connection
) -> None:
    first = instruments(A=(date(1991, 4, 3), None), B=(date(2000, 1, 4), None))
    second = instruments(B=(date(2000, 1, 4), date(2024, 6, 3)))

    reports = [
        sync_instruments(connector, "cn", rows, origin="list") for rows in (first, first, second)
    ]

    assert [report.ledger for report in reports] == [
        Ledger(read=2, inserted=2),
        Ledger(read=2, unchanged=2),
        Ledger(read=1, updated=1),
    ]
    assert conn.execute(
        "SELECT symbol, delisted_on, revision FROM market.instruments ORDER BY symbol"
    ).fetchall() == [("A", None, 1), ("B", date(2024, 6, 3), 2)]


def test_instrument_that_ends_before_it_begins_becomes_a_dead_letter(
    connector: Connector, conn: psycopg.Connection
) -> None:
    rows = instruments(A=(DAY, date(2020, 1, 1)), B=(DAY, None))
    options = LoadOptions(reject_limit=RejectLimit(ratio=1.0))

    report = sync_instruments(connector, "cn", rows, origin="list", options=options)

    assert report.ledger == Ledger(read=2, inserted=1, rejected=1)
    [rule, file, row, original] = conn.execute(
        "SELECT rule, source_file, row_number, original FROM ops.dead_letters"
    ).fetchone()
    assert (rule, file, row) == ("delisted_before_listed", "list", 1)
    assert original["symbol"] == "A"


def test_suspensions_of_a_day_are_exactly_the_list(
    connector: Connector, conn: psycopg.Connection
) -> None:
    sync_suspensions(connector, "cn", DAY, pa.table({"symbol": ["A", "B"]}), origin="suspend_d")
    sync_suspensions(
        connector, "cn", date(2024, 9, 27), pa.table({"symbol": ["A"]}), origin="suspend_d"
    )

    report = sync_suspensions(
        connector, "cn", DAY, pa.table({"symbol": ["B", "C"]}), origin="suspend_d"
    )
    empty = sync_suspensions(
        connector, "cn", DAY, pa.table({"symbol": pa.array([], pa.string())}), origin="suspend_d"
    )

    assert report.ledger == Ledger(read=2, inserted=1, unchanged=1, deleted=1)
    assert empty.state is LoadState.UNCONFIRMED_EMPTY
    assert conn.execute(
        "SELECT trade_date, symbol FROM market.suspensions ORDER BY trade_date, symbol"
    ).fetchall() == [(date(2024, 9, 27), "A"), (DAY, "B"), (DAY, "C")]


def test_code_that_changed_is_an_alias_for_its_days(
    connector: Connector, conn: psycopg.Connection
) -> None:
    rows = pa.table(
        {
            "alias": ["430047.BJ"],
            "valid_from": [date(2021, 11, 15)],
            "valid_to": [date(2025, 10, 9)],
            "symbol": ["920047.BJ"],
        }
    )

    report = sync_aliases(connector, "cn", rows, origin="aliases.csv")

    assert report.ledger == Ledger(read=1, inserted=1)
    assert conn.execute("SELECT alias, symbol FROM market.instrument_aliases").fetchall() == [
        ("430047.BJ", "920047.BJ")
    ]


def test_factors_of_some_symbols_leave_the_others(
    connector: Connector, conn: psycopg.Connection
) -> None:
    def factors(symbol: str, factor: str) -> pa.Table:
        return pa.table(
            {"symbol": [symbol], "ex_date": [DAY], "factor": pa.array([Decimal(factor)])}
        )

    sync_factors(connector, "cn", factors("A", "1.05"), origin="adj")
    sync_factors(connector, "cn", factors("B", "2"), origin="adj")
    report = sync_factors(connector, "cn", factors("A", "1.06"), origin="adj")

    assert report.ledger == Ledger(read=1, updated=1)
    assert conn.execute(
        "SELECT symbol, factor, revision FROM market.adjustment_factors ORDER BY symbol"
    ).fetchall() == [("A", Decimal("1.06"), 2), ("B", Decimal(2), 1)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (pa.table({"symbol": ["A"], "industry": ["bank"]}), "has columns industry, expected only"),
        (pa.table({"symbol": ["A"], "listed_on": ["soon"]}), "'listed_on' is string and does not"),
    ],
)
def test_table_that_does_not_fit_is_refused(
    connector: Connector, rows: pa.Table, message: str
) -> None:
    with pytest.raises(UnreadableSource, match=message):
        sync_instruments(connector, "cn", rows, origin="list")


def test_sources_do_not_share_instruments(connector: Connector, conn: psycopg.Connection) -> None:
    for source in ("cn", "us"):
        sync_instruments(connector, source, instruments(A=(DAY, None)), origin="list")

    assert conn.execute("SELECT count(*) FROM market.instruments").fetchone() == (2,)


def test_long_list_is_loaded_in_chunks(connector: Connector, conn: psycopg.Connection) -> None:
    rows = pa.table({"symbol": [f"S{n:06d}" for n in range(50_000)]})

    report = sync_instruments(
        connector, "us", rows, origin="list", options=LoadOptions(chunk_rows=15_000)
    )

    assert report.ledger == Ledger(read=50_000, inserted=50_000)
