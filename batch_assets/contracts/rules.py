"""Rules about one row, evaluated over whole Arrow batches.

Verdicts about a table belong in `quality/`. A rule never loops over rows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.decimals import as_integers, none_broken
from batch_assets.contracts.severity import Severity

# One genuine exception among eight symbols is 12 %, and no sign of a wrong unit.
WINDOW_LIMIT_ROWS = 3


@dataclass(frozen=True, slots=True)
class RowRule:
    """One promise about every row.

    Attributes:
        name: Closed-set name shown in reports, `snake_case`, a statement that is broken.
        columns: Columns looked at; the first one is blamed.
        broken: Gives a boolean array, True where the row breaks the rule; null counts as kept.
        expected: What is allowed, in words.
        hint: What a person does about it.
        severity: REJECT keeps the row out; WARN stores it and counts it.
        window_limit_ratio: Above this share of broken rows (0-1) the whole window fails; fewer
            than WINDOW_LIMIT_ROWS rows fail it only if they are all it has, since a share of a
            handful says nothing.
    """

    name: str
    columns: tuple[str, ...]
    broken: Callable[[pa.RecordBatch], pa.BooleanArray]
    expected: str
    hint: str = ""
    severity: Severity = Severity.REJECT
    window_limit_ratio: float | None = None


def fails_window(rule: RowRule, broken_rows: int, read_rows: int) -> bool:
    """Whether so many broken rows say that the window as a whole is wrong."""
    return (
        rule.window_limit_ratio is not None
        and broken_rows > rule.window_limit_ratio * read_rows
        and broken_rows >= min(WINDOW_LIMIT_ROWS, read_rows)
    )


def required(column: str, *, hint: str = "fill the cell in the source") -> RowRule:
    """The column has a value in every row."""
    return RowRule(
        name="missing_value",
        columns=(column,),
        broken=lambda batch: pc.is_null(batch.column(column)),
        expected="a value",
        hint=hint,
    )


def not_negative(column: str) -> RowRule:
    """The column is zero or more, where it has a value."""
    return RowRule(
        name="negative_value",
        columns=(column,),
        broken=lambda batch: _is_negative(batch.column(column)),
        expected="zero or more",
        hint="correct the sign in the source",
    )


def _is_negative(values: pa.Array) -> pa.BooleanArray:
    integers = as_integers(values)
    if integers is not None and integers.min(initial=0) >= 0:
        return none_broken(len(values))
    return pc.less(values, pa.scalar(0).cast(pa.int64()))
