from datetime import UTC, datetime
from decimal import Decimal

import pytest

from batch_assets.errors import SourceRefused, SourceUnavailable
from batch_assets.sources.market.source import DayState
from batch_assets_tests.fakes.bars import make_bar, us_market
from batch_assets_tests.fakes.http_vendor import HttpVendorServer
from batch_assets_tests.fakes.vendor_answers import (
    as_json,
    eodhd_answers,
    massive_answers,
    massive_record,
)
from batch_assets_tests.sources.market.vendors.conftest import (
    DAY,
    NOW,
    VendorSourceMaker,
    batch_of,
    rows_of,
)

MARKET = {DAY.isoformat(): us_market(DAY)}


def test_massive_gives_a_day_with_fractional_volumes(make_vendor_source: VendorSourceMaker) -> None:
    with HttpVendorServer(massive_answers(MARKET)) as server:
        source = make_vendor_source("massive", base_url=server.base_url)
        rows = {row["symbol"]: row for row in rows_of(source.open_day(DAY, now=NOW))}

    (request,) = server.requests
    assert request.path == "/v2/aggs/grouped/locale/us/market/stocks/2024-09-30"
    assert request.query == {"adjusted": "false", "include_otc": "false"}
    assert len(rows) == 20
    assert rows["AAPL.US"]["volume"] == Decimal("1000.25")
    assert rows["AAPL.US"]["trade_date"] == DAY
    assert rows["AAPL.US"]["amount"] is None


def test_massive_keeps_preferred_shares_apart_from_their_namesakes(
    make_vendor_source: VendorSourceMaker,
) -> None:
    with HttpVendorServer(massive_answers(MARKET)) as server:
        source = make_vendor_source("massive", base_url=server.base_url)
        symbols = {row["symbol"] for row in rows_of(source.open_day(DAY, now=NOW))}

    assert {"BRK.B.US", "BAC-PB.US", "BACPB.US"} <= symbols


def test_massive_writes_large_volumes_with_an_exponent(
    make_vendor_source: VendorSourceMaker,
) -> None:
    record = {**massive_record(make_bar("AAPL.US", DAY)), "v": 5.45419e17}
    document = {"status": "OK", "resultsCount": 1, "results": [record]}
    with HttpVendorServer(lambda _: as_json(document)) as server:
        source = make_vendor_source("massive", base_url=server.base_url)
        opened = source.open_day(DAY, now=NOW)
        batch = batch_of(opened)

    # More than the column holds: told, and not cut.
    assert batch.rejected[0].violations[0].observed == "5.45419e+17"


def test_massive_without_results_is_empty(make_vendor_source: VendorSourceMaker) -> None:
    with HttpVendorServer(massive_answers({})) as server:
        source = make_vendor_source("massive", base_url=server.base_url)

        assert source.open_day(DAY, now=NOW).state is DayState.UNCONFIRMED_EMPTY


def test_massive_rows_of_another_day_are_rejected(make_vendor_source: VendorSourceMaker) -> None:
    moment = int(datetime(2024, 9, 27, 20, tzinfo=UTC).timestamp() * 1000)
    stale = [{**massive_record(bar), "t": moment} for bar in us_market(DAY)]
    with HttpVendorServer(lambda _: as_json({"status": "OK", "results": stale})) as server:
        source = make_vendor_source("massive", base_url=server.base_url)
        batch = batch_of(source.open_day(DAY, now=NOW))

    assert {row.violations[0].rule for row in batch.rejected} == {"wrong_date"}
    assert batch.rows.num_rows == 0


@pytest.mark.parametrize(
    ("document", "failure", "message"),
    [
        ({"status": "NOT_AUTHORIZED", "message": "plan"}, SourceRefused, "MASSIVE_API_KEY"),
        ({"status": "ERROR", "error": "oops"}, SourceUnavailable, "status ERROR, 'oops'"),
        ({"status": "OK", "resultsCount": 3, "results": []}, SourceUnavailable, "not whole"),
    ],
)
def test_massive_errors_with_status_200_are_no_empty_days(
    make_vendor_source: VendorSourceMaker,
    document: dict[str, object],
    failure: type[Exception],
    message: str,
) -> None:
    with HttpVendorServer(lambda _: as_json(document)) as server:
        source = make_vendor_source("massive", base_url=server.base_url)

        with pytest.raises(failure, match=message):
            source.open_day(DAY, now=NOW)


def test_massive_with_a_wrong_token_is_refused(make_vendor_source: VendorSourceMaker) -> None:
    with HttpVendorServer(massive_answers(MARKET, token="another")) as server:
        source = make_vendor_source("massive", base_url=server.base_url)

        with pytest.raises(SourceRefused, match="MASSIVE_API_KEY"):
            source.open_day(DAY, now=NOW)


def test_eodhd_gives_a_day_of_an_exchange(make_vendor_source: VendorSourceMaker) -> None:
    with HttpVendorServer(eodhd_answers(MARKET)) as server:
        source = make_vendor_source("eodhd", base_url=server.base_url)
        rows = rows_of(source.open_day(DAY, now=NOW))

    assert len(rows) == 20
    assert rows[0]["symbol"] == "AAPL.US"
    assert rows[0]["close"] == Decimal("20.5")
    assert rows[0]["volume"] == 1000


def test_eodhd_serves_other_exchanges(make_vendor_source: VendorSourceMaker) -> None:
    market = {DAY.isoformat(): [make_bar("600000.SH", DAY)]}
    with HttpVendorServer(eodhd_answers(market, exchange="SHG")) as server:
        source = make_vendor_source(
            "eodhd",
            base_url=server.base_url,
            exchange="SHG",
            calendar="XSHG",
            symbol={"exchange": "SH"},
        )
        (row,) = rows_of(source.open_day(DAY, now=NOW))

    assert row["symbol"] == "600000.SH"


def test_eodhd_error_bodies_are_no_empty_days(make_vendor_source: VendorSourceMaker) -> None:
    with HttpVendorServer(lambda _: as_json({"message": "limit of the day"})) as server:
        source = make_vendor_source("eodhd", base_url=server.base_url)

        with pytest.raises(SourceUnavailable, match="limit of the day"):
            source.open_day(DAY, now=NOW)
