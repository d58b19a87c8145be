"""How a load writes; apart from table.py, so that templates can name it without Arrow."""

from enum import StrEnum


class Disposition(StrEnum):
    """How rows meet the rows already there.

    APPEND adds rows whose key is absent; where the key is there, the stored row stays and counts
    as unchanged, whatever its values. MERGE adds and changes, and never deletes.
    REPLACE makes the window exactly what the source says, deleting what it no longer has.
    """

    APPEND = "append"
    MERGE = "merge"
    REPLACE = "replace"
