"""Loads two million rows and says how much memory that took.

Run as `python -m batch_assets_tests.scenarios.memory_writer URL WINDOWS`; prints one JSON object.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.batch import POSITION_SCHEMA, SourceBatch
from batch_assets.contracts.table import Window
from batch_assets.loading.prepare import WindowSource
from batch_assets_tests.loading.synthetic import COLUMNS, days, load
from benchmarks.measure import peak_memory_mb

ROWS = 2_000_000
BATCH_ROWS = 10_000


def source(day: date, row_count: int) -> WindowSource:
    """A window whose batches are made as they are read."""

    def read(position: Mapping[str, int | str] | None) -> Iterator[SourceBatch]:
        first = int(position["row"]) if position else 0
        for offset in range(first, row_count, BATCH_ROWS):
            yield _batch(day, offset, min(BATCH_ROWS, row_count - offset))

    return WindowSource(Window.of_day(day), f"{day}.csv", str(day), read)


def _batch(day: date, offset: int, count: int) -> SourceBatch:
    numbers = pa.array(np.arange(offset, offset + count))
    symbols = pc.binary_join_element_wise("S", pc.cast(numbers, pa.string()), "")
    columns = [
        pa.repeat("test", count),
        symbols,
        pa.repeat(pa.scalar(day), count),
        pc.cast(pc.cast(numbers, pa.decimal128(19, 0)), pa.decimal128(25, 6)).cast(
            pa.decimal128(20, 6)
        ),
        symbols,
    ]
    file = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), [f"{day}.csv"])
    return SourceBatch(
        read_rows=count,
        rows=pa.RecordBatch.from_arrays(columns, schema=COLUMNS),
        positions=pa.RecordBatch.from_arrays([file, numbers], schema=POSITION_SCHEMA),
        originals=lambda indices: [{} for _ in indices],
        resume_after={"row": offset + count},
    )


def main() -> None:
    url, window_count = sys.argv[1], int(sys.argv[2])
    started = time.perf_counter()
    reports = load(url, *(source(day, ROWS // window_count) for day in days(window_count)))
    said = {
        "inserted": sum(report.ledger.inserted for report in reports),
        "seconds": round(time.perf_counter() - started, 1),
        "peak_mb": round(peak_memory_mb()),
    }
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
