"""Real daily bars of five US stocks, as the package bokeh-sampledata ships them.

Only its data file is read: the package itself, and bokeh below it, are not imported.
"""

import gzip
import importlib.util
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from batch_assets.errors import ConfigurationError

INSTALL_COMMAND = 'python -m pip install "batch-assets[embedded,demo]"'

_PACKAGE = "bokeh_sampledata"
_FILE = "stocks.csv.gz"

HEADER = "Ticker,Date,Open,High,Low,Close,Volume,Adj Close"
TICKERS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


def find_stock_file() -> Path:
    """The file with all bars.

    Raises:
        ConfigurationError: The package is not installed, or is one without this file.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            f"the package bokeh-sampledata is not installed, expected it for its real stock "
            f"prices; run: {INSTALL_COMMAND}"
        )
    file = Path(spec.origin).parent / "_data" / _FILE
    if not file.is_file():
        raise ConfigurationError(
            f"{file} is missing, expected it in bokeh-sampledata 2026.1 and newer; "
            "run: python -m pip install --upgrade bokeh-sampledata"
        )
    return file


def read_days(file: Path, first: date, last: date) -> Mapping[date, list[str]]:
    """Lines of the file by trade date, both ends included, as they are there.

    Returns:
        One line for each stock that traded, sorted by ticker; days without a session are absent.

    Raises:
        ConfigurationError: The file is not the one expected, or has no such days.
    """
    days: dict[date, list[str]] = {}
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        header = next(lines, "").strip()
        if header != HEADER:
            raise ConfigurationError(
                f"{file} begins with {header!r}, expected {HEADER!r}; install bokeh-sampledata "
                "2026.1"
            )
        for line in lines:
            day = date.fromisoformat(line.split(",", 2)[1])
            if first <= day <= last:
                days.setdefault(day, []).append(line.strip())
    if not days:
        raise ConfigurationError(
            f"{file} has no row from {first} to {last}, expected {len(TICKERS)} stocks a day; "
            "install bokeh-sampledata 2026.1"
        )
    return {day: sorted(days[day]) for day in sorted(days)}
