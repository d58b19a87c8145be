"""How bad a broken rule is; apart from rules.py, so that feeds can name it without Arrow."""

from enum import StrEnum


class Severity(StrEnum):
    """What breaking a rule costs a row."""

    REJECT = "reject"
    WARN = "warn"
