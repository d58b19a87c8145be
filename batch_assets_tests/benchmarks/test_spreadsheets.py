import json
import math
import zipfile
from argparse import ArgumentParser
from pathlib import Path

import openpyxl
import pytest

from benchmarks import spreadsheets
from benchmarks.error_cells import compare_error_cells
from benchmarks.spreadsheet_files import COLUMNS, write_orders

WITH_AIMS = (
    "rows_per_second", "ratio_vs_openpyxl_read_only", "small_files_per_second",
    "max_heartbeat_delay_ms", "peak_memory_mb",
)  # fmt: skip
TINY = spreadsheets.Scale(300, 100, small_files=3, memory_rows=300)


@pytest.mark.long
def test_the_command_writes_flat_figures(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(spreadsheets.SCALES, "small", TINY)
    monkeypatch.setattr(spreadsheets, "SHARED_WORKBOOKS", tmp_path / "absent")
    parser = ArgumentParser()
    spreadsheets.COMMAND.add_to(parser.add_subparsers())
    written = tmp_path / "figures.json"
    words = ["spreadsheets", "--scale", "small", "--repetitions", "1", "--json", str(written)]
    arguments = parser.parse_args([*words, "--database-url", postgres])

    arguments.run(arguments)

    figures = json.loads(written.read_text(encoding="utf-8"))
    for name in WITH_AIMS:
        assert math.isfinite(figures[name]), name
        assert figures[name] > 0, name
    assert figures["lost_error_cells"] is None
    assert figures["lost_error_cells_reason"]
    assert (figures["rows"], figures["small_files"]) == (300, 3)


@pytest.mark.long
def test_the_workbook_is_one_that_openpyxl_reads_with_dates_and_error_cells(tmp_path: Path) -> None:
    book = write_orders(tmp_path / "orders.xlsx", 20_000)

    sheet = openpyxl.load_workbook(book.path, read_only=True, data_only=True)["Orders"]
    rows = list(sheet.iter_rows(values_only=True))

    assert rows[0] == tuple(COLUMNS)
    assert len(rows) == 20_001
    first = dict(zip(rows[0], rows[1], strict=True))
    assert (first["order_date"].year, first["is_paid"], first["status"]) == (2024, True, "shipped")
    assert rows[-1][10] == "#N/A"
    assert book.error_cells == 1


@pytest.mark.long
def test_error_cells_of_a_workbook_are_compared_with_openpyxl(tmp_path: Path) -> None:
    write_orders(tmp_path / "orders.xlsx", 20_000)
    with zipfile.ZipFile(tmp_path / "no-workbook.xlsx", "w") as archive:
        archive.writestr("readme.txt", "nothing here")

    found = compare_error_cells(tmp_path)

    assert (found.workbooks, found.seen, found.lost, found.refused) == (1, 1, 0, 1)
