"""Languages of what people read; apart from display.py, so that `--help` reads no settings."""

from enum import StrEnum
from typing import Self


class Language(StrEnum):
    """Languages of progress, summaries and alerts."""

    ENGLISH = "en"
    CHINESE = "zh"

    @classmethod
    def of_locale(cls, locale: str) -> Self:
        """`zh_CN.UTF-8` is Chinese; whatever is not, is English."""
        return cls(cls.CHINESE if locale.lower().startswith("zh") else cls.ENGLISH)
