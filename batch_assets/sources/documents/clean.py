"""Text that PostgreSQL, a splitter and a search index can all take.

Removes what no reader sees and PostgreSQL refuses (NUL, lone surrogates); decides about invisible
characters. Nothing visible is changed here; what is special to PDF is in pdf.py.
"""

import re

# NUL is refused by PostgreSQL (22021), surrogates cannot be encoded; the other control
# characters and non-characters are invisible and break words.
_REFUSED = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
# Soft hyphen, word joiner and byte order marks: a word with one inside is not found without.
_INVISIBLE = re.compile("[\u00ad\u2060\ufeff]")
# A zero-width space separates words in Thai, Lao, Tibetan, Burmese and Khmer, and only there.
_ZERO_WIDTH = re.compile("(?<![\u0e00-\u109f\u1780-\u17ff])\u200b")
_LINE_ENDS = re.compile("[\x0b\x0c\x85\u2028\u2029]")
_BLANKS = " \t\u00a0\u3000"
_MANY_BLANK_LINES = re.compile("\n{4,}")
# The same characters for text in one byte each, which a table removes in a tenth of the time.
_REFUSED_ASCII = bytes([*range(0x09), *range(0x0E, 0x20), 0x7F])


def clean_text(text: str) -> tuple[str, int]:
    """Text without what must not be stored.

    Returns:
        The cleaned text, without white space around it, and how many characters were refused.
    """
    if text.isascii():
        kept = text.encode("ascii").translate(None, _REFUSED_ASCII).decode("ascii")
        refused = len(text) - len(kept)
    else:
        kept, refused = _REFUSED.subn("", text)
        kept = _ZERO_WIDTH.sub("", _INVISIBLE.sub("", kept))
    kept = kept.replace("\r\n", "\n").replace("\r", "\n")
    lines = _LINE_ENDS.sub("\n", kept).split("\n")
    kept = "\n".join([line.rstrip(_BLANKS) for line in lines])
    if "\n\n\n\n" in kept:
        kept = _MANY_BLANK_LINES.sub("\n\n\n", kept)
    return kept.strip(), refused


def one_line(text: str) -> str:
    """A label or property: cleaned, on one line."""
    return " ".join(clean_text(text)[0].split())
