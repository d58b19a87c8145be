"""Look at a file before any parser does: what it is, whether it is whole, what it would expand to.

A parser written in another language ends its process on input that asks for too much memory, so
what can be known from the outside is checked here.
"""

import mmap
import zipfile
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

from batch_assets.errors import UnreadableSource


class Format(StrEnum):
    """What a file is, by its content and not by its name."""

    XLSX = "xlsx"
    XLS = "xls"
    XLSB = "xlsb"
    ODS = "ods"
    DELIMITED = "delimited"


class Refusal(StrEnum):
    """Why a file is not read; a closed set, shown in ledgers."""

    EMPTY = "empty_file"
    PASSWORD = "password_protected"  # noqa: S105 - the name of a reason
    INCOMPLETE = "incomplete_file"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported_format"
    CORRUPT = "corrupt_file"
    CHANGED = "changed_file"
    NOT_AS_TEMPLATE = "not_as_template"


class FileRefused(UnreadableSource):
    """A file that cannot be read at all, and why."""

    def __init__(self, message: str, refusal: Refusal) -> None:
        super().__init__(message)
        self.refusal = refusal


# 1,000,000 rows of 20 columns expand to 0.8 GB, at a ratio of 5; sheets that repeat one value
# reach 150 (measured). What is called a bomb has a ratio of 1,000.
MAX_EXPANDED_BYTES = 8 * 1024**3
MAX_RATIO = 400
_SMALL_BYTES = 64 * 1024**2
_MAX_MEMBERS = 20_000
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MARKUP = (b"<!doctype", b"<html", b"<?xml", b"<table", b"<meta")
_OTHERS = {b"%PDF": "a PDF", b"{\\rtf": "an RTF document", b"\x1f\x8b": "a gzip file"}
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_BOOKS = ("Workbook".encode("utf-16-le"), "Book".encode("utf-16-le"))


def check_file(path: Path, file: str) -> Format:
    """Say what a file is, or refuse it.

    Raises:
        FileRefused: Empty, encrypted, cut off, a zip bomb, or not a table at all.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(1024)
    except OSError as error:
        raise UnreadableSource(
            f"{file}: cannot be opened ({error.strerror}), expected a readable file; check that "
            "it is still there"
        ) from error
    if not head:
        _refuse(Refusal.EMPTY, f"{file}: has no bytes, expected a table; send the file again")
    if head.startswith(_ZIP):
        return _check_zip(path, file)
    if head.startswith(_OLE):
        return _check_ole(path, file)
    _check_text(head, file)
    return Format.DELIMITED


def _refuse(refusal: Refusal, message: str) -> NoReturn:
    raise FileRefused(message, refusal)


def _check_zip(path: Path, file: str) -> Format:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise FileRefused(
            f"{file}: the file is not complete ({error}), expected a whole workbook; it may still "
            "be being copied, or the copy was cut off: send it again",
            Refusal.INCOMPLETE,
        ) from error
    if any(member.flag_bits & 0x1 for member in members):
        refuse_password(file)
    _check_expansion(path, file, members)
    names = {member.filename.lower() for member in members}
    if "content.xml" in names and "mimetype" in names:
        return _check_ods(path, file)
    if any(name.endswith("workbook.bin") for name in names):
        return Format.XLSB
    if any(name.startswith(("word/", "ppt/")) for name in names):
        _refuse(
            Refusal.UNSUPPORTED,
            f"{file}: is a document or presentation, expected a workbook; save its table as .xlsx",
        )
    return Format.XLSX


def _check_expansion(path: Path, file: str, members: list[zipfile.ZipInfo]) -> None:
    expanded = sum(member.file_size for member in members)
    packed = max(path.stat().st_size, 1)
    worst = max((m.file_size / max(m.compress_size, 1) for m in members), default=0.0)
    is_bomb = expanded > _SMALL_BYTES and worst > MAX_RATIO
    if is_bomb or expanded > MAX_EXPANDED_BYTES or len(members) > _MAX_MEMBERS:
        _refuse(
            Refusal.TOO_LARGE,
            f"{file}: {packed:,} bytes would expand to {expanded:,} ({worst:,.0f} times, "
            f"{len(members)} parts), allowed are {MAX_EXPANDED_BYTES:,} bytes, {MAX_RATIO} times "
            f"and {_MAX_MEMBERS} parts; if it is no zip bomb, remove empty formatted cells and "
            "save it again, or split it",
        )


def _check_ods(path: Path, file: str) -> Format:
    with zipfile.ZipFile(path) as archive:
        if "META-INF/manifest.xml" in archive.namelist():
            manifest = archive.read("META-INF/manifest.xml")
            if b"encryption-data" in manifest:
                refuse_password(file)
    return Format.ODS


def _check_ole(path: Path, file: str) -> Format:
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(_ENCRYPTED) >= 0:
            refuse_password(file)
        if any(data.find(name) >= 0 for name in _BOOKS):
            return Format.XLS
    _refuse(
        Refusal.UNSUPPORTED,
        f"{file}: an old Office file without a workbook inside, expected .xls; save its table as "
        ".xlsx",
    )


def refuse_password(file: str) -> NoReturn:
    """Refuse a file that wants a password.

    Raises:
        FileRefused: Always.
    """
    _refuse(
        Refusal.PASSWORD,
        f"{file}: is protected by a password, expected a file that opens without one; remove the "
        "password in the spreadsheet program and save it again",
    )


def _check_text(head: bytes, file: str) -> None:
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            _refuse(
                Refusal.UNSUPPORTED,
                f"{file}: is {name}, expected a workbook or delimited text; export the table as "
                ".xlsx or .csv",
            )
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith(_MARKUP):
        _refuse(
            Refusal.UNSUPPORTED,
            f"{file}: is a web page or XML under the name of a workbook, expected .xlsx or .csv; "
            "open it in a spreadsheet program and save it as .xlsx",
        )
    has_wide_bom = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    if b"\x00" in head and not has_wide_bom:
        _refuse(
            Refusal.UNSUPPORTED,
            f"{file}: is neither a workbook nor text (it begins with {head[:8]!r}); export the "
            "table again as .xlsx or .csv",
        )
