"""What vendors would answer for the rows of day files, written out before anything is measured.

Replies are whole and in the vendors' own units, so that the fakes only copy bytes; converted back,
they are the rows of the files to the last digit.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from batch_assets_tests.fakes.baostock_server import DAY_COLUMNS, encode
from benchmarks.market_year import COLUMNS, DayFiles

TUSHARE_FIELDS = "ts_code,trade_date,open,high,low,close,pre_close,vol,amount"
_METHOD, _USER = "query_daily_history_k_AStock", "anonymous"
_LOT_SHARES = 100
_THOUSANDTH = Decimal("0.001")


@dataclass(frozen=True, slots=True)
class Row:
    """One bar as the files have it, all text."""

    symbol: str
    trade_date: str
    open: str
    high: str
    low: str
    close: str
    pre_close: str
    volume: str
    amount: str

    @property
    def lots(self) -> str:
        """Volume in lots; the files have whole ones."""
        lots, rest = divmod(int(self.volume), _LOT_SHARES)
        assert rest == 0
        return str(lots)

    @property
    def thousands(self) -> str:
        """Amount in thousands."""
        return f"{(Decimal(self.amount) * _THOUSANDTH).normalize():f}"


def write_by_day(files: DayFiles, folder: Path) -> None:
    """Write a reply of tushare and one of baostock for each day."""
    for vendor in ("tushare", "baostock"):
        (folder / vendor).mkdir(parents=True)
    for day in files.days:
        rows = list(read_rows(files, day))
        (folder / "tushare" / f"{day:%Y%m%d}").write_bytes(_tushare_body(rows))
        (folder / "baostock" / day.isoformat()).write_bytes(_baostock_frame(rows))


def write_by_symbol(files: DayFiles, folder: Path) -> list[str]:
    """Write a reply of eastmoney for each symbol; returns the symbols."""
    lines: dict[str, list[str]] = {}
    for day in files.days:
        for row in read_rows(files, day):
            cells = (
                row.trade_date, row.open, row.close, row.high, row.low, row.lots, row.amount,
            )  # fmt: skip
            lines.setdefault(row.symbol, []).append(",".join(cells))
    (folder / "eastmoney").mkdir(parents=True)
    for symbol, klines in lines.items():
        code, _, exchange = symbol.partition(".")
        market = int(exchange == "SH")
        data = {"code": code, "market": market, "klines": klines}
        body = json.dumps({"rc": 0, "data": data}).encode()
        (folder / "eastmoney" / f"{market}.{code}").write_bytes(body)
    return list(lines)


def copy_wire(source: Path, days: Sequence[date], folder: Path) -> None:
    """Put real replies of tushare beside the others."""
    for day in days:
        shutil.copy(source / f"{day.isoformat()}.json", folder / "tushare" / f"{day:%Y%m%d}")


def read_rows(files: DayFiles, day: date) -> Iterator[Row]:
    """The rows of a day's file."""
    options = pa_csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string()))
    table = pa_csv.read_csv(files.file_of(day), convert_options=options)
    columns = [table.column(name).to_pylist() for name in COLUMNS]
    for cells in zip(*columns, strict=True):
        yield Row(*cells)


def _tushare_body(rows: list[Row]) -> bytes:
    items = ",".join(
        f'["{row.symbol}","{row.trade_date.replace("-", "")}",{row.open},{row.high},{row.low},'
        f"{row.close},{row.pre_close},{row.lots},{row.thousands}]"
        for row in rows
    )
    fields = json.dumps(TUSHARE_FIELDS.split(","))
    head = f'{{"request_id":"x","code":0,"msg":"","data":{{"fields":{fields},"items":['
    return f'{head}{items}],"has_more":false,"count":-1}}}}'.encode()


def _baostock_frame(rows: list[Row]) -> bytes:
    records = []
    for row in rows:
        code, _, exchange = row.symbol.partition(".")
        prices = [f"{text}00" for text in (row.open, row.high, row.low, row.close, row.pre_close)]
        amount = f"{row.amount}00"
        records.append(
            [row.trade_date, f"{exchange.lower()}.{code}", *prices, row.volume, amount, "3",
             "0.512300", "1", "0.420000", "12.345678", "1.234567", "2.345678", "8.901234", "0"]
        )  # fmt: skip
    record = json.dumps({"record": records})
    return encode("99", ["0", "success", _METHOD, _USER, record, DAY_COLUMNS])
