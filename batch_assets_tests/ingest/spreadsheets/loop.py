"""A folder, a template and a database in which the loop of corrections is walked."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import openpyxl
import psycopg

from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ingest.corrections.workbook import WorkbookReplay, read_corrected
from batch_assets.ingest.spreadsheets.load import FileReport, load_workbook_files, options_of
from batch_assets.ingest.spreadsheets.replay import replay_workbook
from batch_assets.settings import LoadingSettings
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate, build_template

DAY = date(2024, 9, 30)
HEADER = ["Order no", "Customer", "Order date", "Amount"]
COLUMNS: Mapping[str, Any] = {
    "order_no": {"header": "Order no", "type": "integer", "required": True},
    "customer": {"header": ["Customer", "客户"], "type": "text"},
    "order_date": {"header": "Order date", "type": "date"},
    "amount": {"header": "Amount", "type": "decimal(12,2)", "min": 0},
}


def order(number: Any, amount: Any = 10, customer: str | None = "Ann") -> list[Any]:
    return [number, customer, DAY, amount]


def write_book(path: Path, *rows: list[Any], header: list[str] = HEADER) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Orders"
    for row in (header, *rows):
        sheet.append(row)
    for cells in sheet.iter_rows(min_row=2):
        for cell in cells:
            if isinstance(cell.value, str):
                cell.data_type = "s"
    book.save(path)
    return path


@dataclass
class Loop:
    """What a test does, in short."""

    url: str
    folder: Path
    workers: IsolatedWorkers
    template: SpreadsheetTemplate

    @classmethod
    def of(cls, url: str, folder: Path, workers: IsolatedWorkers, **settings: Any) -> "Loop":
        body = {
            "table": "sales.orders",
            "key": "order_no",
            "columns": COLUMNS,
            "reject_limit_ratio": 1.0,
            **settings,
        }
        return cls(url, folder, workers, build_template("orders", body))

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url)

    def load(self, *files: Path, day: date = DAY, force: bool = False) -> FileReport:
        options = options_of(self.template, LoadingSettings(), force=force)
        [report] = load_workbook_files(
            self.connect,
            self.template,
            files,
            day,
            workers=self.workers,
            options=options,
            error_folder=self.folder / "errors",
        )
        return report

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with self.connect() as conn:
            return conn.execute(statement).fetchall()  # type: ignore[arg-type]

    def replay(self, workbook: Path, who: str = "ann") -> WorkbookReplay:
        with TemporaryDirectory(dir=self.workers.folder) as folder:
            return replay_workbook(
                self.connect,
                self.template,
                read_corrected(self.workers, workbook, Path(folder)),
                who=who,
                options=options_of(self.template, LoadingSettings()),
                error_folder=self.folder / "errors",
            )

    def errors_of(self, *rows: list[Any]) -> Path:
        """Load a workbook of rows; returns the error workbook."""
        report = self.load(write_book(self.folder / "orders.xlsx", *rows))
        assert report.error_workbook is not None
        return report.error_workbook

    def orders(self) -> list[tuple[Any, ...]]:
        return self.query("SELECT order_no, customer, amount::text FROM sales.orders ORDER BY 1")

    def letters(self) -> list[tuple[Any, ...]]:
        return self.query("SELECT row_number, state FROM ops.dead_letters ORDER BY row_number")


def edit(workbook: Path, *changes: tuple[int, str, Any], name: str = "fixed.xlsx") -> Path:
    """Change cells of *Fix me* as a person does; rows count from 1, without the header."""
    book = openpyxl.load_workbook(workbook)
    sheet = book["Fix me"]
    columns = {cell.value: cell.column for cell in sheet[1]}
    for row, column, value in changes:
        sheet.cell(row + 1, columns[column]).value = value
    book.save(workbook.parent / name)
    return workbook.parent / name
