"""What a file is, by its content.

Magic numbers, the streams of OLE files and the parts of zip packages decide; the extension only
breaks ties between kinds of text, and tells damage from an unknown kind.
"""

import re
from enum import StrEnum
from pathlib import PurePath

from batch_assets.sources.documents import ole
from batch_assets.sources.documents.biff import check_workbook_stream
from batch_assets.sources.documents.encoding import decode_text, marked_encoding
from batch_assets.sources.documents.limits import ParseLimits
from batch_assets.sources.documents.outcome import DocumentOutcome, DocumentRefused
from batch_assets.sources.documents.package import Package
from batch_assets.sources.documents.text_kinds import (
    looks_like_html,
    looks_like_mail,
    looks_like_mailbox,
    looks_like_markdown,
    looks_like_table,
)


class DocumentFormat(StrEnum):
    """The kinds of file that are read."""

    PDF = "pdf"
    DOCX = "docx"
    PPTX = "pptx"
    XLSX = "xlsx"
    XLSB = "xlsb"
    XLS = "xls"
    ODS = "ods"
    HTML = "html"
    MAIL = "eml"
    CSV = "csv"
    MARKDOWN = "md"
    TEXT = "txt"


_OPEN_XML = "application/vnd.openxmlformats-officedocument"
MEDIA_TYPES = {
    DocumentFormat.PDF: "application/pdf",
    DocumentFormat.DOCX: f"{_OPEN_XML}.wordprocessingml.document",
    DocumentFormat.PPTX: f"{_OPEN_XML}.presentationml.presentation",
    DocumentFormat.XLSX: f"{_OPEN_XML}.spreadsheetml.sheet",
    DocumentFormat.XLSB: "application/vnd.ms-excel.sheet.binary.macroenabled.12",
    DocumentFormat.XLS: "application/vnd.ms-excel",
    DocumentFormat.ODS: "application/vnd.oasis.opendocument.spreadsheet",
    DocumentFormat.HTML: "text/html",
    DocumentFormat.MAIL: "message/rfc822",
    DocumentFormat.CSV: "text/csv",
    DocumentFormat.MARKDOWN: "text/markdown",
    DocumentFormat.TEXT: "text/plain",
}
_TEXT_EXTENSIONS = {
    ".html": DocumentFormat.HTML,
    ".htm": DocumentFormat.HTML,
    ".xhtml": DocumentFormat.HTML,
    ".eml": DocumentFormat.MAIL,
    ".mht": DocumentFormat.MAIL,
    ".mhtml": DocumentFormat.MAIL,
    ".csv": DocumentFormat.CSV,
    ".tsv": DocumentFormat.CSV,
    ".tab": DocumentFormat.CSV,
    ".md": DocumentFormat.MARKDOWN,
    ".markdown": DocumentFormat.MARKDOWN,
    ".txt": DocumentFormat.TEXT,
    ".text": DocumentFormat.TEXT,
    ".log": DocumentFormat.TEXT,
    ".rst": DocumentFormat.TEXT,
}
# A file with one of these names and other content was damaged or cut on its way here.
_BINARY_NAMES = (
    ".pdf .docx .docm .dotx .dotm .pptx .pptm .ppsx .potx .xlsx .xlsm .xltx .xltm .xlsb .xls .xlt "
    ".ods .doc .ppt .pps .msg .wps .et .dps"
)
_BINARY_EXTENSIONS = frozenset(_BINARY_NAMES.split())
_SPREADSHEET_EXTENSIONS = frozenset({".xls", ".xlsx", ".xlt", ".et"})
# Beginning of the file: what it is, and what to do.
_UNSUPPORTED_MAGIC = (
    (b"{\\rtf", "Rich Text (.rtf); save it as .docx"),
    (b"\x89PNG", "a PNG image; run OCR (for example ocrmypdf) and drop the PDF"),
    (b"\xff\xd8\xff", "a JPEG image; run OCR (for example ocrmypdf) and drop the PDF"),
    (b"GIF8", "a GIF image; run OCR on it and drop the PDF"),
    (b"II*\x00", "a TIFF image; run OCR (for example ocrmypdf) and drop the PDF"),
    (b"MM\x00*", "a TIFF image; run OCR (for example ocrmypdf) and drop the PDF"),
    (b"7z\xbc\xaf'\x1c", "a 7z archive; unpack it and drop the files"),
    (b"Rar!", "a RAR archive; unpack it and drop the files"),
    (b"\x1f\x8b", "gzip data; unpack it and drop the files"),
    (b"BZh", "bzip2 data; unpack it and drop the files"),
    (b"\xfd7zXZ", "xz data; unpack it and drop the files"),
    (b"%!PS", "PostScript; convert it to PDF"),
    (b"AT&TFORM", "DjVu; convert it to PDF"),
    (b"SQLite format 3", "an SQLite database; export its tables as .csv"),
    (b"PAR1", "a Parquet table; load it as a table, not as a document"),
    (b"MZ", "a program, not a document; remove it"),
    (b"\x7fELF", "a program, not a document; remove it"),
    (b"!BDN", "an Outlook mailbox (.pst); save the mails as .eml"),
)
# A stream of an OLE file: what the file is, and what to do.
_UNSUPPORTED_STREAMS = (
    ("WordDocument", "legacy Word .doc; save as .docx"),
    ("PowerPoint Document", "legacy PowerPoint .ppt; save as .pptx"),
    ("__properties_version1.0", "Outlook .msg; save as .eml"),
    ("__nameid_version1.0", "Outlook .msg; save as .eml"),
    ("MatOST", "Microsoft Works .wps; save as .docx"),
    ("Quill", "Publisher .pub; export as PDF"),
    ("VisioDocument", "Visio .vsd; export as PDF"),
)
# WPS Office writes the same streams under names of its own.
_WPS_ADVICE = {
    ".wps": ".wps: save as .docx",
    ".dps": ".dps: save as .pptx",
}
_CONTENT_TYPES = (
    (re.compile(rb"(wordprocessingml|ms-word)\.[\w.]*main\+xml", re.I), DocumentFormat.DOCX),
    (re.compile(rb"(presentationml|ms-powerpoint)\.[\w.]*main\+xml", re.I), DocumentFormat.PPTX),
    (re.compile(rb"ms-excel\.sheet\.binary\.macroEnabled\.main", re.I), DocumentFormat.XLSB),
    (re.compile(rb"(spreadsheetml|ms-excel)\.[\w.]*main\+xml", re.I), DocumentFormat.XLSX),
)
_MAIN_PARTS = (
    ("word/document.xml", DocumentFormat.DOCX),
    ("ppt/presentation.xml", DocumentFormat.PPTX),
    ("xl/workbook.xml", DocumentFormat.XLSX),
    ("xl/workbook.bin", DocumentFormat.XLSB),
)
_OPEN_DOCUMENT = {
    "text": "OpenDocument text (.odt); save as .docx",
    "presentation": "OpenDocument presentation (.odp); save as .pptx",
    "graphics": "OpenDocument drawing (.odg); export as PDF",
}
# ISO 32000-1, annex H: viewers accept the header within the first 1,024 bytes.
_PDF_HEADER_WITHIN = 1024
_SAMPLE_BYTES = 64 * 1024


def detect_format(data: bytes, name: str, limits: ParseLimits) -> DocumentFormat:
    """Kind of a file.

    Args:
        data: The whole file.
        name: Its name; only the extension is looked at.
        limits: Bounds for looking into zip packages.

    Raises:
        DocumentRefused: A kind that is not read (unsupported), content that does not fit a
            name like `.pdf` (corrupt), a password (encrypted), or a zip past its limits.
    """
    extension = PurePath(name).suffix.lower()
    if not data:
        raise _empty(extension)
    if b"%PDF-" in data[:_PDF_HEADER_WITHIN]:
        return DocumentFormat.PDF
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return _package_format(data, extension, limits)
    if data.startswith(ole.MAGIC):
        return _ole_format(data, extension)
    for magic, what in _UNSUPPORTED_MAGIC:
        if data.startswith(magic) and (len(magic) > 3 or _is_binary(data)):
            raise _unsupported(what)
    if _is_binary(data):
        raise _not_its_name(data, extension)
    return _text_format(data, extension)


def _empty(extension: str) -> DocumentRefused:
    if extension in _BINARY_EXTENSIONS:
        return DocumentRefused(
            DocumentOutcome.CORRUPT, f"0 bytes, which no {extension} file has; fetch it again"
        )
    return DocumentRefused(DocumentOutcome.EMPTY_TEXT, "the file is empty: 0 bytes")


def _unsupported(what: str) -> DocumentRefused:
    return DocumentRefused(DocumentOutcome.UNSUPPORTED, what)


def _not_its_name(data: bytes, extension: str) -> DocumentRefused:
    begins = data[:16].decode("ascii", "replace").encode("unicode_escape").decode()
    if extension in _BINARY_EXTENSIONS or extension in _TEXT_EXTENSIONS:
        return DocumentRefused(
            DocumentOutcome.CORRUPT,
            f"not a {extension} file: it begins with '{begins}'; fetch it again, or give it "
            "the name of what it is",
        )
    return _unsupported(
        f"unknown kind of file{f' ({extension})' if extension else ''}: it begins with "
        f"'{begins}'; save it as .docx, .pptx, .xlsx or .pdf"
    )


def _package_format(data: bytes, extension: str, limits: ParseLimits) -> DocumentFormat:
    with Package(data, limits) as package:
        if "[Content_Types].xml" in package:
            content_types = package.read("[Content_Types].xml")
            for pattern, kind in _CONTENT_TYPES:
                if pattern.search(content_types):
                    return kind
        for part, kind in _MAIN_PARTS:
            if part in package:
                return kind
        if "mimetype" in package:
            return _open_document_format(package)
        names = package.names
    if any(part.endswith(".iwa") for part in names):
        raise _unsupported("Apple iWork; export as PDF or as Office file")
    if extension in _BINARY_EXTENSIONS:
        raise DocumentRefused(
            DocumentOutcome.CORRUPT,
            f"a zip without the parts of a {extension} file (it has "
            f"{', '.join(names[:3]) or 'none'}); save the document again and drop that",
        )
    raise _unsupported("a zip archive; unpack it and drop the files")


def _open_document_format(package: Package) -> DocumentFormat:
    media_type = package.read("mimetype").decode("ascii", "replace").strip()
    manifest = "META-INF/manifest.xml"
    if manifest in package and b"encryption-data" in package.read(manifest):
        raise DocumentRefused(
            DocumentOutcome.ENCRYPTED,
            "the OpenDocument file has a password; save a copy without one and drop that",
        )
    if "opendocument.spreadsheet" in media_type:
        return DocumentFormat.ODS
    for word, what in _OPEN_DOCUMENT.items():
        if f"opendocument.{word}" in media_type:
            raise _unsupported(what)
    raise _unsupported(f"{media_type}; save it as .docx or .pdf")


def _ole_format(data: bytes, extension: str) -> DocumentFormat:
    directory = ole.OleDirectory(data)
    if "EncryptedPackage" in directory.names:
        raise DocumentRefused(
            DocumentOutcome.ENCRYPTED,
            "the Office file has a password; save a copy without one and drop that",
        )
    for stream in ("Workbook", "Book"):
        if stream in directory.names:
            check_workbook_stream(directory.read(stream))
            return DocumentFormat.XLS
    for stream, what in _UNSUPPORTED_STREAMS:
        if stream in directory.names:
            raise _unsupported(_WPS_ADVICE.get(extension, what))
    if not directory.streams:
        raise DocumentRefused(
            DocumentOutcome.CORRUPT,
            "a damaged Office file (97-2003): its directory cannot be read; fetch it again",
        )
    raise _unsupported(
        _WPS_ADVICE.get(extension, "an OLE file of unknown kind; save as .docx, .xlsx or .pdf")
    )


def _is_binary(data: bytes) -> bool:
    """Whether the bytes cannot be text in any encoding."""
    if marked_encoding(data):
        return False
    sample = data[:_SAMPLE_BYTES]
    controls = sum(sample.count(bytes([code])) for code in (*range(9), *range(14, 27), 28, 29, 30))
    # Old logs have a stray escape or NUL; compressed data has 10 % control bytes.
    return controls > max(4, 0.02 * len(sample))


def _text_format(data: bytes, extension: str) -> DocumentFormat:
    head = decode_text(data[:_SAMPLE_BYTES]).text
    certain = _certain_text_format(head, extension)
    if certain is not None:
        return certain
    if extension in _TEXT_EXTENSIONS:
        return _TEXT_EXTENSIONS[extension]
    if extension in _SPREADSHEET_EXTENSIONS and looks_like_table(head):
        return DocumentFormat.CSV
    if extension in _BINARY_EXTENSIONS:
        raise _not_its_name(data, extension)
    if looks_like_table(head):
        return DocumentFormat.CSV
    return DocumentFormat.MARKDOWN if looks_like_markdown(head) else DocumentFormat.TEXT


def _certain_text_format(head: str, extension: str) -> DocumentFormat | None:
    if "<?mso-application" in head[:1000]:
        raise _unsupported("Office 2003 XML; save as .docx or .xlsx")
    if looks_like_html(head):
        return DocumentFormat.HTML
    is_declared_mail = _TEXT_EXTENSIONS.get(extension) is DocumentFormat.MAIL
    if looks_like_mailbox(head):
        raise _unsupported("a mail folder (mbox); save its mails as .eml")
    if looks_like_mail(head, headers_needed=1 if is_declared_mail else 2):
        return DocumentFormat.MAIL
    return None
