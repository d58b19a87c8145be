"""The parts of an xlsx file around its sheets: names, shared strings, styles, date system.

Source of names and numbers: ECMA-376 part 1, 18.2 (workbook), 18.4 (shared strings), 18.8 (styles).
"""

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import dirname, join, normpath
from typing import Any

import numpy as np

from batch_assets.errors import UnreadableSource
from batch_assets.sources.spreadsheets.xlsx_scan import Workbook
from batch_assets.sources.spreadsheets.xlsx_strings import read_shared_strings

# Formats that have no code in the file (18.8.30): 14-22, 45-47 everywhere, the others in the
# languages of East Asia.
_BUILT_IN_DATES = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))
# What is not a code: quoted text, escaped characters, colours, conditions and locales.
_NOT_CODE = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
_DATE_CODE = re.compile(r"[ymdhs]|上午|下午", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SheetPart:
    """A sheet of a workbook: its name, where it is, and whether it is hidden."""

    name: str
    part: str
    is_hidden: bool = False


@dataclass(frozen=True, slots=True)
class Package:
    """An open xlsx file.

    Attributes:
        sheets: In the order of the tabs.
        workbook: What they share.
    """

    archive: zipfile.ZipFile
    sheets: tuple[SheetPart, ...]
    workbook: Workbook


def open_package(archive: zipfile.ZipFile, file: str) -> Package:
    """Read everything but the sheets.

    Args:
        archive: The file, checked by preflight.py.
        file: Name for messages.

    Raises:
        UnreadableSource: It is a zip file and not a workbook.
    """
    main = _main_part(archive, file)
    relations = _relations(archive, main)
    root = _parse(archive, main)
    sheets = tuple(_sheets(root, relations))
    if not sheets:
        raise UnreadableSource(
            f"{file}: the workbook has no sheet, expected at least one; open it in a spreadsheet "
            "program and save it again"
        )
    by_kind = dict(relations.values())
    is_date, pads = _styles(archive, by_kind.get("styles"))
    workbook = Workbook(
        strings=read_shared_strings(archive, by_kind.get("sharedStrings")),
        is_date=is_date,
        pads=pads,
        is_1904=_is_1904(root),
    )
    return Package(archive, sheets, workbook)


def _main_part(archive: zipfile.ZipFile, file: str) -> str:
    try:
        for kind, part in _relations(archive, "").values():
            if kind == "officeDocument":
                return part
    except KeyError:
        pass  # Programs that write no relations use the usual place.
    if "xl/workbook.xml" in archive.namelist():
        return "xl/workbook.xml"
    raise UnreadableSource(
        f"{file}: a zip file without a workbook inside, expected an .xlsx file; export the table "
        "again as .xlsx or .csv"
    )


def _relations(archive: zipfile.ZipFile, part: str) -> dict[str, tuple[str, str]]:
    """Kind and part by relation id."""
    name = join(dirname(part), "_rels", f"{part.rpartition('/')[2]}.rels")
    found = {}
    for element in _parse(archive, name):
        if element.get("TargetMode") == "External" or not element.get("Target"):
            continue
        target = element.get("Target", "").replace("\\", "/")
        path = target.lstrip("/") if target.startswith("/") else join(dirname(part), target)
        kind = element.get("Type", "").rpartition("/")[2]
        found[element.get("Id", "")] = (kind, _existing(archive, normpath(path)))
    return found


def _existing(archive: zipfile.ZipFile, part: str) -> str:
    """The member of a name; names are compared without case (ECMA-376 part 2, 7.3)."""
    names = archive.NameToInfo
    if part in names:
        return part
    return next((name for name in names if name.lower() == part.lower()), part)


def _sheets(root: Any, relations: dict[str, tuple[str, str]]) -> Iterator[SheetPart]:
    for element in root.iter("{*}sheet"):
        identity = next((v for k, v in element.attrib.items() if k.endswith("}id")), "")
        kind, part = relations.get(identity, ("", ""))
        if kind == "worksheet":
            hidden = element.get("state", "visible") != "visible"
            yield SheetPart(element.get("name", ""), part, hidden)


def _is_1904(root: Any) -> bool:
    return any(
        element.get("date1904", "0") in ("1", "true") for element in root.iter("{*}workbookPr")
    )


def _parse(archive: zipfile.ZipFile, part: str) -> Any:
    # Imported here: a process that only plans loads needs no parser.
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    try:
        with archive.open(_existing(archive, part)) as stream:
            return etree.parse(stream, parser).getroot()
    except etree.XMLSyntaxError as error:
        raise UnreadableSource(
            f"{part}: not readable XML ({error}); open the workbook in a spreadsheet program and "
            "save it again"
        ) from error


def _styles(archive: zipfile.ZipFile, part: str | None) -> tuple[np.ndarray, np.ndarray]:
    if part is None or part not in archive.NameToInfo:
        return np.zeros(1, bool), np.zeros(1, np.uint8)
    root = _parse(archive, part)
    codes = {
        element.get("numFmtId"): element.get("formatCode", "") for element in root.iter("{*}numFmt")
    }
    formats = [
        element.get("numFmtId", "0")
        for group in root.iter("{*}cellXfs")
        for element in group.iter("{*}xf")
    ] or ["0"]
    is_date = [_is_date_format(number, codes.get(number)) for number in formats]
    pads = [_pad_of_format(codes.get(number, "")) for number in formats]
    return np.array(is_date), np.array(pads, np.uint8)


def _is_date_format(number: str, code: str | None) -> bool:
    if code is None:
        return number.isdigit() and int(number) in _BUILT_IN_DATES
    return is_date_code(code)


def is_date_code(code: str) -> bool:
    """Whether a number format shows a date, a time or a duration."""
    return _DATE_CODE.search(_NOT_CODE.sub("", code.partition(";")[0])) is not None


def _pad_of_format(code: str) -> int:
    return len(code) if re.fullmatch(r"0{2,40}", code) else 0
