"""Workbooks as spreadsheet programs write them, the same on every machine, and their templates.

Written as text, because the public writers take longer for a file than everything that is measured.
"""

import random
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate, build_template

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_CONTENT = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
# Style 1 shows a date, 2 a date with a time, 3 a percentage: built-in formats 14, 22 and 10.
_STYLES = (
    f'{_HEAD}<styleSheet xmlns="{_MAIN}"><fonts count="1"><font/></fonts>'
    '<fills count="1"><fill><patternFill/></fill></fills>'
    '<borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs>'
    '<cellXfs count="4"><xf numFmtId="0"/><xf numFmtId="14" applyNumberFormat="1"/>'
    '<xf numFmtId="22" applyNumberFormat="1"/><xf numFmtId="10" applyNumberFormat="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>'
    "</styleSheet>"
)
_FIRST_SERIAL = 45_292  # 2024-01-01
_CITIES = ("上海", "Köln", "Zürich", "São Paulo", "New York", "北京", "Lyon", "Gdańsk")
_STATES = ("open", "shipped", "closed", "returned")
_PRODUCTS = 3_000
_CUSTOMERS = 2_000
_ROWS_PER_ERROR = 20_000
_ROWS_PER_WRITE = 2_000

_Cell = str | tuple[str, str]
"""Shared text, or the attributes and the content of another cell."""

COLUMNS: dict[str, Any] = {
    "order_no": {"type": "integer", "required": True},
    "line_no": {"type": "integer"},
    "sku": {"type": "text"},
    "product": {"type": "text"},
    "customer": {"type": "text"},
    "city": {"type": "text"},
    "order_date": {"type": "date"},
    "ship_date": {"type": "date"},
    "booked_at": {"type": "timestamp"},
    "quantity": {"type": "integer", "min": 0},
    "unit_price": {"type": "decimal(12,4)"},
    "discount": {"type": "percent"},
    "net": {"type": "decimal(14,2)"},
    "tax": {"type": "decimal(14,2)"},
    "gross": {"type": "decimal(14,2)"},
    "weight": {"type": "decimal(10,3)"},
    "is_paid": {"type": "boolean"},
    "note": {"type": "text"},
    "account": {"type": "text", "pattern": "[0-9]{8}"},
    "status": {"type": "text", "allowed": list(_STATES)},
}
SMALL_COLUMNS = (
    "order_no", "sku", "customer", "order_date", "quantity", "unit_price", "is_paid", "status",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Book:
    """One workbook.

    Attributes:
        rows: Rows of data.
        error_cells: Cells that hold `#N/A`, each in a row of its own.
    """

    path: Path
    rows: int
    error_cells: int


@dataclass(slots=True)
class _Strings:
    """Shared strings in the order of their first use."""

    places: dict[str, int] = field(default_factory=dict)

    def cell(self, reference: str, text: str) -> str:
        place = self.places.setdefault(text, len(self.places))
        return f'<c r="{reference}" t="s"><v>{place}</v></c>'

    def xml(self) -> str:
        items = "".join(f"<si><t>{escape(text)}</t></si>" for text in self.places)
        return f'{_HEAD}<sst xmlns="{_MAIN}">{items}</sst>'


def orders_template() -> SpreadsheetTemplate:
    """The template of the large workbook: 20 columns, merged by the number of the order."""
    return _template("orders", COLUMNS)


def small_template() -> SpreadsheetTemplate:
    """The template of the small ones."""
    return _template("slips", {name: COLUMNS[name] for name in SMALL_COLUMNS})


def _template(name: str, columns: dict[str, Any]) -> SpreadsheetTemplate:
    body = {"table": f"benchmark.{name}", "key": "order_no", "columns": columns}
    return build_template(name, body)


def write_orders(path: Path, rows: int) -> Book:
    """One workbook of 20 mixed columns; every 20,000th price is an error cell."""
    _write(path, tuple(COLUMNS), rows, first_order=1, with_errors=True)
    return Book(path, rows, rows // _ROWS_PER_ERROR)


def write_small(folder: Path, files: int, rows: int) -> list[Book]:
    """Many workbooks of 8 columns, no order in two of them."""
    folder.mkdir()
    books = []
    for number in range(files):
        path = folder / f"slip-{number:04}.xlsx"
        _write(path, SMALL_COLUMNS, rows, first_order=number * rows + 1, with_errors=False)
        books.append(Book(path, rows, 0))
    return books


def _write(
    path: Path, columns: tuple[str, ...], rows: int, *, first_order: int, with_errors: bool
) -> None:
    strings = _Strings()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as part:
            part.write(f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetData>'.encode())
            held = [_header(columns, strings)]
            for row in _rows(columns, rows, first_order, strings, with_errors=with_errors):
                held.append(row)
                if len(held) == _ROWS_PER_WRITE:
                    part.write("".join(held).encode())
                    held = []
            part.write(("".join(held) + "</sheetData></worksheet>").encode())
        for name, text in _other_parts(strings).items():
            archive.writestr(name, text)


def _header(columns: tuple[str, ...], strings: _Strings) -> str:
    cells = (strings.cell(f"{chr(65 + place)}1", name) for place, name in enumerate(columns))
    return f'<row r="1">{"".join(cells)}</row>'


def _rows(
    columns: tuple[str, ...], count: int, first_order: int, strings: _Strings, *, with_errors: bool
) -> Iterator[str]:
    source = random.Random(first_order)
    letters = {name: chr(65 + place) for place, name in enumerate(columns)}
    for index in range(count):
        number = index + 2
        is_error = with_errors and index % _ROWS_PER_ERROR == _ROWS_PER_ERROR - 1
        order = _order(first_order + index, source, is_error=is_error)
        cells = (_cell(f"{letters[name]}{number}", order[name], strings) for name in columns)
        yield f'<row r="{number}" spans="1:{len(columns)}">{"".join(cells)}</row>'


def _order(
    number: int, source: random.Random, *, is_error: bool
) -> dict[str, str | tuple[str, str]]:
    """The cells of one order by column."""
    serial = _FIRST_SERIAL + number % 700
    quantity, cents = source.randrange(1, 400), source.randrange(100, 900_000)
    product, customer = source.randrange(_PRODUCTS), source.randrange(_CUSTOMERS)
    net = quantity * cents // 10
    tax = net * 19 // 100
    price = f"{cents / 1000:.4f}".rstrip("0").rstrip(".")
    row_formula = f"<f>M{number}+N{number}</f>"
    return {
        "order_no": ("", f"<v>{number}</v>"),
        "line_no": ("", f"<v>{number % 9 + 1}</v>"),
        "sku": f"SKU-{product:05}",
        "product": f"Product {product} & parts",
        "customer": f"Customer {customer} 公司",
        "city": _CITIES[customer % len(_CITIES)],
        "order_date": (' s="1"', f"<v>{serial}</v>"),
        "ship_date": (' s="1"', f"<v>{serial + 3}</v>" if number % 20 else ""),
        "booked_at": (' s="2"', f"<v>{serial}.{number % 8 * 125:03}</v>"),
        "quantity": ("", f"<v>{quantity}</v>"),
        "unit_price": (' t="e"', "<v>#N/A</v>") if is_error else ("", f"<v>{price}</v>"),
        "discount": (' s="3"', f"<v>0.{number % 40:02}5</v>"),
        "net": ("", f"<v>{net / 100}</v>"),
        "tax": ("", f"<v>{tax / 100}</v>"),
        "gross": ("", f"{row_formula}<v>{(net + tax) / 100}</v>"),
        "weight": ("", f"<v>{quantity * 7 / 1000}</v>"),
        "is_paid": (' t="b"', f"<v>{number % 2}</v>"),
        "note": f"call {number} before noon" if number % 5 == 0 else ("", ""),
        "account": f"{customer:08}",
        "status": _STATES[number % len(_STATES)],
    }


def _cell(reference: str, value: _Cell, strings: _Strings) -> str:
    if isinstance(value, str):
        return strings.cell(reference, value)
    attributes, content = value
    return f'<c r="{reference}"{attributes}>{content}</c>' if content else f'<c r="{reference}"/>'


def _other_parts(strings: _Strings) -> dict[str, str]:
    kinds = {
        "/xl/workbook.xml": "sheet.main",
        "/xl/worksheets/sheet1.xml": "worksheet",
        "/xl/styles.xml": "styles",
        "/xl/sharedStrings.xml": "sharedStrings",
    }
    types = "".join(
        f'<Override PartName="{part}" ContentType="{_CONTENT}.{kind}+xml"/>'
        for part, kind in kinds.items()
    )
    return {
        "[Content_Types].xml": f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types"><Default '
        'Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f"{types}</Types>",
        "_rels/.rels": _relations(("officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": f'{_HEAD}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
        '<sheet name="Orders" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": _relations(
            ("worksheet", "worksheets/sheet1.xml"),
            ("styles", "styles.xml"),
            ("sharedStrings", "sharedStrings.xml"),
        ),
        "xl/styles.xml": _STYLES,
        "xl/sharedStrings.xml": strings.xml(),
    }


def _relations(*parts: tuple[str, str]) -> str:
    listed = "".join(
        f'<Relationship Id="r{number}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(parts, 1)
    )
    return f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">{listed}</Relationships>'
