import gzip
import importlib.util
from datetime import date
from pathlib import Path

import pytest

from batch_assets.errors import ConfigurationError
from batch_assets.ops.demo import stocks
from batch_assets.ops.demo.stocks import HEADER, find_stock_file, read_days


def test_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stocks, "_PACKAGE", "no_such_package_of_stocks")

    with pytest.raises(ConfigurationError) as caught:
        find_stock_file()

    assert "bokeh-sampledata is not installed" in str(caught.value)
    assert 'python -m pip install "batch-assets[embedded,demo]"' in str(caught.value)


def test_package_without_the_file_is_named_with_the_version_that_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert importlib.util.find_spec("json") is not None
    monkeypatch.setattr(stocks, "_PACKAGE", "json")

    with pytest.raises(ConfigurationError, match=r"stocks\.csv\.gz is missing, expected it in"):
        find_stock_file()


def test_days_hold_the_lines_of_the_file_as_they_are() -> None:
    days = read_days(find_stock_file(), date(2012, 12, 24), date(2012, 12, 26))

    assert list(days) == [date(2012, 12, 24), date(2012, 12, 26)]
    assert [line.split(",")[0] for line in days[date(2012, 12, 24)]] == list(stocks.TICKERS)
    assert days[date(2012, 12, 24)][1] == "FB,2012-12-24,26.5,26.96,26.2,26.93,28230100,26.93"


def test_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "Date,Close")

    with pytest.raises(ConfigurationError, match="begins with 'Date,Close', expected 'Ticker,"):
        read_days(file, date(2012, 12, 24), date(2012, 12, 26))


def test_file_without_the_days_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, HEADER, "FB,2013-12-24,26.5,26.96,26.2,26.93,28230100,26.93")

    with pytest.raises(ConfigurationError, match="has no row from 2012-12-24 to 2012-12-26"):
        read_days(file, date(2012, 12, 24), date(2012, 12, 26))


def written(folder: Path, *lines: str) -> Path:
    file = folder / "stocks.csv.gz"
    file.write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))
    return file
