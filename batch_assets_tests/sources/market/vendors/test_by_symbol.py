from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from batch_assets.errors import (
    ConfigurationError,
    SourceRateLimited,
    SourceRefused,
    SourceUnavailable,
)
from batch_assets.sources.market.source import DayReason, DayState, MarketSource
from batch_assets.sources.market.vendors.symbol_source import read_symbols
from batch_assets_tests.fakes.bars import Bar, make_bar
from batch_assets_tests.fakes.http_vendor import Answer, HttpVendorServer
from batch_assets_tests.fakes.vendor_answers import (
    as_json,
    eastmoney_answers,
    yahoo_answers,
    yahoo_chart,
)
from batch_assets_tests.sources.market.vendors.conftest import (
    DAY,
    HOLIDAY,
    NEXT_DAY,
    NOW,
    US_DAYS,
    VendorSourceMaker,
    batch_of,
    build_vendor_feed,
    rows_of,
)

SYMBOLS = [f"{600000 + number}.SH" for number in range(12)]
DAYS = (DAY, HOLIDAY, NEXT_DAY)
SESSIONS = (DAY, NEXT_DAY)
MARKET: dict[str, list[Bar]] = {
    day.isoformat(): [make_bar(symbol, day, volume=1200) for symbol in SYMBOLS] for day in SESSIONS
}


@pytest.fixture
def eastmoney() -> Iterator[HttpVendorServer]:
    with HttpVendorServer(eastmoney_answers(MARKET)) as server:
        yield server


def open_source(
    make: VendorSourceMaker,
    server: HttpVendorServer,
    *,
    symbols: Sequence[str] = SYMBOLS,
    days: Sequence[date] = DAYS,
    **settings: object,
) -> MarketSource:
    return make("eastmoney", base_url=server.base_url, symbols=list(symbols), days=days, **settings)


def asked(server: HttpVendorServer) -> list[str]:
    return [request.query["secid"].partition(".")[2] for request in server.requests]


def test_a_range_costs_one_question_a_symbol(
    make_vendor_source: VendorSourceMaker, eastmoney: HttpVendorServer
) -> None:
    source = open_source(make_vendor_source, eastmoney)

    opened = {day: source.open_day(day, now=NOW) for day in DAYS}
    rows = {day: rows_of(opened[day]) for day in SESSIONS}

    assert [opened[day].state for day in DAYS] == [
        DayState.READY,
        DayState.SKIPPED,
        DayState.READY,
    ]
    assert [len(rows[day]) for day in SESSIONS] == [12, 12]
    assert len(eastmoney.requests) == 12
    query = eastmoney.requests[0].query
    assert (query["beg"], query["end"], query["fqt"]) == ("20240930", "20241008", "0")
    first = rows[DAY][0]
    bar = MARKET[DAY.isoformat()][0]
    assert (first["symbol"], first["volume"], first["amount"]) == ("600000.SH", 1200, bar.amount)
    assert (first["open"], first["high"], first["low"], first["close"]) == (
        bar.open,
        bar.high,
        bar.low,
        bar.close,
    )


def test_days_that_cannot_have_rows_yet_are_left_out_of_the_question(
    make_vendor_source: VendorSourceMaker, eastmoney: HttpVendorServer
) -> None:
    source = open_source(make_vendor_source, eastmoney)
    at_noon = build_vendor_feed("baostock").closes_on(NEXT_DAY) - timedelta(hours=3)

    assert source.open_day(DAY, now=at_noon).state is DayState.READY
    assert source.open_day(NEXT_DAY, now=at_noon).state is DayState.NOT_READY
    assert {request.query["end"] for request in eastmoney.requests} == {"20240930"}


def test_a_run_that_died_continues_with_the_symbols_that_are_missing(
    make_vendor_source: VendorSourceMaker, eastmoney: HttpVendorServer
) -> None:
    eastmoney.faults.extend([*[""] * 7, *["403"] * 20])
    with pytest.raises(SourceRefused):
        open_source(make_vendor_source, eastmoney).open_day(DAY, now=NOW)
    eastmoney.faults.clear()
    before = len(eastmoney.requests)
    again = open_source(make_vendor_source, eastmoney)

    rows = rows_of(again.open_day(DAY, now=NOW))

    assert len(rows) == 12
    assert sorted(asked(eastmoney)[before:]) == [symbol[:6] for symbol in SYMBOLS[7:]]


def test_a_second_run_asks_nothing_and_has_the_same_hashes(
    make_vendor_source: VendorSourceMaker, eastmoney: HttpVendorServer
) -> None:
    first = open_source(make_vendor_source, eastmoney).open_day(DAY, now=NOW)

    second = open_source(make_vendor_source, eastmoney).open_day(DAY, now=NOW)

    assert len(eastmoney.requests) == 12
    assert first.source_hash == second.source_hash


def test_old_answers_are_asked_for_again(
    make_vendor_source: VendorSourceMaker, eastmoney: HttpVendorServer
) -> None:
    open_source(make_vendor_source, eastmoney, reuse_minutes=60).open_day(DAY, now=NOW)
    later = NOW + timedelta(minutes=61)

    open_source(make_vendor_source, eastmoney, reuse_minutes=60).open_day(DAY, now=later)

    assert len(eastmoney.requests) == 24


def test_retrying_fetches_only_the_symbols_that_failed(
    make_vendor_source: VendorSourceMaker, eastmoney: HttpVendorServer
) -> None:
    eastmoney.faults.extend(["", "", "500", "500", ""])
    source = open_source(make_vendor_source, eastmoney)

    opened = source.open_day(DAY, now=NOW)
    before = len(eastmoney.requests)
    again = open_source(make_vendor_source, eastmoney).open_day(DAY, now=NOW)

    assert len(rows_of(opened)) == 11
    assert opened.is_warning
    assert "1 symbols could not be fetched (600002.SH)" in opened.message
    assert asked(eastmoney)[before:] == ["600002"]
    assert len(rows_of(again)) == 12
    assert not again.is_warning


def test_an_unknown_symbol_costs_only_itself(
    make_vendor_source: VendorSourceMaker, eastmoney: HttpVendorServer
) -> None:
    source = open_source(make_vendor_source, eastmoney, symbols=["600999.SH", *SYMBOLS])

    opened = source.open_day(DAY, now=NOW)

    assert len(rows_of(opened)) == 12
    assert "600999.SH" in opened.message
    assert "the symbol is unknown, or this address is banned" in opened.message


def test_a_soft_ban_stops_the_asking(
    make_vendor_source: VendorSourceMaker, eastmoney: HttpVendorServer
) -> None:
    eastmoney.answers = lambda _: as_json({"rc": 0, "data": None})
    symbols = [f"{number:06d}.SZ" for number in range(1, 101)]
    source = open_source(make_vendor_source, eastmoney, symbols=symbols)

    with pytest.raises(SourceUnavailable, match="5 symbols in a row could not be fetched"):
        source.open_day(DAY, now=NOW)
    with pytest.raises(SourceUnavailable):
        source.open_day(NEXT_DAY, now=NOW)

    assert len(eastmoney.requests) < 12


def test_a_rate_limit_keeps_what_was_answered(
    make_vendor_source: VendorSourceMaker, eastmoney: HttpVendorServer
) -> None:
    eastmoney.faults.extend(["", "", "429:900"])
    with pytest.raises(SourceRateLimited, match="after 900 s"):
        open_source(make_vendor_source, eastmoney).open_day(DAY, now=NOW)
    eastmoney.faults.clear()
    before = len(eastmoney.requests)

    open_source(make_vendor_source, eastmoney).open_day(DAY, now=NOW)

    assert len(eastmoney.requests) - before <= 10


def test_symbols_that_are_not_asked_any_more_are_not_loaded(
    make_vendor_source: VendorSourceMaker, eastmoney: HttpVendorServer
) -> None:
    open_source(make_vendor_source, eastmoney).open_day(DAY, now=NOW)

    fewer = open_source(make_vendor_source, eastmoney, symbols=SYMBOLS[:2])

    assert len(rows_of(fewer.open_day(DAY, now=NOW))) == 2


def test_several_connections_give_the_same_rows_sooner(
    make_vendor_source: VendorSourceMaker, eastmoney: HttpVendorServer
) -> None:
    one = rows_of(open_source(make_vendor_source, eastmoney).open_day(DAY, now=NOW))
    eastmoney.latency_seconds = 0.02

    four = open_source(make_vendor_source, eastmoney, max_connections=4, reuse_minutes=0)

    assert rows_of(four.open_day(DAY, now=NOW)) == one
    assert len(eastmoney.requests) == 24


def test_a_session_without_rows_of_any_symbol_is_unconfirmed(
    make_vendor_source: VendorSourceMaker, eastmoney: HttpVendorServer
) -> None:
    quiet = date(2024, 10, 9)
    source = open_source(make_vendor_source, eastmoney, days=[DAY, quiet])
    source.open_day(DAY, now=NOW)

    opened = source.open_day(quiet, now=NOW)

    assert opened.state is DayState.UNCONFIRMED_EMPTY
    assert opened.reason == DayReason.NO_ROWS
    assert opened.is_retryable


def test_a_line_of_another_form_costs_only_its_symbol(
    make_vendor_source: VendorSourceMaker, eastmoney: HttpVendorServer
) -> None:
    data = {"klines": ["2024-09-30,9.6,10.15"]}
    eastmoney.faults.append(as_json({"rc": 0, "data": data}))

    opened = open_source(make_vendor_source, eastmoney).open_day(DAY, now=NOW)

    assert len(rows_of(opened)) == 11
    assert "expected 8 fields" in opened.message


def test_shanghai_b_shares_are_asked_in_shanghai(make_vendor_source: VendorSourceMaker) -> None:
    market = {DAY.isoformat(): [make_bar("900901.SH", DAY), make_bar("430047.BJ", DAY)]}
    with HttpVendorServer(eastmoney_answers(market)) as server:
        source = open_source(
            make_vendor_source, server, symbols=["900901.SH", "430047.BJ"], days=[DAY]
        )
        rows = rows_of(source.open_day(DAY, now=NOW))

    assert [request.query["secid"] for request in server.requests] == ["1.900901", "0.430047"]
    assert [row["symbol"] for row in rows] == ["430047.BJ", "900901.SH"]


def test_yahoo_dates_are_those_of_the_exchange(make_vendor_source: VendorSourceMaker) -> None:
    market = {day.isoformat(): [make_bar("AAPL.US", day, f"{10 + day.day}")] for day in US_DAYS}
    with HttpVendorServer(yahoo_answers(market)) as server:
        source = make_vendor_source(
            "yahoo", base_url=server.base_url, symbols=["AAPL.US"], days=US_DAYS
        )
        closes = {day: rows_of(source.open_day(day, now=NOW))[0]["close"] for day in US_DAYS}

    assert closes == {day: Decimal(10 + day.day) for day in US_DAYS}
    assert len(server.requests) == 1


def test_yahoo_nulls_inside_arrays_are_no_bar_or_a_rejected_one(
    make_vendor_source: VendorSourceMaker,
) -> None:
    stamps = [1727703000, 1727789400]  # 9:30 in New York on 09-30 and 10-01
    quote = {
        name: [value, None]
        for name, value in (("open", 1.5), ("high", 2.5), ("low", 1.0), ("volume", 10))
    }
    answers = {
        "AAPL": yahoo_chart(stamps, {**quote, "close": [2.0, None]}),
        "MSFT": yahoo_chart(stamps, {**quote, "close": [None, None]}),
    }
    with HttpVendorServer(lambda request: as_json(answers[request.path[-4:]])) as server:
        source = make_vendor_source(
            "yahoo", base_url=server.base_url, symbols=["AAPL.US", "MSFT.US"], days=US_DAYS
        )
        batch = batch_of(source.open_day(US_DAYS[0], now=NOW))
        empty = source.open_day(US_DAYS[1], now=NOW)

    table = batch.rows.to_pylist()
    assert [(row["symbol"], row["close"]) for row in table] == [
        ("AAPL.US", Decimal(2)),
        ("MSFT.US", None),
    ]
    assert empty.state is DayState.UNCONFIRMED_EMPTY


def test_yahoo_unknown_symbols_are_told_apart(make_vendor_source: VendorSourceMaker) -> None:
    market = {DAY.isoformat(): [make_bar("AAPL.US", DAY)]}
    with HttpVendorServer(yahoo_answers(market)) as server:
        source = make_vendor_source(
            "yahoo", base_url=server.base_url, symbols=["AAPL.US", "GONE.US"], days=[DAY]
        )
        opened = source.open_day(DAY, now=NOW)

    assert len(rows_of(opened)) == 1
    assert "GONE.US" in opened.message
    assert "delisted" in opened.message


def test_yahoo_wants_dashes_and_suffixes(make_vendor_source: VendorSourceMaker) -> None:
    with HttpVendorServer(lambda _: Answer(b"{}", 403)) as server:
        source = make_vendor_source(
            "yahoo", base_url=server.base_url, symbols=["BRK.B.US", "600000.SH"], days=[DAY]
        )
        with pytest.raises(SourceRefused):
            source.open_day(DAY, now=NOW)

    assert {request.path.rpartition("/")[2] for request in server.requests} <= {
        "BRK-B",
        "600000.SS",
    }


def test_symbols_come_from_the_feed_and_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "symbols.txt").write_text("# mine\nMSFT.US\n\nAAPL.US # again\n", "utf-8")
    feed = build_vendor_feed("yahoo", symbols=["AAPL.US"], symbols_file=tmp_path / "symbols.txt")

    assert read_symbols(feed) == ["AAPL.US", "MSFT.US"]


@pytest.mark.parametrize("content", ["aapl", "../x.US", ""])
def test_a_wrong_symbol_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "symbols.txt").write_text(content, "utf-8")
    feed = build_vendor_feed("yahoo", symbols_file=tmp_path / "symbols.txt")

    with pytest.raises(ConfigurationError, match="expected canonical symbols"):
        read_symbols(feed)


def test_a_missing_file_of_symbols_is_named(tmp_path: Path) -> None:
    feed = build_vendor_feed("yahoo", symbols_file=tmp_path / "none.txt")

    with pytest.raises(ConfigurationError, match=r"none.txt.*one symbol a line"):
        read_symbols(feed)
