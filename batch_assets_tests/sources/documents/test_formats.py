import struct

import pytest

from batch_assets.sources.documents.formats import DocumentFormat, detect_format
from batch_assets.sources.documents.limits import ParseLimits
from batch_assets.sources.documents.outcome import DocumentOutcome, DocumentRefused
from batch_assets_tests.sources.documents.sample_files import (
    HTML,
    MAIL,
    compound_file,
    docx,
    pdf,
    pptx,
    xlsx,
    zip_of,
)

LIMITS = ParseLimits()
FILEPASS = struct.pack("<HH", 0x809, 16) + b"\0" * 16 + struct.pack("<HHH", 0x2F, 2, 0)
TABLE = b"name,city\nann,york\nbob,bath\n"


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (pdf("text"), "report.docx", DocumentFormat.PDF),
        (b"\n\n" + pdf("text"), "report", DocumentFormat.PDF),
        (docx("text"), "report.pdf", DocumentFormat.DOCX),
        (pptx("text"), "report.zip", DocumentFormat.PPTX),
        (xlsx(Sheet=["text"]), "report.txt", DocumentFormat.XLSX),
        (zip_of({"mimetype": "application/vnd.oasis.opendocument.spreadsheet"}), "a.ods", "ods"),
        (compound_file({"Workbook": b"\x09\x08"}), "report.doc", DocumentFormat.XLS),
        (HTML, "report.pdf", DocumentFormat.HTML),
        (b"<table><tr><td>1</td></tr></table>", "export.xls", DocumentFormat.HTML),
        (HTML.decode().encode("utf-16"), "report.txt", DocumentFormat.HTML),
        (MAIL, "message", DocumentFormat.MAIL),
        (MAIL.decode().encode("utf-16"), "message.txt", DocumentFormat.MAIL),
        (b"Subject: only this\n\nbody", "a.eml", DocumentFormat.MAIL),
        (b"Subject: only this\n\nbody", "a.txt", DocumentFormat.TEXT),
        (TABLE, "table", DocumentFormat.CSV),
        (TABLE, "table.xls", DocumentFormat.CSV),
        (TABLE, "table.txt", DocumentFormat.TEXT),
        (b"# Title\n\nSee [it](there).\n", "readme", DocumentFormat.MARKDOWN),
        (b"plain words", "notes", DocumentFormat.TEXT),
        (b"a stray \x00 in a log line", "x.log", DocumentFormat.TEXT),
        (b"<p:notes>markup of something else</p:notes>", "a.txt", DocumentFormat.TEXT),
    ],
)
def test_the_content_decides_and_the_extension_breaks_ties(
    data: bytes, name: str, expected: str
) -> None:
    assert detect_format(data, name, LIMITS) == expected


@pytest.mark.parametrize(
    ("data", "name", "outcome", "reason"),
    [
        (compound_file({"WordDocument": b""}), "a.doc", "unsupported", "save as .docx"),
        (compound_file({"WordDocument": b""}), "a.wps", "unsupported", ".wps: save as .docx"),
        (compound_file({"PowerPoint Document": b""}), "a.ppt", "unsupported", "save as .pptx"),
        (compound_file({"__nameid_version1.0": b""}), "a.msg", "unsupported", "save as .eml"),
        (b"{\\rtf1 text}", "a.doc", "unsupported", "save it as .docx"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a.png", "unsupported", "OCR"),
        (zip_of({"a.txt": "x"}), "a.zip", "unsupported", "unpack it"),
        (b"From a@b Mon Sep 30 2024\nTo: x\n\nhi\n\nFrom c@d Mon Sep 30 2024\nTo: y\n\nho\n",
         "inbox", "unsupported", "mbox"),
        (zip_of({"a.txt": "x"}), "a.docx", "corrupt", "without the parts of a .docx"),
        (b"PK\x03\x04 cut", "a.docx", "corrupt", "cannot be opened"),
        (b"404 Not Found", "a.pdf", "corrupt", "not a .pdf file"),
        (bytes(range(256)) * 8, "a.xlsx", "corrupt", "not a .xlsx file"),
        (bytes(range(256)) * 8, "a.dat", "unsupported", "unknown kind"),
        (b"", "a.pdf", "corrupt", "0 bytes"),
        (b"", "a.txt", "empty_text", "empty"),
        (compound_file({"EncryptedPackage": b""}), "a.xlsx", "encrypted", "password"),
        (compound_file({"Workbook": FILEPASS}), "a.xls", "encrypted", "password"),
    ],
)  # fmt: skip
def test_what_is_not_read_says_why_and_what_to_do(
    data: bytes, name: str, outcome: str, reason: str
) -> None:
    with pytest.raises(DocumentRefused, match=reason.replace(".", r"\.")) as refused:
        detect_format(data, name, LIMITS)

    assert refused.value.outcome == DocumentOutcome(outcome)
