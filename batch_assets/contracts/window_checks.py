"""Checks about a whole window, made before it is published.

A check is a named query, run in the publishing transaction over the rows as they would be, and a
pure decision about what it gives. Rules about one row are in rules.py; verdicts about what is
stored belong in `quality/`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Counts = Mapping[str, Any]
"""One row of a check's query, by column."""


class Consequence(StrEnum):
    """What a finding costs the window."""

    FAIL = "fail"
    PARTIAL = "partial"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a window as a whole.

    Attributes:
        consequence: FAIL publishes nothing; PARTIAL publishes, and says that rows are missing.
        reason: Closed-set name for the ledger.
        message: What was seen, what was expected, what to do next.
    """

    consequence: Consequence
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class WindowCheck:
    """One promise about a window.

    Attributes:
        query: Name of a file of sql/queries. Its parameters are target, scope, window_keys,
            the first_key and last_key of them, and row_counts (rows of each window as it would be
            published); it gives rows with a column `window_key`, any number for a window.
        sampled_column: The query also takes `samples`: by window key, values of this text column
            that are spread evenly over the rows; null where the rows are not at hand.
        judge: Decides about one such row.
        details_query: Asked of windows with a finding, for what only they need to know: a file of
            sql/queries with the same parameters, and the wanted_keys; one row for a window.
        explain: The finding with what that row says.
    """

    query: str
    judge: Callable[[Counts], Finding | None]
    details_query: str = ""
    explain: Callable[[Finding, Counts], Finding] | None = None
    sampled_column: str = ""
