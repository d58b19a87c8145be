import random
import zipfile
from pathlib import Path

import openpyxl
import pytest

from batch_assets.errors import UnreadableSource
from batch_assets.sources.spreadsheets.preflight import (
    FileRefused,
    Format,
    Refusal,
    check_file,
)
from batch_assets_tests.sources.spreadsheets.conftest import write_xlsx


@pytest.fixture
def book(tmp_path: Path) -> Path:
    workbook = openpyxl.Workbook()
    generator = random.Random(1)
    for _ in range(500):
        workbook.active.append([generator.random() for _ in range(5)])
    path = tmp_path / "a.xlsx"
    workbook.save(path)
    return path


def refusal_of(path: Path) -> Refusal:
    with pytest.raises(FileRefused) as raised:
        check_file(path, path.name)
    assert str(raised.value).startswith(f"{path.name}: ")
    assert (
        "expected" in str(raised.value)
        or "allowed" in str(raised.value)
        or ";" in str(raised.value)
    )
    return raised.value.refusal


def test_whole_workbook_passes(book: Path) -> None:
    assert check_file(book, "a.xlsx") is Format.XLSX


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_half_written_workbook_is_incomplete(book: Path, share: float) -> None:
    data = book.read_bytes()
    book.write_bytes(data[: int(len(data) * share)])

    assert refusal_of(book) is Refusal.INCOMPLETE


def test_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.touch()

    assert refusal_of(path) is Refusal.EMPTY


def test_zip_bomb_is_refused_without_being_expanded(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "a.xlsx", "<sheetData>" + " " * 100_000_000 + "</sheetData>")

    assert refusal_of(path) is Refusal.TOO_LARGE


def test_encrypted_members_want_a_password(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "x")
    data = bytearray(path.read_bytes())
    # Bit 0 of the flags, in the local header and in the directory.
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)

    assert refusal_of(path) is Refusal.PASSWORD


@pytest.mark.parametrize(
    "content",
    [
        b"%PDF-1.7 ...",
        b"<html><body><table>",
        b'\xef\xbb\xbf<?xml version="1.0"?><Workbook>',
        b"\x1f\x8b\x08\x00",
        b"abc\x00\x01\x02",
    ],
)
def test_what_is_no_table_is_unsupported(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "export.xls"
    path.write_bytes(content)

    assert refusal_of(path) is Refusal.UNSUPPORTED


def test_document_is_no_workbook(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "x")

    assert refusal_of(path) is Refusal.UNSUPPORTED


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match=r"a.xlsx: cannot be opened \(No such file"):
        check_file(tmp_path / "a.xlsx", "a.xlsx")
