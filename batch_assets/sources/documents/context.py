"""What a parser is given besides the bytes.

A parser is a function `(data, context) -> Draft`. It raises DocumentRefused when the file has no
text to give; whatever else escapes it counts as corrupt (parse.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

from batch_assets.sources.documents.limits import ParseLimits
from batch_assets.sources.documents.parsed import ParsedDocument


@dataclass(frozen=True, slots=True)
class ParseContext:
    """Bounds and the way to parse what is inside a document.

    Attributes:
        limits: Bounds of the whole document.
        name: Name of the file, without a folder.
        parse_nested: Parses an attachment (its bytes and name) under the same limits.
    """

    limits: ParseLimits
    name: str
    parse_nested: Callable[[bytes, str], ParsedDocument]
