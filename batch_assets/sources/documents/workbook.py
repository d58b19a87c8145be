"""Workbooks (.xlsx, .xlsm, .xlsb, .xls, .ods): a segment for each sheet, a line for each row.

calamine reads; it holds a sheet as a full rectangle, so the extent is checked before
(sheet_extent.py), and a sparse .xlsx is read by openpyxl, which goes row by row.
"""

import io
from collections.abc import Iterator
from zipfile import BadZipFile

from python_calamine import (
    CalamineError,
    CalamineWorkbook,
    PasswordError,
    SheetTypeEnum,
)

from batch_assets.sources.documents.cells import row_text
from batch_assets.sources.documents.context import ParseContext
from batch_assets.sources.documents.limits import too_large
from batch_assets.sources.documents.outcome import DocumentOutcome, DocumentRefused
from batch_assets.sources.documents.package import Package, damaged
from batch_assets.sources.documents.parsed import Draft, Segment, SegmentKind
from batch_assets.sources.documents.sheet_extent import (
    BookSurvey,
    check_open_document_extent,
    survey_open_xml,
)

# openpyxl reads 50,000 cells a second; more is not sparse, and would end at the time limit.
_MAX_SPARSE_CELLS = 500_000
# What openpyxl lets out of a damaged package.
_OPENPYXL_FAULTS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    BadZipFile,
)


def parse_workbook(data: bytes, context: ParseContext) -> Draft:
    """Rows of each sheet, hidden ones included; the number is the sheet's in the workbook."""
    draft = Draft()
    survey = _survey(data, context, draft)
    limit = context.limits.max_sheet_cells
    if survey.largest_cells > limit and survey.written_cells > _MAX_SPARSE_CELLS:
        raise too_large("cells in a sheet", survey.largest_cells, "max_sheet_cells", limit)
    if survey.largest_cells > limit:
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
    except CalamineError:
        if not data.startswith(b"PK") or not _is_read_by_openpyxl(data, draft):
            raise
        return
    try:
        lost = _read_sheets(book, context, draft)
    finally:
        book.close()
    if lost:
        _recover(lost, data, draft)


def _read_sheets(
    book: CalamineWorkbook, context: ParseContext, draft: Draft
) -> dict[str, CalamineError]:
    """Add a segment for each sheet; those that could not be read are empty and returned."""
    sheets = book.sheets_metadata
    if len(sheets) > context.limits.max_pages:
        raise too_large("sheets", len(sheets), "max_pages", context.limits.max_pages)
    lost: dict[str, CalamineError] = {}
    for number, sheet in enumerate(sheets, start=1):
        text = ""
        # A chart sheet has no cells.
        if sheet.typ == SheetTypeEnum.WorkSheet:
            try:
                text = _sheet_text(book, sheet.name)
            except CalamineError as error:
                lost[sheet.name] = error
        draft.segments.append(Segment(SegmentKind.SHEET, number, sheet.name, text))
    return lost


def _sheet_text(book: CalamineWorkbook, name: str) -> str:
    rows = book.get_sheet_by_name(name).iter_rows()
    # Most rows of a wide sheet are empty; seeing that costs less than writing them.
    filled = (row for row in rows if row.count("") < len(row))
    return "\n".join(line for line in map(row_text, filled) if line)


def _recover(lost: dict[str, CalamineError], data: bytes, draft: Draft) -> None:
    """Take lost sheets from the other reader; name those that neither can read."""
    other = Draft()
    if data.startswith(b"PK"):
        _is_read_by_openpyxl(data, other)
    found = {segment.label: segment.text for segment in other.segments}
    draft.segments = [
        Segment(s.kind, s.number, s.label, s.text or found.get(s.label, "")) for s in draft.segments
    ]
    still_lost = {name: error for name, error in lost.items() if not found.get(name)}
    if still_lost and not any(segment.text for segment in draft.segments):
        name, error = next(iter(still_lost.items()))
        raise damaged(f"no sheet can be read; '{name}': {error}")
    draft.notes.extend(
        f"sheet '{name}' was not read: {error}" for name, error in still_lost.items()
    )


def _is_read_by_openpyxl(data: bytes, draft: Draft) -> bool:
    """Try the other reader; some packages open in one of the two alone."""
    try:
        _read_sparse(data, draft)
    except _OPENPYXL_FAULTS:
        return False
    return True


def _read_sparse(data: bytes, draft: Draft) -> None:
    # Imported here: only sparse workbooks need it, and it doubles a worker's start.
    from openpyxl import load_workbook

    book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    try:
        for sheet in book.worksheets:
            # Chart sheets have a number too.
            number = book.sheetnames.index(sheet.title) + 1
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
