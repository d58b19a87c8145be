import time
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from batch_assets.errors import (
    BatchAssetsError,
    LeaseHeld,
    SourceRateLimited,
    SourceRefused,
    SourceUnavailable,
    UnknownSymbol,
)
from batch_assets.sources.market.source import DayState
from batch_assets.sources.market.vendors.baostock import BaostockVendor
from batch_assets.sources.market.vendors.baostock_wire import encode_frame
from batch_assets.sources.market.vendors.vendor import VendorAccess
from batch_assets_tests.fakes.baostock_server import BaostockServer, day_row
from batch_assets_tests.fakes.bars import a_share_market, make_bar
from batch_assets_tests.sources.market.vendors.conftest import (
    BOUND_SECONDS,
    DAY,
    HOLIDAY,
    NEXT_DAY,
    NOW,
    TIMES_OF_FAULT,
    VendorSourceMaker,
    batch_of,
    build_vendor_feed,
    rows_of,
    secret,
)


def at(server: BaostockServer) -> dict[str, object]:
    return {"host": "127.0.0.1", "port": server.port}


def open_vendor(server: BaostockServer, folder: Path, **settings: object) -> BaostockVendor:
    feed = build_vendor_feed("baostock", **at(server), **settings)
    return BaostockVendor(feed, VendorAccess(secret, folder))


def test_a_request_is_framed_as_the_vendors_client_frames_it() -> None:
    captured = (
        b"00.9.40\x0198\x010000000049query_daily_history_k_AStock\x01anonymous\x012024-09-30"
        b"\x014267910921\n"
    )

    assert (
        encode_frame("98", ("query_daily_history_k_AStock", "anonymous", "2024-09-30")) == captured
    )


def test_a_day_takes_one_question_and_comes_in_shares_and_yuan(
    baostock_server: BaostockServer, make_vendor_source: VendorSourceMaker
) -> None:
    bar = make_bar("600000.SH", DAY, "10.15", 231532100)
    baostock_server.add_day(DAY, [bar, make_bar("000001.SZ", DAY)])
    source = make_vendor_source("baostock", **at(baostock_server))

    opened = source.open_day(DAY, now=NOW)

    assert opened.state is DayState.READY
    first, second = rows_of(opened)
    assert (first["symbol"], second["symbol"]) == ("600000.SH", "000001.SZ")
    assert first["close"] == Decimal("10.15")
    assert first["volume"] == 231532100
    assert first["amount"] == bar.amount
    assert first["status"] == "traded"
    assert baostock_server.questions == [
        ["query_daily_history_k_AStock", "anonymous", "2024-09-30"]
    ]


def test_a_range_of_days_uses_one_login_and_says_good_bye(
    baostock_server: BaostockServer, make_vendor_source: VendorSourceMaker
) -> None:
    for day in (DAY, NEXT_DAY):
        baostock_server.add_day(day, a_share_market(day))
    source = make_vendor_source("baostock", **at(baostock_server))

    for day in (DAY, HOLIDAY, NEXT_DAY):
        source.open_day(day, now=NOW)
    source.close()

    assert [type_ for type_, _ in baostock_server.requests] == ["00", "98", "98", "02"]
    assert baostock_server.most_open == 1


def test_suspended_symbols_and_empty_cells_are_no_errors(
    baostock_server: BaostockServer, make_vendor_source: VendorSourceMaker
) -> None:
    suspended = day_row(make_bar("600001.SH", DAY), status="0")
    suspended[7] = suspended[8] = ""
    baostock_server.days[DAY.isoformat()] = [day_row(make_bar("600000.SH", DAY)), suspended]
    source = make_vendor_source("baostock", **at(baostock_server))

    rows = rows_of(source.open_day(DAY, now=NOW))

    assert [row["status"] for row in rows] == ["traded", "suspended"]
    assert rows[1]["volume"] == 0
    assert rows[1]["open"] is None


def test_a_record_that_is_no_row_is_rejected_alone(
    baostock_server: BaostockServer, make_vendor_source: VendorSourceMaker
) -> None:
    rows = [day_row(bar) for bar in a_share_market(DAY, 3)]
    rows[1] = rows[1][:5]
    baostock_server.days[DAY.isoformat()] = rows
    source = make_vendor_source("baostock", **at(baostock_server))

    batch = batch_of(source.open_day(DAY, now=NOW))

    assert batch.read_rows == 3
    assert batch.rows.num_rows == 2
    assert [row.row for row in batch.rejected] == [2]
    assert batch.rejected[0].violations[0].rule == "wrong_field_count"


def test_the_same_day_has_the_same_hash_and_a_changed_cell_another(
    baostock_server: BaostockServer, make_vendor_source: VendorSourceMaker
) -> None:
    baostock_server.add_day(DAY, a_share_market(DAY))

    def source_hash() -> str | None:
        source = make_vendor_source("baostock", **at(baostock_server))
        opened = source.open_day(DAY, now=NOW)
        source.close()
        return opened.source_hash

    first, second = source_hash(), source_hash()
    baostock_server.days[DAY.isoformat()][3][5] = "77.7700"

    assert first == second
    assert source_hash() != first


def test_an_empty_session_is_unconfirmed_and_a_holiday_is_not_asked(
    baostock_server: BaostockServer, make_vendor_source: VendorSourceMaker
) -> None:
    source = make_vendor_source("baostock", **at(baostock_server))

    empty = source.open_day(DAY, now=NOW)
    holiday = source.open_day(HOLIDAY, now=NOW)

    assert empty.state is DayState.UNCONFIRMED_EMPTY
    assert empty.is_retryable
    assert "baostock (127.0.0.1" in empty.message
    assert holiday.state is DayState.SKIPPED
    assert len(baostock_server.questions) == 1


def test_a_day_before_its_ready_time_is_not_asked(
    baostock_server: BaostockServer, make_vendor_source: VendorSourceMaker
) -> None:
    source = make_vendor_source("baostock", **at(baostock_server))
    feed = build_vendor_feed("baostock")

    for moment in (feed.closes_on(DAY).replace(hour=9), feed.closes_on(DAY)):
        assert source.open_day(DAY, now=moment).state is DayState.NOT_READY

    assert not baostock_server.requests


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("silent", "not a byte for 1 s"),
        ("reset", "connection broke|closed by the server"),
        ("close", "closed by the server after 0 bytes"),
        ("half_frame", "closed by the server after|connection broke"),
        ("drip", "bytes within 1.5 s"),
        ("garbage", "no baostock frame"),
        ("bad_zip", "cannot be unpacked"),
        ("no_end", "without its end mark|bytes within|not a byte"),
        ("10002007", "answers 10002007"),
        ("04:10005001", "answers 10005001"),
    ],
)
def test_a_fault_ends_in_time_and_says_what_was_seen(
    baostock_server: BaostockServer, make_vendor_source: VendorSourceMaker, fault: str, message: str
) -> None:
    baostock_server.add_day(DAY, a_share_market(DAY))
    baostock_server.faults.extend([fault] * 2)
    times = TIMES_OF_FAULT.get(fault, {})
    source = make_vendor_source("baostock", **at(baostock_server), **times)
    started = time.monotonic()

    with pytest.raises(SourceUnavailable, match=message) as caught:
        source.open_day(DAY, now=NOW)

    assert time.monotonic() - started < BOUND_SECONDS
    assert "run the partition again" in str(caught.value)
    assert len(baostock_server.questions) == 2


@pytest.mark.parametrize("fault", ["reset", "half_frame", "bad_zip", "10002007", "fragmented"])
def test_a_passing_fault_is_asked_again_over_a_new_login(
    baostock_server: BaostockServer, make_vendor_source: VendorSourceMaker, fault: str
) -> None:
    baostock_server.add_day(DAY, a_share_market(DAY, 200))
    baostock_server.faults.append(fault)
    source = make_vendor_source("baostock", **at(baostock_server))

    assert len(rows_of(source.open_day(DAY, now=NOW))) == 200


def test_a_black_listed_address_is_told_so_and_asks_nothing_more(
    baostock_server: BaostockServer, make_vendor_source: VendorSourceMaker
) -> None:
    baostock_server.login_faults.extend(["10001011"] * 5)
    source = make_vendor_source("baostock", **at(baostock_server))

    with pytest.raises(SourceRefused, match=r"black-listed.*one connection"):
        source.open_day(DAY, now=NOW)
    with pytest.raises(SourceRefused, match="not asked, because an earlier request was refused"):
        source.open_day(NEXT_DAY, now=NOW)

    assert baostock_server.logins == 1


def test_a_forgotten_login_is_renewed_once(
    baostock_server: BaostockServer, make_vendor_source: VendorSourceMaker
) -> None:
    baostock_server.add_day(DAY, a_share_market(DAY))
    baostock_server.faults.append("10001001")
    source = make_vendor_source("baostock", **at(baostock_server))

    assert source.open_day(DAY, now=NOW).state is DayState.READY
    assert baostock_server.logins == 2
    assert baostock_server.most_open == 1


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("10001005", SourceRateLimited),
        ("10004016", SourceRateLimited),
        ("10001012", SourceRefused),
        ("10004020", SourceRefused),
    ],
)
def test_codes_are_told_apart(
    baostock_server: BaostockServer,
    make_vendor_source: VendorSourceMaker,
    code: str,
    failure: type[BatchAssetsError],
) -> None:
    baostock_server.faults.extend([code] * 2)
    source = make_vendor_source("baostock", **at(baostock_server))

    with pytest.raises(failure, match=code):
        source.open_day(DAY, now=NOW)

    assert len(baostock_server.questions) == 1


def test_nobody_there_is_one_clear_message(make_vendor_source: VendorSourceMaker) -> None:
    with BaostockServer() as gone:
        port = gone.port
    source = make_vendor_source("baostock", host="127.0.0.1", port=port)

    with pytest.raises(
        SourceUnavailable, match=rf"no connection to 127.0.0.1:{port}.*check the net"
    ):
        source.open_day(DAY, now=NOW)


def test_a_vendor_that_is_down_is_not_asked_for_every_day_of_a_range(
    baostock_server: BaostockServer, make_vendor_source: VendorSourceMaker
) -> None:
    baostock_server.faults.extend(["close"] * 100)
    source = make_vendor_source("baostock", **at(baostock_server))

    days = [date(2024, 9, day) for day in (23, 24, 25, 26, 27)]
    messages = []
    for day in days:
        with pytest.raises(SourceUnavailable) as caught:
            source.open_day(day, now=NOW)
        messages.append(str(caught.value))

    assert len(baostock_server.questions) == 6
    assert all(message.startswith("not asked") for message in messages[3:])


def test_a_second_process_waits_for_the_one_connection(
    baostock_server: BaostockServer, tmp_path: Path
) -> None:
    baostock_server.add_day(DAY, a_share_market(DAY))
    first = open_vendor(baostock_server, tmp_path)
    second = open_vendor(baostock_server, tmp_path)
    first.fetch_day(DAY)

    with pytest.raises(LeaseHeld, match="allows one connection"):
        second.fetch_day(DAY)
    first.close()

    assert second.fetch_day(DAY).read_rows == 30
    second.close()
    assert baostock_server.most_open == 1


def test_a_token_goes_into_the_login(baostock_server: BaostockServer, tmp_path: Path) -> None:
    vendor = open_vendor(baostock_server, tmp_path, token_env="BAOSTOCK_KEY")

    vendor.fetch_day(DAY)
    vendor.close()

    assert baostock_server.requests[0] == ("00", ["login", "anonymous", "123456", "token"])


def test_a_symbol_is_read_page_by_page(baostock_server: BaostockServer, tmp_path: Path) -> None:
    days = [date.fromordinal(date(2015, 1, 1).toordinal() + back) for back in range(2001)]
    for day in days:
        baostock_server.add_day(day, [make_bar("600000.SH", day)])
    vendor = open_vendor(baostock_server, tmp_path)

    answer = vendor.fetch_symbol("600000.SH", days[0], days[-1])
    vendor.close()

    assert answer.read_rows == 2001
    assert answer.places.tolist() == list(range(1, 2002))
    assert [fields[2] for fields in baostock_server.questions] == ["1", "2"]


def test_an_unknown_symbol_is_told_apart(baostock_server: BaostockServer, tmp_path: Path) -> None:
    baostock_server.faults.append("10004011")
    vendor = open_vendor(baostock_server, tmp_path)

    with pytest.raises(UnknownSymbol, match=r"600999.SH.*correct symbols"):
        vendor.fetch_symbol("600999.SH", DAY, NEXT_DAY)

    vendor.close()


def test_the_vendors_calendar_is_read(baostock_server: BaostockServer, tmp_path: Path) -> None:
    baostock_server.sessions = {"2024-09-30": "1", "2024-10-01": "0"}
    vendor = open_vendor(baostock_server, tmp_path)

    sessions = vendor.fetch_sessions(DAY, HOLIDAY)
    vendor.close()

    assert sessions == {DAY: True, HOLIDAY: False}


def test_beyond_every_calendar_the_vendors_own_says_what_is_a_session(
    baostock_server: BaostockServer, make_vendor_source: VendorSourceMaker
) -> None:
    closed, session = date(2031, 1, 1), date(2031, 1, 2)
    now = datetime(2031, 2, 1, tzinfo=UTC)
    baostock_server.sessions = {closed.isoformat(): "0", session.isoformat(): "1"}
    baostock_server.add_day(session, a_share_market(session))
    source = make_vendor_source("baostock", **at(baostock_server))

    assert source.open_day(closed, now=now).state is DayState.SKIPPED
    assert source.open_day(session, now=now).state is DayState.READY
    source.close()
    again = make_vendor_source("baostock", **at(baostock_server))

    assert again.open_day(closed, now=now).state is DayState.SKIPPED
    methods = [fields[0] for fields in baostock_server.questions]
    assert methods == ["query_trade_dates", "query_daily_history_k_AStock"]


def test_where_no_calendar_says_an_empty_day_is_asked_for_and_never_skipped(
    baostock_server: BaostockServer, make_vendor_source: VendorSourceMaker
) -> None:
    day = date(2031, 1, 2)
    baostock_server.faults.extend(["10005001"] * 2)
    source = make_vendor_source("baostock", **at(baostock_server))

    opened = source.open_day(day, now=datetime(2031, 2, 1, tzinfo=UTC))

    assert opened.state is DayState.UNCONFIRMED_EMPTY
    assert baostock_server.questions[-1][0] == "query_daily_history_k_AStock"
