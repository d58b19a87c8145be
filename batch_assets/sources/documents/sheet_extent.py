"""What a workbook asks for, seen in its XML before a reader allocates it.

A sheet of two cells, A1 and XFD1048576, is a few kilobytes and spans 17 billion cells; readers
that hold the rectangle abort the process. Comments and drawings, which readers of cells leave
out, are collected on the way.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lxml import etree

from batch_assets.sources.documents.limits import ParseLimits, too_large
from batch_assets.sources.documents.office_text import markup_text
from batch_assets.sources.documents.outcome import DocumentRefused
from batch_assets.sources.documents.package import Package, Relation, damaged

_ROW = re.compile(rb'<(?:\w+:)?row\b[^<>]*?\sr\s*=\s*["\'](\d{1,10})["\']')
# Columns of one letter need no search: no more than 26 of them.
_WIDE_CELL = re.compile(rb'\sr\s*=\s*["\']([A-Za-z]{2,3})(\d{1,7})["\']')
_NARROW_CELL = re.compile(rb'\sr\s*=\s*["\'][A-Za-z](\d{5,7})["\']')
_CELL = re.compile(rb"<(?:\w+:)?c[\s/>]")
_ERROR_CELL = re.compile(rb'<(?:\w+:)?c\b[^<>]*?\st\s*=\s*["\']e["\']')
_FORMULA_ALONE = re.compile(rb"</f></c>|<f\b[^>]*/></c>")
_NARROW_COLUMN = re.compile(rb'\sr\s*=\s*["\']([A-Za-z])\d')
_ONE_LETTER = 26
# Below this the bound of 26 columns is good enough.
_WORTH_A_CLOSER_LOOK_CELLS = 5_000_000
_BESIDE_THE_CELLS = frozenset({"comments", "threadedComment", "drawing"})


@dataclass(slots=True)
class BookSurvey:
    """What was seen in a workbook.

    Attributes:
        largest_cells: Rows times columns of its widest sheet, never too small.
        written_cells: Cells that are there, in the sheet with most of them.
        error_cells: Cells with #N/A, #REF! and the like.
        formulas_without_value: Formulas whose result was never stored.
        beside_the_cells: Text of comments and drawings by sheet name.
    """

    largest_cells: int = 0
    written_cells: int = 0
    error_cells: int = 0
    formulas_without_value: int = 0
    beside_the_cells: dict[str, str] = field(default_factory=dict)


def survey_open_xml(package: Package) -> BookSurvey:
    """Look through the sheets, comments and drawings of an Office Open XML workbook.

    Raises:
        DocumentRefused: A sheet is damaged or brings a DTD (corrupt).
    """
    survey = BookSurvey()
    for name in package.names:
        if name.startswith("xl/") and "worksheets/" in name and name.endswith(".xml"):
            _survey_sheet(package.read(name), name, survey)
    for sheet, part in _sheet_parts(package):
        texts = (_related_text(package, r) for r in package.relations(part).values())
        survey.beside_the_cells[sheet] = "\n".join(filter(None, texts))
    return survey


def _sheet_parts(package: Package) -> Iterator[tuple[str, str]]:
    """(name, part) of each sheet; of a binary workbook none, its list is not XML."""
    main = package.main_part("xl/workbook.xml")
    if main not in package or not main.endswith(".xml"):
        return
    relations = package.relations(main)
    for sheet in package.read_xml(main).iter("{*}sheet"):
        ids = [str(value) for key, value in sheet.attrib.items() if str(key).endswith("}id")]
        relation = relations.get(ids[0]) if ids else None
        if relation is not None:
            yield str(sheet.get("name", "")), relation.target


def _survey_sheet(xml: bytes, name: str, survey: BookSurvey) -> None:
    if b"<!DOCTYPE" in xml[:4096]:
        raise damaged(f"{name} declares a DTD, which Office never writes")
    rows = [int(number) for number in _ROW.findall(xml)]
    columns = _ONE_LETTER
    for letters, row in _WIDE_CELL.findall(xml):
        columns = max(columns, _column_number(letters))
        rows.append(int(row))
    rows.extend(int(row) for row in _NARROW_CELL.findall(xml))
    # Rows without a number follow each other.
    last_row = max(max(rows, default=0), xml.count(b"<row"), xml.count(b":row"))
    if columns == _ONE_LETTER and last_row * columns > _WORTH_A_CLOSER_LOOK_CELLS:
        columns = max(map(_column_number, set(_NARROW_COLUMN.findall(xml))), default=1)
    survey.largest_cells = max(survey.largest_cells, last_row * columns)
    written = len(_CELL.findall(xml))
    survey.written_cells = max(survey.written_cells, written)
    survey.error_cells += len(_ERROR_CELL.findall(xml))
    survey.formulas_without_value += len(_FORMULA_ALONE.findall(xml))


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - ord("A") + 1
    return number


def _related_text(package: Package, relation: Relation) -> str:
    """Text of a part beside the cells; nothing when it is of another kind or damaged."""
    if relation.is_external or relation.kind not in _BESIDE_THE_CELLS:
        return ""
    try:
        root = package.read_xml(relation.target)
    except DocumentRefused:
        return ""
    if relation.kind == "drawing":
        return markup_text(root).strip()
    comments = root.iter("{*}comment", "{*}threadedComment")
    texts = ("".join(str(piece) for piece in comment.itertext()).strip() for comment in comments)
    return "\n".join(filter(None, texts))


def check_open_document_extent(package: Package, limits: ParseLimits) -> None:
    """Refuse an .ods whose repeated cells and rows unfold to too much.

    Raises:
        DocumentRefused: Over the limit (too_large), or damaged (corrupt).
    """
    rows = columns = 0
    largest = 0
    for element in package.read_xml("content.xml").iter("{*}table", "{*}table-row"):
        if etree.QName(element).localname == "table":
            rows = columns = 0
            continue
        width = _filled_width(element)
        if width:
            rows += _repeated(element, "number-rows-repeated")
            columns = max(columns, width)
            largest = max(largest, rows * columns)
    if largest > limits.max_sheet_cells:
        raise too_large("cells", largest, "max_sheet_cells", limits.max_sheet_cells)


def _filled_width(row: etree._Element) -> int:
    """Columns up to the last cell of a row that holds something."""
    position = width = 0
    for cell in row.iterchildren("{*}table-cell", "{*}covered-table-cell"):
        position += _repeated(cell, "number-columns-repeated")
        if len(cell) or any(str(key).endswith("}value-type") for key in cell.attrib):
            width = position
    return width


def _repeated(element: etree._Element, name: str) -> int:
    for key, value in element.attrib.items():
        if str(key).endswith(f"}}{name}") and str(value).isdigit():
            return int(value)
    return 1
