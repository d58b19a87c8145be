from datetime import date
from functools import partial

import psycopg
import pytest

from batch_assets.errors import UnreadableSource
from batch_assets.ingest.market.instruments import sync_instruments, sync_suspensions
from batch_assets.postgres.connect import connect
from batch_assets.sources.market.vendors.reference_tables import (
    instruments_table,
    suspensions_table,
)
from batch_assets.sources.market.vendors.replies import fetched_rows
from batch_assets_tests.sources.market.vendors.conftest import DAY, build_vendor_feed

LISTED = ("ts_code", "name", "market", "list_date", "delist_date")
TUSHARE = build_vendor_feed("tushare")


def test_what_a_vendor_lists_becomes_instruments_and_suspensions(postgres: str) -> None:
    listed = fetched_rows(
        "tushare stock_basic",
        LISTED,
        [
            ["600000.SH", "浦发银行", "主板", "19991110", None],
            ["000003.SZ", "PT金田A", "主板", "19910703", "20020614"],
        ],
    )
    header = ("ts_code", "trade_date", "suspend_timing")
    suspended = fetched_rows("tushare suspend_d", header, [["600000.SH", "20240930", None]])
    open_connection = partial(connect, postgres, application_name="test")

    sync_instruments(
        open_connection, "tushare", instruments_table(TUSHARE, listed), origin=listed.label
    )
    rows = suspensions_table(TUSHARE, suspended)
    sync_suspensions(open_connection, "tushare", DAY, rows, origin=suspended.label)

    with psycopg.connect(postgres) as conn:
        query = "SELECT symbol, listed_on, delisted_on FROM market.instruments ORDER BY 1"
        assert conn.execute(query).fetchall() == [
            ("000003.SZ", date(1991, 7, 3), date(2002, 6, 14)),
            ("600000.SH", date(1999, 11, 10), None),
        ]
        query = "SELECT symbol, trade_date FROM market.suspensions"
        assert conn.execute(query).fetchall() == [("600000.SH", DAY)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["浦发", "a", "b", "19991110", None], "ts_code such as .'浦发'"),
        ([None, "a", "b", "19991110", None], "ts_code such as .None"),
        (["600000.SH", "a", "b", "1999-13-10", None], "list_date such as"),
        (["600000.SH"], "record 1 is no row"),
    ],
)
def test_a_list_that_cannot_be_read_stores_nothing(row: list[str | None], message: str) -> None:
    listed = fetched_rows("tushare stock_basic", LISTED, [row])

    with pytest.raises(UnreadableSource, match=message):
        instruments_table(TUSHARE, listed)


def test_a_list_without_a_column_says_so() -> None:
    with pytest.raises(UnreadableSource, match="no columns list_date, delist_date"):
        instruments_table(TUSHARE, fetched_rows("tushare stock_basic", LISTED[:3], []))
