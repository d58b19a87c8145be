"""`python -m benchmarks.spreadsheet_memory`: load one workbook in a fresh process, print the peak.

The work is described as JSON on standard input.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from batch_assets.postgres.connect import connect
from benchmarks.spreadsheet_files import Book, orders_template
from benchmarks.spreadsheet_load import PeakMemory, load_books, open_pool

_ROOT = Path(__file__).resolve().parent.parent


def measure_peak_mb(book: Book, url: str, folder: Path) -> float:
    """Memory of a process that loads a book, its worker included, in MiB.

    Raises:
        CalledProcessError: It failed; what it said is on standard error.
    """
    described = {
        "path": str(book.path), "rows": book.rows, "error_cells": book.error_cells, "url": url,
        "folder": str(folder),
    }  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.spreadsheet_memory"],
        input=json.dumps(described),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    return float(json.loads(result.stdout.splitlines()[-1]))


def main() -> None:
    """Do what is described."""
    described = json.load(sys.stdin)
    book = Book(Path(described["path"]), described["rows"], described["error_cells"])
    url = described["url"]
    with open_pool(Path(described["folder"]), workers=1) as workers, PeakMemory() as memory:
        load_books(
            lambda: connect(url, application_name="batch_assets benchmark"),
            orders_template(),
            [book],
            workers,
        )
    print(json.dumps(memory.peak_mb))


if __name__ == "__main__":
    main()
