"""Values of columns that are marked as personal: kept where rows are corrected, masked where shown.

A name is personal as the table or as the source calls it. What a rule saw of a row is masked before
it is stored or reported; the row as its source wrote it stays whole in its dead letter, whose
readers mask it here.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from batch_assets.contracts.batch import Original, RejectedRow, SourceCell, Violation
from batch_assets.contracts.dead_letter import DeadLetter

MASK = "***"
"""Stands for a value in the place where it would be read."""

# `name=value` of rules that look at several columns.
_PAIR = re.compile(r"([^\s,=]+)=")


def masked_violations(
    violations: Iterable[Violation], personal: Collection[str], columns: Collection[str]
) -> tuple[Violation, ...]:
    """What was seen, masked unless it can only be the value of a column that is not personal.

    Args:
        violations: Of one row.
        personal: Personal columns, as the table calls them; without any, nothing is masked.
        columns: All columns. What is blamed on none of them (a constraint, the whole row) may quote
            any value.
    """
    if not personal:
        return tuple(violations)
    return tuple(
        replace(item, observed=MASK)
        if item.observed is not None and _may_tell(item, personal, columns)
        else item
        for item in violations
    )


def _may_tell(item: Violation, personal: Collection[str], columns: Collection[str]) -> bool:
    if item.column in personal or item.column not in columns:
        return True
    return any(name in personal for name in _PAIR.findall(item.observed or ""))


def personal_names(
    original: Original, layout: Iterable[SourceCell], personal: Collection[str]
) -> tuple[str, ...]:
    """Those names of a row, as its source calls them, whose values are personal.

    A value that is JSON may hold personal ones, and counts as one.

    Args:
        original: The row.
        layout: Says for which column of the table a name is meant.
        personal: Names of the table or of the source; without any, no name is personal.
    """
    if not personal:
        return ()
    columns = {cell.name: cell.column for cell in layout}
    return tuple(
        name
        for name, value in original.items()
        if name in personal or columns.get(name, "") in personal or _may_hold_others(value)
    )


def _may_hold_others(value: str | None) -> bool:
    """Whether a value is a body of its own, as JSON."""
    return value is not None and value.lstrip()[:1] in ("{", "[")


def masked_original(original: Original, personal: Collection[str]) -> dict[str, str | None]:
    """The values of a row, masked where they are personal; what is missing stays missing."""
    return {
        name: MASK if name in personal and value is not None else value
        for name, value in original.items()
    }


def masked_row(
    row: RejectedRow, personal: Collection[str], columns: Collection[str]
) -> RejectedRow:
    """A rejected row as it may be reported."""
    if not personal:
        return row
    names = personal_names(row.original, row.layout, personal)
    return replace(
        row,
        violations=masked_violations(row.violations, personal, columns),
        original=masked_original(row.original, names),
        layout=_masked_layout(row.layout, names),
    )


def masked_letter(letter: DeadLetter, more: Collection[str] = ()) -> DeadLetter:
    """A dead letter as it may be shown.

    Args:
        letter: Its own personal names are masked.
        more: Names that became personal after it was written.
    """
    marked = {*letter.personal, *more}
    names = personal_names(letter.original, letter.layout, marked)
    if not names:
        return letter
    columns = {cell.column for cell in letter.layout if cell.column} or set(letter.original)
    blamed = {*marked, *(cell.column for cell in letter.layout if cell.name in names)}
    return replace(
        letter,
        violations=masked_violations(letter.violations, blamed, columns),
        original=masked_original(letter.original, names),
        layout=_masked_layout(letter.layout, names),
        corrected=_masked_given(letter.corrected, names),
        personal=names,
    )


def _masked_layout(layout: Sequence[SourceCell], names: Collection[str]) -> tuple[SourceCell, ...]:
    return tuple(replace(cell, raw=None) if cell.name in names else cell for cell in layout)


def _masked_given(
    given: Mapping[str, tuple[str | None, str]], names: Collection[str]
) -> dict[str, tuple[str | None, str]]:
    return {
        name: (MASK if name in names and text is not None else text, kind)
        for name, (text, kind) in given.items()
    }
