"""Which parser reads which format, and its version.

Parsers and their libraries are imported when a file of their format comes.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

from batch_assets.sources.documents.chunks import ChunkSettings
from batch_assets.sources.documents.formats import MEDIA_TYPES, DocumentFormat
from batch_assets.sources.documents.library_versions import STANDARD_LIBRARY, library_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from batch_assets.sources.documents.context import ParseContext
    from batch_assets.sources.documents.parsed import Draft


@dataclass(frozen=True, slots=True)
class Reader:
    """How one format is read.

    Attributes:
        module: Module of this package.
        function: Its parser.
        library: Distribution that does the reading; its version is part of ours.
        revision: Raised when our code gives another text for the same file.
    """

    module: str
    function: str
    library: str
    revision: int = 1

    @property
    def version(self) -> str:
        """Version of the library and revision of our code: `5.15.2/1`."""
        return f"{library_version(self.library)}/{self.revision}"

    def load(self) -> "Callable[[bytes, ParseContext], Draft]":
        """Import the parser."""
        module = import_module(f"batch_assets.sources.documents.{self.module}")
        return cast("Callable[[bytes, ParseContext], Draft]", getattr(module, self.function))


_WORKBOOK = Reader("workbook", "parse_workbook", "python-calamine")
READERS = {
    DocumentFormat.PDF: Reader("pdf", "parse_pdf", "pypdfium2"),
    DocumentFormat.DOCX: Reader("word", "parse_word", "lxml"),
    DocumentFormat.PPTX: Reader("powerpoint", "parse_powerpoint", "lxml"),
    DocumentFormat.XLSX: _WORKBOOK,
    DocumentFormat.XLSB: _WORKBOOK,
    DocumentFormat.XLS: _WORKBOOK,
    DocumentFormat.ODS: _WORKBOOK,
    DocumentFormat.HTML: Reader("web", "parse_web", "lxml"),
    DocumentFormat.MAIL: Reader("mail", "parse_mail", STANDARD_LIBRARY),
    DocumentFormat.CSV: Reader("plain", "parse_csv", "charset-normalizer"),
    DocumentFormat.MARKDOWN: Reader("plain", "parse_markdown", "charset-normalizer"),
    DocumentFormat.TEXT: Reader("plain", "parse_text", "charset-normalizer"),
}


def processing_fingerprints(settings: ChunkSettings) -> dict[str, str]:
    """By media type: changes when its files would give other text or chunks than before."""
    return {
        MEDIA_TYPES[kind]: f"{reader.library} {reader.version}; {settings.fingerprint}"
        for kind, reader in READERS.items()
    }


def worker_modules() -> tuple[str, ...]:
    """What a worker imports before its first document, so that no document pays for it.

    openpyxl is not among them: it doubles a worker's memory and few workbooks need it.
    """
    package = "batch_assets.sources.documents"
    ours = sorted({f"{package}.{reader.module}" for reader in READERS.values()})
    return (f"{package}.parse", *ours, "semantic_text_splitter")
