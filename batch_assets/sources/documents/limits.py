"""How much a document may ask of us, checked before a parser sees it.

Time and memory are limits of the process that parses, not of this module.
"""

from dataclasses import dataclass

from batch_assets.sources.documents.outcome import DocumentOutcome, DocumentRefused

# Below this a high ratio of expansion harms nobody: small Office files of zeros are common.
HARMLESS_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """Bounds of one document; what passes a bound is refused whole, never cut.

    Attributes:
        max_file_bytes: Size of the file.
        max_expanded_bytes: Sum of the members of a zip once unpacked.
        max_expansion_ratio: Unpacked to packed, of a zip that unpacks to more than 32 MiB.
        max_entries: Members of a zip.
        max_pages: Pages of a PDF, slides of a presentation, sheets of a workbook.
        max_sheet_cells: Rows times columns of the rectangle that a sheet's cells span.
        max_attachments: Attachments of a mail, those of attached mails included.
        max_mail_depth: Mails inside mails.
        max_text_characters: Extracted text.
    """

    max_file_bytes: int = 256 * 1024 * 1024
    max_expanded_bytes: int = 1024 * 1024 * 1024
    max_expansion_ratio: int = 200
    max_entries: int = 20_000
    max_pages: int = 20_000
    max_sheet_cells: int = 12_000_000
    max_attachments: int = 500
    max_mail_depth: int = 5
    max_text_characters: int = 50_000_000


def check_file_bytes(size_bytes: int, limits: ParseLimits) -> None:
    """Refuse a file by its size alone.

    Raises:
        DocumentRefused: It is larger than the limit (too_large).
    """
    if size_bytes > limits.max_file_bytes:
        raise too_large("bytes", size_bytes, "max_file_bytes", limits.max_file_bytes)


def too_large(what: str, seen: int, name: str, limit: int) -> DocumentRefused:
    """The refusal of a document that passes one of the bounds."""
    return DocumentRefused(
        DocumentOutcome.TOO_LARGE,
        f"{seen:,} {what}, the limit {name} is {limit:,}; split the file or raise {name}",
    )
