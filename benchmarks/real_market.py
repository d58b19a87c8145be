r"""Real day files beside the project, in the columns and units that `psql \copy` can load."""

import csv
from datetime import date
from decimal import Decimal
from pathlib import Path

from batch_assets.sources.market.feed import Adjustment
from benchmarks.market_year import COLUMNS, DayFiles

_SHARED_MARKET = Path(__file__).resolve().parents[2] / "shared" / "data" / "market"
SHARED_FOLDER = _SHARED_MARKET / "cn_tushare_by_day"
SHARED_WIRE = _SHARED_MARKET / "wire_tushare_daily"

# The files say lots of 100 shares and thousands of yuan; a COPY cannot convert them.
_VOLUME_EXPONENT, _AMOUNT_EXPONENT = 2, 3
_SOURCE_COLUMNS = (
    "ts_code", "date", "open", "high", "low", "close", "pre_close", "vol", "amount",
)  # fmt: skip


def write_real(folder: Path, source: Path = SHARED_FOLDER) -> DayFiles:
    """Rewrite the real files without the columns that the table lacks."""
    folder.mkdir(parents=True)
    days, row_count = [], 0
    for path in sorted(source.glob("????-??-??.csv")):
        days.append(date.fromisoformat(path.stem))
        with (
            path.open(encoding="utf-8-sig", newline="") as read,
            (folder / path.name).open("w", encoding="utf-8", newline="") as written,
        ):
            lines = csv.writer(written, lineterminator="\n")
            lines.writerow(COLUMNS)
            for row in csv.DictReader(read):
                *plain, volume, amount = (row[name] for name in _SOURCE_COLUMNS)
                shares = Decimal(volume).scaleb(_VOLUME_EXPONENT)
                yuan = Decimal(amount).scaleb(_AMOUNT_EXPONENT)
                lines.writerow([*plain, f"{shares:f}", f"{yuan:f}"])
                row_count += 1
    return DayFiles(folder, tuple(days), row_count, prices=Adjustment.QFQ)


def wire_days(source: Path = SHARED_WIRE) -> tuple[date, ...]:
    """Trade dates of real replies; none where the files are not there."""
    return tuple(sorted(date.fromisoformat(path.stem) for path in source.glob("????-??-??.json")))
