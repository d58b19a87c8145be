"""The fakes convince the vendors' own clients too."""

import json
import subprocess
import sys

import pytest

from batch_assets_tests.fakes.baostock_server import BaostockServer
from batch_assets_tests.fakes.bars import a_share_market
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
codes += [answer.error_code for answer in (day, symbol, dates)]
baostock.logout()
print(json.dumps([codes, day.fields, day.data, symbol.data, dates.fields, dates.data]))
"""


def test_the_client_of_baostock_reads_what_the_fake_serves() -> None:
    pytest.importorskip("baostock", reason="the vendor's client is not installed (extra dev)")
    with BaostockServer() as server:
        server.add_day(DAY, a_share_market(DAY, 3000))
        server.sessions = {"2024-09-30": "1", "2024-10-01": "0"}
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, str(server.port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    codes, fields, day, symbol, date_fields, dates = json.loads(done.stdout.splitlines()[-1])
    assert codes == ["0"] * 4
    assert fields[:3] == ["date", "code", "open"]
    assert day == server.days["2024-09-30"]
    assert symbol == [[row[0], row[1], row[5]] for row in day if row[1] == "sh.600001"]
    assert date_fields == ["calendar_date", "is_trading_day"]
    assert dates == [["2024-09-30", "1"], ["2024-10-01", "0"]]
