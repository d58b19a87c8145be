"""Formats of dates that a template may name; what is read by them is in moments.py."""

import re

from batch_assets.sources.market.date_formats import check_format as check_date_format

_SPLIT = re.compile(r"[ T]*%[HIMSpf].*$")


def check_format(date_format: str) -> str:
    """Return a format if dates or timestamps can be read with it.

    Raises:
        ValueError: Says what is allowed.
    """
    if date_format != "excel_serial":
        check_date_format(date_part_of(date_format))
    return date_format


def date_part_of(date_format: str) -> str:
    """A format without its time of day."""
    return _SPLIT.sub("", date_format) if "%" in date_format else date_format
