import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from batch_assets.errors import (
    BatchAssetsError,
    ConfigurationError,
    SourceRateLimited,
    SourceRefused,
    SourceUnavailable,
    UnreadableSource,
)
from batch_assets.sources.market.files import open_feed
from batch_assets.sources.market.source import DayState
from batch_assets.sources.market.vendors.tushare import TushareVendor
from batch_assets.sources.market.vendors.vendor import VendorAccess
from batch_assets_tests.fakes.bars import a_share_market, make_bar, read_shared_wire
from batch_assets_tests.fakes.http_vendor import Answer, HttpVendorServer
from batch_assets_tests.fakes.vendor_answers import (
    NO_PERMISSION,
    RATE_LIMIT,
    as_json,
    tushare_answers,
    tushare_refusal,
)
from batch_assets_tests.sources.market.vendors.conftest import (
    DAY,
    HOLIDAY,
    NEXT_DAY,
    NOW,
    VendorSourceMaker,
    batch_of,
    build_vendor_feed,
    rows_of,
    secret,
)

MARKET = {day.isoformat(): a_share_market(day) for day in (DAY, NEXT_DAY)}


def open_vendor(server: HttpVendorServer, folder: Path, **settings: object) -> TushareVendor:
    feed = build_vendor_feed("tushare", base_url=server.base_url, **settings)
    return TushareVendor(feed, VendorAccess(secret, folder))


def test_a_day_takes_one_request_and_comes_in_shares_and_yuan(
    make_vendor_source: VendorSourceMaker,
) -> None:
    bar = make_bar("600000.SH", DAY, "10.15", 231532167)
    with HttpVendorServer(tushare_answers({"": [bar]})) as server:
        opened = make_vendor_source("tushare", base_url=server.base_url).open_day(DAY, now=NOW)

        (row,) = rows_of(opened)

    assert opened.state is DayState.READY
    assert (row["volume"], row["amount"], row["close"]) == (bar.volume, bar.amount, bar.close)
    asked = json.loads(server.requests[0].body)
    assert asked["params"] == {"trade_date": "20240930"}
    assert asked["token"] == "token"
    assert len(server.requests) == 1


def test_numbers_keep_every_digit_of_the_wire(make_vendor_source: VendorSourceMaker) -> None:
    wire = (
        b'{"code":0,"data":{"fields":["ts_code","trade_date","open","high","low","close","vol",'
        b'"amount"],"items":[["600000.SH","20240930",9.6,10.22,9.58,10.150001,2315321.12345678,'
        b"2.284321456e6]]}}"
    )
    with HttpVendorServer(lambda _: Answer(wire)) as server:
        source = make_vendor_source("tushare", base_url=server.base_url)
        (row,) = rows_of(source.open_day(DAY, now=NOW))

    assert row["close"] == Decimal("10.150001")
    assert row["volume"] == Decimal("231532112.345678")
    assert row["amount"] == Decimal("2284321456")


@pytest.mark.parametrize(
    ("day", "rows", "volume_lots", "close"),
    [
        (DAY, 5063, "2392006666.07", "91129.89"),
        (NEXT_DAY, 5059, "2864652921.34", "100451.70"),
    ],
)
def test_real_replies_reproduce_their_control_totals(
    shared_market: Path,
    make_vendor_source: VendorSourceMaker,
    day: date,
    rows: int,
    volume_lots: str,
    close: str,
) -> None:
    wire = read_shared_wire(shared_market, day)
    with HttpVendorServer(lambda _: as_json(wire)) as server:
        source = make_vendor_source("tushare", base_url=server.base_url, prices="qfq")
        batch = batch_of(source.open_day(day, now=NOW))

    table = batch.rows.to_pydict()
    assert batch.read_rows == rows == batch.rows.num_rows
    assert sum(table["volume"]) == Decimal(volume_lots) * 100
    assert sum(table["close"]) == Decimal(close)


def test_the_request_id_is_no_part_of_the_days_identity(
    make_vendor_source: VendorSourceMaker,
) -> None:
    with HttpVendorServer(tushare_answers(MARKET)) as server:
        source = make_vendor_source("tushare", base_url=server.base_url)
        first, second = (source.open_day(DAY, now=NOW).source_hash for _ in range(2))
        other = source.open_day(NEXT_DAY, now=NOW).source_hash

    bodies = {request.body for request in server.requests[:2]}
    assert len(bodies) == 1
    assert first == second
    assert other != first


def test_nulls_inside_rows_cost_only_rows_that_need_the_value(
    make_vendor_source: VendorSourceMaker,
) -> None:
    items = [
        ["600000.SH", "20240930", 1, 2, 1, 2, None, 0, 0, 10, None],
        [None, "20240930", 1, 2, 1, 2, 1, 0, 0, 10, 1],
        ["600002.SH", "20240930", 1, 2, 1, [], 1, 0, 0, 10, 1],
        "no row",
        ["600003.SH"],
    ]
    data = {
        "fields": ["ts_code", "trade_date", "open", "high", "low", "close", "pre_close",
                   "change", "pct_chg", "vol", "amount"],
        "items": items,
    }  # fmt: skip
    with HttpVendorServer(lambda _: as_json({"code": 0, "data": data})) as server:
        source = make_vendor_source("tushare", base_url=server.base_url)
        batch = batch_of(source.open_day(DAY, now=NOW))

    assert batch.read_rows == 5
    assert batch.rows.column("symbol").to_pylist() == ["600000.SH"]
    rules = {row.row: row.violations[0].rule for row in batch.rejected}
    assert rules == {
        2: "missing_value",
        3: "unparsable_number",
        4: "wrong_field_count",
        5: "wrong_field_count",
    }
    assert batch.rejected[0].original["close"] == "2"


def test_rows_of_another_day_are_rejected(make_vendor_source: VendorSourceMaker) -> None:
    def answers(_: object) -> Answer:
        items = [["600000.SH", "20240927", 1, 2, 1, 2, 10]]
        fields = ["ts_code", "trade_date", "open", "high", "low", "close", "vol"]
        return as_json({"code": 0, "data": {"fields": fields, "items": items}})

    with HttpVendorServer(answers) as server:
        source = make_vendor_source("tushare", base_url=server.base_url)
        batch = batch_of(source.open_day(DAY, now=NOW))

    assert batch.rejected[0].violations[0].rule == "wrong_date"


@pytest.mark.parametrize(
    ("code", "message", "failure", "says"),
    [
        (40203, RATE_LIMIT, SourceRateLimited, "a rate limit: run the partition again after 60 s"),
        (40203, "抱歉，您每小时最多访问该接口1次", SourceRateLimited, "after 3600 s"),
        (40203, "抱歉，您每天最多访问该接口5次", SourceRateLimited, "after 86400 s"),
        (40203, NO_PERMISSION, SourceRefused, "check the token in TUSHARE_TOKEN and the points"),
        (40203, "抱歉，您的积分不够", SourceRefused, "points"),
        (40101, "您的token不对，请确认。", SourceRefused, "check the token in TUSHARE_TOKEN"),
        (-2001, "系统异常", SourceUnavailable, "run the partition again later"),
    ],
)
def test_refusals_are_told_apart_by_their_words(
    make_vendor_source: VendorSourceMaker,
    code: int,
    message: str,
    failure: type[BatchAssetsError],
    says: str,
) -> None:
    with HttpVendorServer(lambda _: tushare_refusal(code, message)) as server:
        source = make_vendor_source("tushare", base_url=server.base_url)

        with pytest.raises(failure, match=says) as caught:
            source.open_day(DAY, now=NOW)

    assert type(caught.value) is failure
    assert caught.value.retryable is not (failure is SourceRefused)


def test_a_wrong_token_is_refused_once_and_the_range_is_not_asked(
    make_vendor_source: VendorSourceMaker,
) -> None:
    with HttpVendorServer(tushare_answers(MARKET, token="another")) as server:
        source = make_vendor_source("tushare", base_url=server.base_url)
        for day in (DAY, NEXT_DAY):
            with pytest.raises(SourceRefused, match="TUSHARE_TOKEN"):
                source.open_day(day, now=NOW)

    assert len(server.requests) == 1


def test_a_missing_token_names_its_variable_before_anything_is_sent(tmp_path: Path) -> None:
    with HttpVendorServer(tushare_answers(MARKET)) as server:
        feed = build_vendor_feed("tushare", base_url=server.base_url, token_env="MY_TOKEN")
        source = open_feed(feed, tmp_path)

        with pytest.raises(ConfigurationError, match="environment variable MY_TOKEN is not set"):
            source.open_day(DAY, now=NOW)

    assert not server.requests


def test_a_full_answer_is_split_by_exchange(make_vendor_source: VendorSourceMaker) -> None:
    with HttpVendorServer(tushare_answers(MARKET, cap=20)) as server:
        source = make_vendor_source("tushare", base_url=server.base_url, max_reply_rows=20)
        batch = batch_of(source.open_day(DAY, now=NOW))

    exchanges = [json.loads(request.body)["params"].get("exchange") for request in server.requests]
    assert exchanges == [None, "SSE", "SZSE", "BSE"]
    assert batch.read_rows == batch.rows.num_rows == 30
    assert sorted(batch.rows.column("symbol").to_pylist()) == sorted(
        bar.symbol for bar in MARKET[DAY.isoformat()]
    )


def test_an_answer_that_stays_full_fails_and_is_never_called_whole(
    make_vendor_source: VendorSourceMaker,
) -> None:
    with HttpVendorServer(tushare_answers(MARKET, cap=10)) as server:
        source = make_vendor_source("tushare", base_url=server.base_url, max_reply_rows=10)

        with pytest.raises(
            UnreadableSource, match=r"as many as one answer can hold.*max_reply_rows"
        ):
            source.open_day(DAY, now=NOW)


def test_a_vendor_that_ignores_the_exchange_is_found_out(
    make_vendor_source: VendorSourceMaker,
) -> None:
    def ignoring(request: object) -> Answer:
        asked = json.loads(request.body)  # type: ignore[attr-defined]
        cap = 19 if asked["params"].pop("exchange", None) else 20
        return tushare_answers(MARKET, cap=cap)(
            type(request)("POST", "/", {}, {}, json.dumps(asked).encode())  # type: ignore[call-arg]
        )

    with HttpVendorServer(ignoring) as server:
        source = make_vendor_source("tushare", base_url=server.base_url, max_reply_rows=20)

        with pytest.raises(UnreadableSource, match="SZ among them"):
            source.open_day(DAY, now=NOW)


def test_an_empty_session_is_unconfirmed_and_a_holiday_is_not_asked(
    make_vendor_source: VendorSourceMaker,
) -> None:
    with HttpVendorServer(tushare_answers({})) as server:
        source = make_vendor_source("tushare", base_url=server.base_url)
        empty, holiday = source.open_day(DAY, now=NOW), source.open_day(HOLIDAY, now=NOW)

    assert empty.state is DayState.UNCONFIRMED_EMPTY
    assert holiday.state is DayState.SKIPPED
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"code": 0, "data": {"items": []}},
        {"code": 0, "data": {"fields": ["a"], "items": {}}},
        {"code": 0, "data": {"fields": ["ts_code", "vol"], "items": [["600000.SH", 1]]}},
        [1],
    ],
)
def test_an_answer_of_another_form_says_so(
    make_vendor_source: VendorSourceMaker, body: object
) -> None:
    with HttpVendorServer(lambda _: as_json(body)) as server:
        source = make_vendor_source("tushare", base_url=server.base_url)

        with pytest.raises(UnreadableSource, match="may have changed its format"):
            source.open_day(DAY, now=NOW)


def test_a_symbols_range_is_halved_where_one_answer_does_not_hold_it(tmp_path: Path) -> None:
    days = [date(2024, 9, number) for number in range(1, 31)]
    market = {day.isoformat(): [make_bar("600000.SH", day)] for day in days}
    with HttpVendorServer(tushare_answers(market, cap=10)) as server:
        vendor = open_vendor(server, tmp_path, max_reply_rows=10)
        answer = vendor.fetch_symbol("600000.SH", days[0], days[-1])
        vendor.close()

    assert sorted(answer.cells.column("trade_date").to_pylist()) == [
        f"{day:%Y%m%d}" for day in days
    ]


def test_universe_calendar_factors_and_suspensions_are_read(tmp_path: Path) -> None:
    instruments = ("ts_code", "name", "market", "list_date", "delist_date")
    more = {
        "stock_basic": (instruments, [["600000.SH", "浦发银行", "主板", "19991110", None]]),
        "trade_cal": (("cal_date", "is_open"), [["20240930", 1], ["20241001", 0]]),
        "adj_factor": (("ts_code", "trade_date", "adj_factor"), [["600000.SH", "20240930", 12.5]]),
        "suspend_d": (
            ("ts_code", "trade_date", "suspend_timing"),
            [["600001.SH", "20240930", None]],
        ),
    }
    with HttpVendorServer(tushare_answers({}, more=more)) as server:
        vendor = open_vendor(server, tmp_path)

        assert vendor.fetch_instruments(DAY).read_rows == 3
        assert vendor.fetch_sessions(DAY, HOLIDAY) == {DAY: True, HOLIDAY: False}
        assert vendor.fetch_factors(DAY).cells.column("adj_factor").to_pylist() == ["12.5"]
        assert vendor.fetch_suspensions(DAY).cells.column("ts_code").to_pylist() == ["600001.SH"]
        vendor.close()
