"""The fakes convince the vendors' own clients too."""

import json
import subprocess
import sys
from typing import Any

import pytest

from batch_assets_tests.fakes.baostock_server import (
    FACTOR_COLUMNS,
    STATUS_COLUMNS,
    STOCK_COLUMNS,
    BaostockServer,
)
from batch_assets_tests.fakes.bars import a_share_market, us_market
from batch_assets_tests.fakes.http_vendor import HttpVendorServer
from batch_assets_tests.fakes.vendor_answers import (
    TUSHARE_FIELDS,
    massive_answers,
    massive_record,
    tushare_answers,
    tushare_row,
)
from batch_assets_tests.sources.market.vendors.conftest import DAY

# In a process of its own: the client keeps a global socket open and prints to the console.
CLIENT = """
import json, sys
import baostock
from baostock.common import contants
contants.BAOSTOCK_SERVER_IP, contants.BAOSTOCK_SERVER_PORT = "127.0.0.1", int(sys.argv[1])
codes = [baostock.login().error_code]
day = baostock.query_daily_history_k_AStock("2024-09-30")
symbol = baostock.query_history_k_data_plus(
    "sh.600001", "date,code,close", start_date="2024-09-01", end_date="2024-10-01"
)
dates = baostock.query_trade_dates("2024-09-30", "2024-10-01")
listed = baostock.query_stock_basic()
status = baostock.query_all_stock("2024-09-30")
changed = baostock.query_daily_adjust_factor("2024-09-30")
factors = baostock.query_adjust_factor("sh.600001", start_date="1990-01-01", end_date="2024-12-31")
lists = [listed, status, changed, factors]
codes += [answer.error_code for answer in (day, symbol, dates, *lists)]
pages = []
while listed.next():
    pages.append(listed.get_row_data())
baostock.logout()
print(json.dumps([
    codes, day.fields, day.data, symbol.data, dates.fields, dates.data,
    [answer.fields for answer in lists], pages, [answer.data for answer in lists[1:]],
]))
"""


def test_the_client_of_baostock_reads_what_the_fake_serves() -> None:
    pytest.importorskip("baostock", reason="the vendor's client is not installed (extra dev)")
    with BaostockServer() as server:
        server.add_day(DAY, a_share_market(DAY, 3000))
        server.sessions = {"2024-09-30": "1", "2024-10-01": "0"}
        server.listed = [
            [f"sh.{number}", "浦发银行", "1999-11-10", "", "1", "1"]
            for number in range(600000, 602500)
        ]
        server.statuses = {"2024-09-30": [["sh.600001", "0", "邯郸钢铁"]]}
        server.factors = {
            "sh.600001": [
                ["sh.600001", "2015-06-23", "0.5", "6.295967", "6.295967"],
                ["sh.600001", "2024-09-30", "1.000000", "12.5", "12.5"],
            ]
        }
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, str(server.port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    answer = json.loads(done.stdout.splitlines()[-1])
    codes, fields, day, symbol, date_fields, dates, list_fields, listed, lists = answer
    assert codes == ["0"] * 8
    assert [",".join(names) for names in list_fields] == [
        STOCK_COLUMNS,
        STATUS_COLUMNS,
        FACTOR_COLUMNS,
        FACTOR_COLUMNS,
    ]
    assert listed == server.listed
    assert lists == [
        server.statuses["2024-09-30"],
        server.factors["sh.600001"][1:],
        server.factors["sh.600001"],
    ]
    assert fields[:3] == ["date", "code", "open"]
    assert day == server.days["2024-09-30"]
    assert symbol == [[row[0], row[1], row[5]] for row in day if row[1] == "sh.600001"]
    assert date_fields == ["calendar_date", "is_trading_day"]
    assert dates == [["2024-09-30", "1"], ["2024-10-01", "0"]]


TUSHARE_CLIENT = """
import json, sys
import tushare
pro = tushare.pro_api("token")
pro._DataApi__http_url = sys.argv[1]
answers = [
    pro.daily(trade_date="20240930"),
    pro.adj_factor(trade_date="20240930"),
    pro.stock_basic(list_status="L"),
]
print(json.dumps([[list(a.columns), a.values.tolist()] for a in answers], default=str))
"""

MASSIVE_CLIENT = """
import json, sys
from massive import RESTClient
client = RESTClient("token", base=sys.argv[1])
bars = client.get_grouped_daily_aggs("2024-09-30", adjusted=False)
print(json.dumps([[bar.ticker, bar.close, bar.volume, bar.timestamp] for bar in bars]))
"""


def ask(client: str, address: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", client, address],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_the_client_of_tushare_reads_what_the_fake_serves() -> None:
    pytest.importorskip("tushare", reason="the vendor's client is not installed: pip install it")
    bars = a_share_market(DAY, 40)
    factors = [["600001.SH", "20240930", 1.05]]
    listed = [["600001.SH", "浦发银行", "19991110"]]
    more = {
        "adj_factor": (("ts_code", "trade_date", "adj_factor"), factors),
        "stock_basic": (("ts_code", "name", "list_date"), listed),
    }
    with HttpVendorServer(tushare_answers({DAY.isoformat(): bars}, more=more)) as server:
        daily, adjusted, basic = ask(TUSHARE_CLIENT, server.base_url)

    assert daily == [list(TUSHARE_FIELDS), [tushare_row(bar) for bar in bars]]
    assert adjusted == [["ts_code", "trade_date", "adj_factor"], factors]
    assert basic == [["ts_code", "name", "list_date"], listed]


def test_the_client_of_massive_reads_what_the_fake_serves() -> None:
    pytest.importorskip("massive", reason="the vendor's client is not installed: pip install it")
    bars = us_market(DAY)
    with HttpVendorServer(massive_answers({DAY.isoformat(): bars})) as server:
        rows = ask(MASSIVE_CLIENT, server.base_url)

    records = [massive_record(bar) for bar in bars]
    assert rows == [[record[name] for name in ("T", "c", "v", "t")] for record in records]
