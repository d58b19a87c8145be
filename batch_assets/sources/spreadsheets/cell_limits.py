"""What a template demands of values beyond their type: required, allowed, pattern, range."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.sources.spreadsheets.cell_rules import CellRule
from batch_assets.sources.spreadsheets.cell_types import TypedColumn
from batch_assets.sources.spreadsheets.template import ColumnTemplate


def check_limits(typed: TypedColumn, column: ColumnTemplate, *, is_key: bool) -> None:
    """Mark good cells that break a demand of their column; the first broken one is named."""
    values, problems = typed.values, typed.problems
    if column.required or is_key:
        _mark(problems, pc.is_null(values), CellRule.MISSING_VALUE)
    if column.allowed or column.pattern:
        texts = values if pa.types.is_string(values.type) else _texts(values)
        if column.allowed:
            allowed = pa.array(column.allowed, pa.string())
            known = pc.or_(pc.is_in(texts, allowed), pc.is_null(texts))
            _mark(problems, pc.invert(known), CellRule.VALUE_NOT_ALLOWED)
        if column.pattern:
            fits = pc.match_substring_regex(texts, f"^(?:{column.pattern})$")
            _mark(problems, pc.invert(fits), CellRule.PATTERN_MISMATCH)
    if column.min is not None:
        _mark(problems, pc.less(*_sides(values, column.min)), CellRule.BELOW_MINIMUM)
    if column.max is not None:
        _mark(problems, pc.greater(*_sides(values, column.max)), CellRule.ABOVE_MAXIMUM)


def _mark(problems: np.ndarray, broken: pa.Array, rule: CellRule) -> None:
    mask = np.asarray(pc.fill_null(broken, False)) & (problems == CellRule.NONE)
    problems[mask] = rule


def _texts(values: pa.Array) -> pa.Array:
    if pa.types.is_boolean(values.type):
        return pc.if_else(values, "TRUE", "FALSE")
    return values.cast(pa.string())


def _sides(values: pa.Array, limit: object) -> tuple[pa.Array, pa.Scalar]:
    """Both sides of a comparison in one type."""
    if isinstance(limit, Decimal):
        if pa.types.is_integer(values.type):
            values = values.cast(pa.decimal128(19, 0))
        return values, pa.scalar(limit)
    return values.cast(pa.date32(), safe=False), pa.scalar(limit, pa.date32())
