import json
import math
from argparse import ArgumentParser
from pathlib import Path

import pytest

from benchmarks import market
from benchmarks.market_year import write_year
from benchmarks.vendor_process import open_vendors
from benchmarks.vendor_replies import read_rows, write_by_day

WITH_AIMS = (
    "day_seconds",
    "year_by_day_rows_per_second_ratio_to_files",
    "year_by_symbol_symbols_per_second",
)
IN_DETAIL = (
    "day_tushare_seconds", "day_baostock_seconds", "year_files_rows_per_second",
    "year_tushare_ratio_to_files", "year_baostock_ratio_to_files",
    "year_tushare_with_latency_rows_per_second", "year_by_symbol_symbols_per_second_with_latency",
    "day_tushare_client_cpu_seconds", "year_tushare_client_cpu_seconds",
    "year_tushare_peak_memory_mb", "year_by_symbol_peak_memory_mb",
)  # fmt: skip
TINY = market.Scale(40, 7, asked_symbols=3, asked_sessions=4)


@pytest.mark.long
def test_the_command_writes_flat_figures_of_every_way(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(market.SCALES, "small", TINY)
    parser = ArgumentParser()
    market.COMMAND.add_to(parser.add_subparsers())
    written = tmp_path / "figures.json"
    words = ["market", "--scale", "small", "--repetitions", "1", "--json", str(written)]
    arguments = parser.parse_args([*words, "--database-url", postgres])

    arguments.run(arguments)

    figures = json.loads(written.read_text(encoding="utf-8"))
    for name in (*WITH_AIMS, *IN_DETAIL):
        assert math.isfinite(figures[name]), name
    assert all(figures[name] > 0 for name in WITH_AIMS)
    assert all(isinstance(value, str | int | float) for value in figures.values())
    assert figures["year_rows"] == 40 * 7
    assert figures["by_symbol_rows"] == 3 * 4


def test_replies_hold_the_rows_of_the_files_to_the_last_digit(tmp_path: Path) -> None:
    files = write_year(tmp_path / "files", tmp_path / "cache", symbols=5, sessions=1)
    write_by_day(files, tmp_path / "replies")
    (day,) = files.days
    row = next(read_rows(files, day))

    body = (tmp_path / "replies" / "tushare" / f"{day:%Y%m%d}").read_bytes()
    first = json.loads(body, parse_float=str, parse_int=str)["data"]["items"][0]

    assert first[:7] == [
        row.symbol, f"{day:%Y%m%d}", row.open, row.high, row.low, row.close, row.pre_close,
    ]  # fmt: skip
    assert int(first[7]) * 100 == int(row.volume)
    assert round(float(first[8]) * 1000, 2) == float(row.amount)


def test_vendors_end_with_the_benchmark(tmp_path: Path) -> None:
    with open_vendors(tmp_path) as vendors:
        assert vendors.http.startswith("http://127.0.0.1:")
        assert vendors.baostock_port != vendors.baostock_far_port
