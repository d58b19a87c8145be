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
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# Begins where a run of blanks begins, or long runs would cost the square of their length.
_TRAILING_BLANKS = re.compile("(?<![ \t\u00a0\u3000])[ \t\u00a0\u3000]+(?=\n|$)")
_MANY_BLANK_LINES = re.compile("\n{4,}")


def clean_text(text: str) -> tuple[str, int]:
    """Text without what must not be stored.

    Returns:
        The cleaned text, without white space around it, and how many characters were refused.
    """
    text, refused = _REFUSED.subn("", text)
    if not text.isascii():
        text = _ZERO_WIDTH.sub("", _INVISIBLE.sub("", text))
    text = _TRAILING_BLANKS.sub("", _LINE_ENDS.sub("\n", text))
    return _MANY_BLANK_LINES.sub("\n\n\n", text).strip(), refused


def one_line(text: str) -> str:
    """A label or property: cleaned, on one line."""
    return " ".join(clean_text(text)[0].split())
