"""Formats in which vendors write dates; what is read by them is in dates.py.

A format becomes one regular expression with named parts. Day-month orders are never guessed. No
Arrow: feeds are checked wherever the definitions are built.
"""

import re
from functools import lru_cache

ROC_OFFSET_YEARS = 1911  # year 1 of the Republic of China calendar (民國) is 1912
_TIME = r"(?:[ T]+\d{1,2}:?\d{2}(?::?\d{2})?(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})?)?"
_AUTO = (
    r"^(?P<y>\d{4})(?:(?P<s>[-/.])(?P<m>\d{1,2})[-/.](?P<d>\d{1,2})"
    r"|年(?P<m2>\d{1,2})月(?P<d2>\d{1,2})日|(?P<m3>\d{2})(?P<d3>\d{2}))" + _TIME + "$"
)
# TWSE glues one mark to dates of days with remarks; Big5 A1AF is the full-width asterisk.
_ROC = (
    r"^(?:民國|民国)?\s*(?P<y>\d{2,3})[-/.年]?(?P<m>\d{2})[-/.月]?(?P<d>\d{2})日?[^0-9A-Za-z]{0,2}$"
)
NAMED_FORMATS = {"auto": _AUTO, "iso": "%Y-%m-%d", "YYYYMMDD": "%Y%m%d", "dd-Mon-YYYY": "%d-%b-%Y"}
EPOCHS = {"epoch_s": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000, "epoch_ns": 1_000_000_000}
_DIRECTIVES = {
    "Y": r"(?P<y>\d{4})",
    "y": r"(?P<y2>\d{2})",
    "m": r"(?P<m>\d{1,2})",
    "d": r"(?P<d>\d{1,2})",
    "b": r"(?P<b>[A-Za-z]{3})",
    "B": r"(?P<b>[A-Za-z]{3,9})",
    "H": r"\d{1,2}",
    "M": r"\d{1,2}",
    "S": r"\d{1,2}",
    "f": r"\d{1,9}",
    "%": "%",
}


class UnknownDateFormatError(ValueError):
    """A format that is neither named nor made of known directives."""


def check_format(date_format: str) -> str:
    """Return the format if dates can be read with it.

    Raises:
        UnknownDateFormatError: Says what is allowed.
    """
    if date_format not in EPOCHS and date_format != "excel_serial":
        regex_of(date_format)
    return date_format


@lru_cache(maxsize=64)
def regex_of(date_format: str) -> str:
    """The expression of a format that is none of EPOCHS, with the parts y, m, b and d.

    Raises:
        UnknownDateFormatError: Says what is allowed.
    """
    if date_format == "roc":
        return _ROC
    pattern = NAMED_FORMATS.get(date_format, date_format)
    if pattern == _AUTO:
        return _AUTO
    if "%" not in pattern:
        raise UnknownDateFormatError(
            f"date format {date_format!r} is not known; write one of "
            f"{', '.join((*NAMED_FORMATS, 'roc', *EPOCHS, 'excel_serial'))} or a pattern such as "
            "%d.%m.%Y"
        )
    built = "".join(
        _DIRECTIVES.get(piece[1:], "") if piece.startswith("%") else re.escape(piece)
        for piece in re.findall(r"%.|[^%]+", pattern)
    )
    needed = (("(?P<y",), ("(?P<m>", "(?P<b>"), ("(?P<d>",))
    if not all(any(part in built for part in parts) for parts in needed):
        raise UnknownDateFormatError(f"date format {date_format!r} needs a year, a month and a day")
    return "^" + built + ("" if "%H" in pattern else _TIME) + "$"
