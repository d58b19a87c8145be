"""One day of a feed of files, opened and read to its end."""

import gzip
import zipfile
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from batch_assets.contracts.batch import SourceBatch
from batch_assets.sources.market.source import DayInput
from batch_assets_tests.sources.market.conftest import NOW, bar, text_of

DAY = date(2024, 9, 30)


ISO = DAY.isoformat()


def open_day(source: Any, day: date = DAY, now: datetime = NOW) -> DayInput:
    opened: DayInput = source.open_day(day, now=now)
    return opened


def read_all(opened: DayInput) -> list[SourceBatch]:
    batches = list(opened.read())
    for batch in batches:
        assert batch.read_rows == batch.rows.num_rows + len(batch.rejected)
        assert batch.positions.num_rows == batch.rows.num_rows
    return batches


def closes(batches: list[SourceBatch]) -> dict[str, Decimal | None]:
    return {row["symbol"]: row["close"] for batch in batches for row in batch.rows.to_pylist()}


def rules_by_row(batches: list[SourceBatch]) -> dict[int, list[tuple[str, str]]]:
    return {
        row.row: [(violation.rule, violation.column) for violation in row.violations]
        for batch in batches
        for row in batch.rejected
    }


def write_gzip(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data))


def write_zip(path: Path, data: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bars.csv", data)


ROWS = text_of(*(bar(ISO, f"{600000 + number}.SH") for number in range(300)))
