"""Workbooks (.xlsx, .xlsm, .xlsb, .xls, .ods): a segment for each sheet, a line for each row.

calamine reads; it holds a sheet as a full rectangle, so the extent is checked before
(sheet_extent.py), and a sparse .xlsx is read by openpyxl, which goes row by row.
"""

import io
from collections.abc import Iterator

from python_calamine import CalamineError, CalamineWorkbook, PasswordError

from batch_assets.sources.documents.cells import row_text
from batch_assets.sources.documents.context import ParseContext
from batch_assets.sources.documents.limits import too_large
from batch_assets.sources.documents.outcome import DocumentOutcome, DocumentRefused
from batch_assets.sources.documents.package import Package
from batch_assets.sources.documents.parsed import Draft, Segment, SegmentKind
from batch_assets.sources.documents.sheet_extent import (
    BookSurvey,
    check_open_document_extent,
    survey_open_xml,
)


def parse_workbook(data: bytes, context: ParseContext) -> Draft:
    """Rows of each sheet, hidden ones included; the number is the sheet's in the workbook."""
    draft = Draft()
    survey = _survey(data, context, draft)
    if survey.largest_cells > context.limits.max_sheet_cells:
        _read_sparse(data, draft)
    else:
        _read(data, context, draft)
        _describe_error_cells(survey, draft)
    _describe_formulas(survey, draft)
    beside = survey.beside_the_cells
    draft.segments = [
        Segment(s.kind, s.number, s.label, f"{s.text}\n{beside.get(s.label, '')}")
        for s in draft.segments
    ]
    return draft


def _survey(data: bytes, context: ParseContext, draft: Draft) -> BookSurvey:
    if not data.startswith(b"PK"):
        return BookSurvey()
    with Package(data, context.limits) as package:
        if "content.xml" in package:
            check_open_document_extent(package, context.limits)
            return BookSurvey()
        package.read_properties(draft)
        return survey_open_xml(package)


def _read(data: bytes, context: ParseContext, draft: Draft) -> None:
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
    except PasswordError as error:
        raise DocumentRefused(
            DocumentOutcome.ENCRYPTED,
            "the workbook has a password; save a copy without one and drop that",
        ) from error
    try:
        names = book.sheet_names
        if len(names) > context.limits.max_pages:
            raise too_large("sheets", len(names), "max_pages", context.limits.max_pages)
        for number, name in enumerate(names, start=1):
            draft.segments.append(
                Segment(SegmentKind.SHEET, number, name, _sheet_text(book, name, draft))
            )
    finally:
        book.close()


def _sheet_text(book: CalamineWorkbook, name: str, draft: Draft) -> str:
    try:
        rows = book.get_sheet_by_name(name).iter_rows()
        # Most rows of a wide sheet are empty; seeing that costs less than writing them.
        filled = (row for row in rows if row.count("") < len(row))
        return "\n".join(line for line in map(row_text, filled) if line)
    except CalamineError as error:
        # A chart sheet has no cells; a damaged sheet does not spoil the others.
        draft.notes.append(f"sheet '{name}' was not read: {error}")
        return ""


def _read_sparse(data: bytes, draft: Draft) -> None:
    # Imported here: only sparse workbooks need it, and it doubles a worker's start.
    from openpyxl import load_workbook

    book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    try:
        for number, sheet in enumerate(book.worksheets, start=1):
            sheet.reset_dimensions()
            text = "\n".join(_lines(sheet.iter_rows(values_only=True)))
            draft.segments.append(Segment(SegmentKind.SHEET, number, sheet.title, text))
    finally:
        book.close()


def _lines(rows: Iterator[tuple[object, ...]]) -> Iterator[str]:
    for row in rows:
        line = row_text(cell for cell in row if cell is not None)  # type: ignore[misc]
        if line:
            yield line


def _describe_error_cells(survey: BookSurvey, draft: Draft) -> None:
    if survey.error_cells:
        draft.notes.append(
            f"{survey.error_cells} cells hold an error such as #N/A and were read as empty"
        )


def _describe_formulas(survey: BookSurvey, draft: Draft) -> None:
    if survey.formulas_without_value:
        draft.notes.append(
            f"{survey.formulas_without_value} formulas have no stored result and were read as "
            "empty; open the workbook in Excel, save it and drop it again"
        )
