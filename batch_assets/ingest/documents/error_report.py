"""The report of failed documents as a workbook and as a page, for whoever can mend the files.

One row for each file. Names of files come from anybody, so nothing in a report is ever evaluated:
not as a formula, not as markup.
"""

import html
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from batch_assets.ingest.documents.advice import file_advice
from batch_assets.ingest.documents.errors import FailedDocument, meaning_of
from batch_assets.sources.documents.outcome import Language

if TYPE_CHECKING:
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.worksheet._write_only import WriteOnlyWorksheet

# A spreadsheet program takes a text that begins like this for a formula, at the latest when the
# workbook is saved as CSV and opened again. The list is OWASP's, and the full-width forms, which
# some programs fold.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

# Of Excel: characters of a cell, rows of a sheet.
_CELL_CHARACTERS = 32_767
_SHEET_ROWS = 1_048_576

_HEADERS: dict[Language, tuple[str, ...]] = {
    "en": ("File", "Source", "Day", "Outcome", "What it means", "What was seen", "What to do"),
    "zh": ("文件", "来源", "日期", "结果", "含义", "具体情况", "处理办法"),
}
_TITLES: dict[Language, str] = {"en": "Failed documents", "zh": "未能读取的文件"}
_WIDTHS = (48, 16, 12, 14, 40, 60, 60)

_PAGE_HEAD = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 14px/1.4 sans-serif; margin: 2em }}
table {{ border-collapse: collapse }}
th, td {{ border: 1px solid #ccc; padding: 4px 8px; text-align: left; vertical-align: top }}
th {{ background: #eee; position: sticky; top: 0 }}
td:first-child {{ overflow-wrap: anywhere; min-width: 16em }}
</style></head><body>
<h1>{title}</h1>
<table><thead><tr>{headers}</tr></thead><tbody>
"""


def report_cells(document: FailedDocument, language: Language) -> tuple[str, ...]:
    """The columns of one row."""
    return (
        document.path,
        document.source,
        document.arrival_day.isoformat(),
        document.outcome,
        meaning_of(document.outcome, language),
        document.reason,
        file_advice(document.outcome, language),
    )


def report_headers(language: Language) -> tuple[str, ...]:
    """What the columns are."""
    return _HEADERS[language]


def safe_text(text: str) -> str:
    """Text that no spreadsheet program evaluates, nor refuses.

    An apostrophe is put before what would be a formula; control characters, which XML cannot
    hold, become U+FFFD.
    """
    shown = "".join(
        character if character >= " " or character in "\t\n\r" else "\ufffd" for character in text
    )
    # A name that is no text in its file system comes with lone surrogates; U+FFFE and U+FFFF are
    # no characters either.
    shown = shown.encode("utf-8", "replace").decode("utf-8")
    shown = shown.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")
    shown = f"'{shown}" if shown.startswith(_FORMULA_STARTS) else shown
    if len(shown) > _CELL_CHARACTERS:
        shown = f"{shown[: _CELL_CHARACTERS - 1]}…"
    return shown


def write_workbook(documents: Iterable[FailedDocument], path: Path, language: Language) -> int:
    """Write an .xlsx file with one row for each document; returns their number.

    Memory does not grow with the rows. What does not fit on one sheet goes on on the next.
    """
    from openpyxl import Workbook

    workbook = Workbook(write_only=True)
    rows = iter(documents)
    total = 0
    while True:
        sheet = workbook.create_sheet(_TITLES[language] if not total else None)
        written = _write_sheet(sheet, islice(rows, _SHEET_ROWS - 1), language)
        total += written
        if written < _SHEET_ROWS - 1:
            break
    with _appearing(path) as part:
        workbook.save(part)
    return total


def _write_sheet(
    sheet: "WriteOnlyWorksheet", documents: Iterator[FailedDocument], language: Language
) -> int:
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    # Both have to be set before the first row.
    sheet.freeze_panes = "B2"
    for number, width in enumerate(_WIDTHS, start=1):
        sheet.column_dimensions[get_column_letter(number)].width = width
    sheet.append([_cell(sheet, text, Font(bold=True)) for text in _HEADERS[language]])
    written = 0
    for document in documents:
        sheet.append([_cell(sheet, text) for text in report_cells(document, language)])
        written += 1
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(_WIDTHS))}{written + 1}"
    return written


def _cell(sheet: "WriteOnlyWorksheet", text: str, font: object = None) -> "WriteOnlyCell":
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Alignment

    cell = WriteOnlyCell(sheet, safe_text(text))
    # openpyxl would make a formula of a text with =, and Excel a number of 007.
    cell.data_type = "s"
    cell.number_format = "@"
    cell.alignment = Alignment(wrap_text=True, vertical="top")
    if font is not None:
        cell.font = font
    return cell


def write_page(documents: Iterable[FailedDocument], path: Path, language: Language) -> int:
    """Write an HTML page without scripts, with one row for each document; returns their number."""
    number = 0
    with (
        _appearing(path) as part,
        part.open("w", encoding="utf-8", errors="replace") as file,
    ):
        file.write(
            _PAGE_HEAD.format(
                language=language,
                title=html.escape(_TITLES[language]),
                headers=_row(_HEADERS[language], "th"),
            )
        )
        for document in documents:
            file.write(f"<tr>{_row(report_cells(document, language), 'td')}</tr>\n")
            number += 1
        file.write("</tbody></table></body></html>\n")
    return number


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """A path to write to; what was written appears whole at the end, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, suffix=f".part{path.suffix}", delete=False) as file:
        part = Path(file.name)
    try:
        # Made for its owner alone; a report is for those who may see its folder.
        part.chmod(0o644)
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _row(cells: Sequence[str], tag: str) -> str:
    # bdi: a name with marks of right-to-left text does not reorder the cells beside it.
    return "".join(f"<{tag}><bdi>{html.escape(text)}</bdi></{tag}>" for text in cells)
