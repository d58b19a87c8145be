"""Every fault of HTTP, through a whole vendor."""

import logging
import time
import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr

from batch_assets.errors import (
    BatchAssetsError,
    SourceRateLimited,
    SourceRefused,
    SourceUnavailable,
)
from batch_assets.sources.market.vendors.http import HttpCaller
from batch_assets.sources.market.vendors.vendor import VendorAccess
from batch_assets_tests.fakes.bars import us_market
from batch_assets_tests.fakes.http_vendor import Answer, HttpVendorServer
from batch_assets_tests.fakes.vendor_answers import eodhd_answers
from batch_assets_tests.sources.market.vendors.conftest import (
    BOUND_SECONDS,
    DAY,
    NEXT_DAY,
    NOW,
    TIMES_OF_FAULT,
    VendorSourceMaker,
    build_vendor_feed,
    rows_of,
)

MARKET = {day.isoformat(): us_market(day) for day in (DAY, NEXT_DAY)}


@pytest.mark.parametrize(
    ("fault", "failure", "message"),
    [
        ("silent", SourceUnavailable, "not a byte for 1 s"),
        ("reset", SourceUnavailable, "the connection broke"),
        ("half_body", SourceUnavailable, "the connection broke"),
        ("drip", SourceUnavailable, "no complete answer within 1.5 s"),
        ("drip_head", SourceUnavailable, "no complete answer within 1.5 s"),
        ("truncated", SourceUnavailable, "not complete JSON"),
        ("html", SourceUnavailable, "not complete JSON.*Please log in"),
        ("500", SourceUnavailable, "HTTP status 500"),
        ("502", SourceUnavailable, "HTTP status 502.*the server says no"),
        ("504", SourceUnavailable, "HTTP status 504"),
        ("429:30", SourceRateLimited, "after 30 s"),
        ("429", SourceRateLimited, "after 60 s"),
        ("401", SourceRefused, "check the token in EODHD_API_TOKEN"),
        ("403", SourceRefused, "check the token in EODHD_API_TOKEN"),
        ("404", SourceRefused, "check base_url and exchange"),
        ("302", SourceRefused, "check base_url and exchange"),
        ("418", SourceRefused, "changed its interface"),
    ],
)
def test_a_fault_ends_in_time_with_its_own_class(
    make_vendor_source: VendorSourceMaker,
    fault: str,
    failure: type[BatchAssetsError],
    message: str,
) -> None:
    with HttpVendorServer(eodhd_answers(MARKET)) as server:
        server.faults.extend([fault] * 2)
        times = TIMES_OF_FAULT.get(fault, {})
        source = make_vendor_source("eodhd", base_url=server.base_url, **times)
        started = time.monotonic()

        with pytest.raises(failure, match=message) as caught:
            source.open_day(DAY, now=NOW)

        assert time.monotonic() - started < BOUND_SECONDS
    assert type(caught.value) is failure
    assert "token=" not in str(caught.value)
    assert len(server.requests) == (2 if failure is SourceUnavailable else 1)


@pytest.mark.parametrize(
    "fault", ["silent", "reset", "half_body", "drip", "truncated", "503", "429:0"]
)
def test_a_passing_fault_is_asked_again(make_vendor_source: VendorSourceMaker, fault: str) -> None:
    with HttpVendorServer(eodhd_answers(MARKET)) as server:
        server.faults.append(fault)
        times = {"max_wait_seconds": 5, **TIMES_OF_FAULT.get(fault, {})}
        source = make_vendor_source("eodhd", base_url=server.base_url, **times)

        assert len(rows_of(source.open_day(DAY, now=NOW))) == 20
    assert len(server.requests) == 2


def test_a_storm_of_errors_is_not_carried_through_a_range(
    make_vendor_source: VendorSourceMaker,
) -> None:
    with HttpVendorServer(eodhd_answers(MARKET)) as server:
        server.faults.extend(["503"] * 100)
        source = make_vendor_source("eodhd", base_url=server.base_url)
        for day in (DAY, NEXT_DAY, DAY, NEXT_DAY, DAY):
            with pytest.raises(SourceUnavailable):
                source.open_day(day, now=NOW)

    assert len(server.requests) == 6


def test_an_unreachable_host_is_one_clear_message(make_vendor_source: VendorSourceMaker) -> None:
    with HttpVendorServer(eodhd_answers({})) as gone:
        base_url = gone.base_url
    source = make_vendor_source("eodhd", base_url=base_url)

    with pytest.raises(SourceUnavailable, match=r"no connection.*check the network and base_url"):
        source.open_day(DAY, now=NOW)


def test_an_answer_without_end_is_cut_off(make_vendor_source: VendorSourceMaker) -> None:
    with HttpVendorServer(eodhd_answers(MARKET)) as server:
        source = make_vendor_source("eodhd", base_url=server.base_url, max_reply_bytes=1024)

        with pytest.raises(SourceUnavailable, match="more than 1024 bytes"):
            source.open_day(DAY, now=NOW)


def test_the_token_never_reaches_the_log(
    make_vendor_source: VendorSourceMaker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with HttpVendorServer(eodhd_answers(MARKET)) as server:
        make_vendor_source("eodhd", base_url=server.base_url).open_day(DAY, now=NOW)

    assert "HTTP Request" in caplog.text
    assert "api_token" not in caplog.text


@pytest.mark.parametrize("status", [401, 500])
def test_a_token_that_the_vendor_repeats_is_hidden(tmp_path: Path, status: int) -> None:
    token = "not-to-be-repeated"
    answer = Answer(f"the key {token} is unknown".encode(), status)
    with HttpVendorServer(lambda _: answer) as server:
        feed = build_vendor_feed("eodhd", base_url=server.base_url)
        access = VendorAccess(lambda _: SecretStr(token), tmp_path)
        caller = HttpCaller(feed, access)
        with pytest.raises(BatchAssetsError, match=r"the key \*\*\* is unknown") as caught:
            caller.get("/bulk", params={"api_token": token})
        caller.close()

    assert server.requests[0].query == {"api_token": token}
    assert token not in "".join(traceback.format_exception(caught.value))
