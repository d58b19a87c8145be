"""What went wrong in a backfill as a workbook or a page: partitions, and rejected rows.

To correct rows and load them again, `batch-assets dead-letters export` writes the workbook.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import psycopg

from batch_assets.errors import ConfigurationError
from batch_assets.ops.backfills.read import read_errors
from batch_assets.ops.backfills.texts import counts_text
from batch_assets.ops.backfills.values import Progress
from batch_assets.ops.display import time_text
from batch_assets.ops.language import Language
from batch_assets.postgres.sql_files import read_query

if TYPE_CHECKING:
    from openpyxl import Workbook

_PARTITION_COLUMNS = ("i/n", "partition", "state", "error", "message", "run", "ended")
_REJECT_COLUMNS = (
    "partition",
    "file",
    "row",
    "rule",
    "column",
    "value",
    "expected",
    "what to do",
    "state",
)
_FETCH_ROWS = 2_000
# What a sheet of Excel holds, without its header.
_SHEET_ROWS = 1_048_575

_Row = Sequence[str]
_Write = Callable[[str], object]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;margin:2rem}}table{{border-collapse:collapse}}
td,th{{border:1px solid #ccc;padding:.3rem .6rem;text-align:left;vertical-align:top}}</style>
</head><body><h1>{title}</h1><p>{counts}</p>
"""


def write_error_report(
    conn: psycopg.Connection, path: Path, zone: ZoneInfo, progress: Progress
) -> tuple[int, int]:
    """Write a report by the ending of its name: .xlsx, or .html.

    Args:
        conn: Within a transaction, which lasts as long as the rows are read.
        path: Replaced if it exists.
        zone: Of the times shown.
        progress: Of the backfill, now.

    Returns:
        Partitions and lines about rejected rows that were written; all there are.

    Raises:
        ConfigurationError: The ending is another one.
    """
    writers = {".xlsx": _write_workbook, ".html": _write_page}
    write = writers.get(path.suffix.lower())
    if write is None:
        raise ConfigurationError(
            f"{path.name} ends in {path.suffix or 'nothing'}, expected .xlsx or .html; rename it"
        )
    backfill_id, total = progress.backfill.backfill_id, progress.total
    partitions = [
        (
            f"{error.position}/{total}",
            error.partition_key,
            error.state,
            error.error_class,
            error.message,
            error.run_id or "",
            time_text(error.happened_at, zone) if error.happened_at else "",
        )
        for error in reversed(read_errors(conn, backfill_id, limit=0).errors)
    ]
    rejects = write(path, progress, partitions, _read_rejects(conn, backfill_id))
    return len(partitions), rejects


def _read_rejects(conn: psycopg.Connection, backfill_id: int) -> Iterator[_Row]:
    with conn.cursor(name="read_backfill_rejects") as cursor:
        cursor.itersize = _FETCH_ROWS
        cursor.execute(read_query("read_backfill_rejects"), (backfill_id,))
        for row in cursor:
            yield ["" if value is None else str(value) for value in row]


def _write_workbook(
    path: Path, progress: Progress, partitions: Iterable[_Row], rejects: Iterable[_Row]
) -> int:
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    _write_sheet(book, "Days", _PARTITION_COLUMNS, partitions)
    count = _write_sheet(book, "Rejected rows", _REJECT_COLUMNS, rejects)
    book.properties.title = f"backfill {progress.backfill.backfill_id}"
    book.save(path)
    return count


def _write_sheet(book: "Workbook", title: str, columns: Sequence[str], rows: Iterable[_Row]) -> int:
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    sheet = book.create_sheet(title)
    sheet.append(columns)
    count = 0
    for count, row in enumerate(rows, 1):
        if count > 1 and count % _SHEET_ROWS == 1:
            sheet = book.create_sheet(f"{title} {count // _SHEET_ROWS + 1}")
            sheet.append(columns)
        cells = []
        for value in row:
            cell = WriteOnlyCell(
                sheet, ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", value)
            )
            # Whatever it begins with, it is a text: openpyxl takes `=` for a formula.
            cell.data_type = "s"
            cells.append(cell)
        sheet.append(cells)
    return count


def _write_page(
    path: Path, progress: Progress, partitions: Iterable[_Row], rejects: Iterable[_Row]
) -> int:
    backfill = progress.backfill
    title = f"{backfill.feed} {backfill.first_key} to {backfill.last_key}"
    with path.open("w", encoding="utf-8") as stream:
        counts = counts_text(progress, Language.ENGLISH)
        stream.write(_PAGE.format(title=escape(title), counts=escape(counts)))
        _write_table(stream.write, _PARTITION_COLUMNS, partitions)
        stream.write("<h2>Rejected rows</h2>\n")
        count = _write_table(stream.write, _REJECT_COLUMNS, rejects)
        stream.write("</body></html>\n")
    return count


def _write_table(write: _Write, columns: Sequence[str], rows: Iterable[_Row]) -> int:
    write("<table><thead>" + _html_row(columns, "th") + "</thead><tbody>\n")
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - how many there were
        write(_html_row(row, "td") + "\n")
    write("</tbody></table>\n")
    return count


def _html_row(values: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(value)}</{tag}>" for value in values) + "</tr>"
