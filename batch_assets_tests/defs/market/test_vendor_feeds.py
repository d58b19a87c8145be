"""Feeds of vendors as Dagster sees them; the vendors are fakes on loopback."""

from datetime import date

import dagster as dg
import pytest

from batch_assets.defs.market.assets import asset_key_of
from batch_assets.sources.market.feed import build_feeds
from batch_assets_tests.defs.market_files import (
    HOLIDAY,
    Market,
    failure_text,
    materializations,
)
from batch_assets_tests.fakes.baostock_server import BaostockServer
from batch_assets_tests.fakes.bars import a_share_market
from batch_assets_tests.fakes.http_vendor import HttpVendorServer
from batch_assets_tests.fakes.vendor_answers import eastmoney_answers, tushare_answers

DAYS = [date(2024, 9, 27), date(2024, 9, 30), date(2024, 10, 8)]
MARKET = {day.isoformat(): a_share_market(day, 40) for day in DAYS}
QUICK = "attempts = 2\nfirst_wait_seconds = 0.01\nread_timeout_seconds = 0.5\n"


def use_vendor(market: Market, lines: str) -> None:
    market.feeds = {"vendor": f"[market.feeds.vendor]\n{QUICK}{lines}\n"}


def test_a_range_of_a_vendor_is_loaded_day_by_day(market: Market) -> None:
    with BaostockServer() as server:
        for day in DAYS:
            server.add_day(day, MARKET[day.isoformat()])
        use_vendor(market, f'vendor = "baostock"\nhost = "127.0.0.1"\nport = {server.port}')

        result = market.sync("2024-09-27", "2024-10-08")

    assert market.stored_days("vendor") == {day.isoformat(): 40 for day in DAYS}
    assert HOLIDAY in materializations(result)
    assert result.success
    assert len(server.questions) == 3
    assert server.logins == 1


def test_a_missing_token_fails_the_run_and_not_the_definitions(market: Market) -> None:
    with HttpVendorServer(tushare_answers(MARKET)) as server:
        use_vendor(
            market, f'vendor = "tushare"\nbase_url = "{server.base_url}"\ntoken_env = "NO_TOKEN"'
        )
        assert market.definitions().resolve_job_def("market_sync")

        result = market.sync("2024-09-30")

    assert not result.success
    assert "environment variable NO_TOKEN is not set" in failure_text(result)
    assert not server.requests


@pytest.mark.parametrize("fault", ["401", "503"])
def test_a_vendor_that_fails_says_what_to_do(market: Market, fault: str) -> None:
    with HttpVendorServer(eastmoney_answers(MARKET)) as server:
        server.faults.extend([fault] * 9)
        use_vendor(
            market,
            f'vendor = "eastmoney"\nbase_url = "{server.base_url}"\nsymbols = ["600001.SH"]',
        )
        result = market.sync("2024-09-30")

    assert not result.success
    assert f"HTTP status {fault}" in failure_text(result)
    assert market.stored_days("vendor") == {}


def test_a_range_by_symbol_is_one_run_and_one_question_a_symbol(market: Market) -> None:
    symbols = [bar.symbol for bar in MARKET["2024-09-30"]]
    with HttpVendorServer(eastmoney_answers(MARKET)) as server:
        use_vendor(
            market, f'vendor = "eastmoney"\nbase_url = "{server.base_url}"\nsymbols = {symbols}'
        )
        definitions = market.definitions()

        result = market.sync("2024-09-27", "2024-10-08")

    feed = build_feeds(market.settings.section("market"), market.folder)["vendor"]
    asset = definitions.resolve_assets_def(asset_key_of(feed))
    assert asset.backfill_policy == dg.BackfillPolicy.single_run()
    assert asset.metadata_by_key[asset.key]["vendor"] == "eastmoney"
    assert result.success
    assert market.stored_days("vendor") == {day.isoformat(): 40 for day in DAYS}
    assert len(server.requests) == len(symbols)


# What a person sees in the step's failure: observed, expected, next step, for each of the three
# mistakes that everybody makes once.
CLEAR = {
    "wrong token": ("您的token不对", "expected code 0", "check the token in TOKEN_OF_TEST"),
    "unreachable": ("no connection", "expected an answer", "check the network and base_url"),
    "black-listed": ("this address is black-listed", "expected a login", "wait a day"),
    "no such host": ("name cannot be resolved", "expected an answer", "check the network"),
}


@pytest.mark.parametrize("mistake", CLEAR)
def test_each_common_mistake_is_one_clear_message_in_the_failure_of_the_step(
    market: Market, mistake: str
) -> None:
    market.environment["TOKEN_OF_TEST"] = "token"
    with (
        HttpVendorServer(tushare_answers(MARKET, token="another")) as http,
        BaostockServer() as baostock,
    ):
        baostock.login_faults.extend(["10001011"] * 9)
        closed = "http://127.0.0.1:9"
        # The third day finds the circuit open, and does not wait a minute for it here.
        tushare = (
            'vendor = "tushare"\ntoken_env = "TOKEN_OF_TEST"\nmax_wait_seconds = 0\nbase_url = '
        )
        use_vendor(
            market,
            {
                "wrong token": f'{tushare}"{http.base_url}"',
                "unreachable": f'{tushare}"{closed}"',
                "no such host": f'{tushare}"http://vendor.invalid"',
                "black-listed": f'vendor = "baostock"\nhost = "127.0.0.1"\nport = {baostock.port}',
            }[mistake],
        )

        result = market.sync("2024-09-27", "2024-10-08")

    assert not result.success
    text = failure_text(result)
    for part in CLEAR[mistake]:
        assert part in text
    assert text.startswith("3 of 12 days failed; the others are loaded.")
    assert "Traceback" not in text
    if mistake in ("wrong token", "black-listed"):
        assert len(http.requests) + baostock.logins == 1
    days = market.rows("SELECT error_message FROM ops.loads WHERE state = 'failed' ORDER BY 1")
    assert len(days) == 3
