"""What the first bytes of a file say that its name does not.

Browsers and proxies unpack `.gz` on the way, exports of web sites are pages named `.csv` or `.xls`,
and people rename files. Signatures: RFC 1952 (gzip), RFC 8878 (Zstandard), the bzip2 and .xz file
formats, APPNOTE.TXT (zip), the Parquet and the compound file (OLE2) formats.
"""

import re

from batch_assets.errors import UnreadableSource
from batch_assets.sources.market.feed import FileFormat

# Enough for the title of a web page.
HEAD_BYTES = 4096

_SIGNATURES = (
    (b"\x1f\x8b", FileFormat.CSV_GZ),
    (b"BZh", FileFormat.CSV_BZ2),
    (b"\xfd7zXZ\x00", FileFormat.CSV_XZ),
    (b"\x28\xb5\x2f\xfd", FileFormat.CSV_ZST),
    (b"PAR1", FileFormat.PARQUET),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileFormat.XLSX),
)
_ZIP = b"PK\x03\x04"
# The first member of a workbook: Office and openpyxl begin with one of these.
_WORKBOOK_MEMBERS = (b"[Content_Types].xml", b"_rels/", b"docProps/", b"xl/", b"mimetype")
_PACKED_TEXT = frozenset(
    {FileFormat.CSV_GZ, FileFormat.CSV_BZ2, FileFormat.CSV_XZ, FileFormat.CSV_ZST}
)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*\?>\s*)?<(?:!doctype\s+html|html|head|body|table)\b", re.I
)
_TITLE = re.compile(rb"<title[^>]*>\s*([^<]{1,80})", re.I)


def recognise(head: bytes, by_name: FileFormat) -> FileFormat:
    """How a file is packed.

    Args:
        head: Its first bytes, HEAD_BYTES where there are so many.
        by_name: What its name says; stands where the bytes say nothing else.
    """
    if head.startswith(_ZIP):
        is_workbook = by_name is not FileFormat.ZIP and head[30:].startswith(_WORKBOOK_MEMBERS)
        return FileFormat.XLSX if is_workbook else FileFormat.ZIP
    for signature, packed in _SIGNATURES:
        # Text may begin with the three letters of bzip2, which the fourth one, a digit, continues.
        if head.startswith(signature) and (packed is not FileFormat.CSV_BZ2 or _is_bzip2(head)):
            return packed
    if by_name in _PACKED_TEXT and head and not _CONTROL.search(head):
        return FileFormat.CSV
    return by_name


def _is_bzip2(head: bytes) -> bool:
    return head[3:4].isdigit() and head[4:10] == b"1AY&SY"


def refuse_page(head: bytes, file: str) -> None:
    """Refuse a web page, whatever its name is.

    Raises:
        UnreadableSource: It is one.
    """
    if not _PAGE.match(head):
        return
    title = _TITLE.search(head, 0, HEAD_BYTES)
    named = f" titled {title[1].decode('utf-8', 'replace').strip()!r}" if title else ""
    raise UnreadableSource(
        f"{file}: is a web page{named}, expected a file of data; sites send pages in place of "
        "files when they refuse a request or want a login: look at it in a browser, then fetch "
        "the file again, or save it as CSV if its table is what you want"
    )
