"""What can be wrong with a cell: a closed set of rules, with what is expected and what to do."""

from enum import IntEnum

from batch_assets.sources.spreadsheets.column_types import TypeName
from batch_assets.sources.spreadsheets.template import ColumnTemplate


class CellRule(IntEnum):
    """Rules in the order in which they are looked at; 0 is a good cell."""

    NONE = 0
    ERROR_CELL = 1
    FORMULA_WITHOUT_VALUE = 2
    NUL_CHARACTER = 3
    WRONG_KIND = 4
    UNPARSABLE_NUMBER = 5
    NOT_AN_INTEGER = 6
    TOO_MANY_DECIMALS = 7
    NUMBER_TOO_LARGE = 8
    UNPARSABLE_DATE = 9
    TIME_IN_DATE = 10
    UNPARSABLE_TIME = 11
    UNPARSABLE_BOOLEAN = 12
    MISSING_VALUE = 13
    VALUE_NOT_ALLOWED = 14
    PATTERN_MISMATCH = 15
    BELOW_MINIMUM = 16
    ABOVE_MAXIMUM = 17

    @property
    def label(self) -> str:
        """Name in reports: `error_cell`."""
        return self.name.lower()


_EXPECTED_KIND = {
    TypeName.TEXT: "text",
    TypeName.INTEGER: "a whole number",
    TypeName.DATE: "a date",
    TypeName.TIMESTAMP: "a date with a time",
    TypeName.TIME: "a time of day such as 13:05",
    TypeName.BOOLEAN: "yes or no",
}
_HINTS = {
    CellRule.ERROR_CELL: "correct the formula, or write the value over it",
    CellRule.FORMULA_WITHOUT_VALUE: "open the file in a spreadsheet program, let it calculate, "
    "and save it; or write the value over the formula",
    CellRule.NUL_CHARACTER: "write the text again; the file holds characters that no text has",
    CellRule.WRONG_KIND: "write the value in the form that is expected, and check the cell format",
    CellRule.UNPARSABLE_NUMBER: "write digits only; a decimal comma is declared with "
    "decimal_comma = true",
    CellRule.NOT_AN_INTEGER: "round the number, or declare the column as decimal",
    CellRule.TOO_MANY_DECIMALS: "round the number in the file, or set round = true",
    CellRule.NUMBER_TOO_LARGE: "check the unit and the decimal point",
    CellRule.UNPARSABLE_DATE: "write the date as 2024-09-30, or declare its form in date_formats",
    CellRule.TIME_IN_DATE: "remove the time of day, or declare the column as timestamp",
    CellRule.UNPARSABLE_TIME: "write the time as 13:05 or 13:05:07",
    CellRule.UNPARSABLE_BOOLEAN: "write one of the values that are expected",
    CellRule.MISSING_VALUE: "fill the cell",
    CellRule.VALUE_NOT_ALLOWED: "choose one of the allowed values",
    CellRule.PATTERN_MISMATCH: "write the value in the form that is expected",
    CellRule.BELOW_MINIMUM: "check the value and its unit",
    CellRule.ABOVE_MAXIMUM: "check the value and its unit",
}
# More of them would fill a screen; the template has them all.
_LISTED_VALUES = 12


def hint_of(rule: CellRule) -> str:
    """What a person does next."""
    return _HINTS[rule]


def expected_of(rule: CellRule, column: ColumnTemplate) -> str:
    """What the column allows, in words."""
    match rule:
        case CellRule.VALUE_NOT_ALLOWED:
            listed = ", ".join(column.allowed[:_LISTED_VALUES])
            more = len(column.allowed) - _LISTED_VALUES
            return f"one of {listed}" + (f" and {more} more" if more > 0 else "")
        case CellRule.PATTERN_MISMATCH:
            return f"the form {column.pattern}"
        case CellRule.BELOW_MINIMUM:
            return f"at least {column.min}"
        case CellRule.ABOVE_MAXIMUM:
            return f"at most {column.max}"
        case CellRule.MISSING_VALUE:
            return f"a value: {expected_kind(column)}"
        case _:
            return expected_kind(column)


def expected_kind(column: ColumnTemplate) -> str:
    """What a good cell of a column is, in words."""
    kind = column.column_type
    unit = f" in {column.unit}" if column.unit else ""
    if kind.name is TypeName.BOOLEAN:
        return f"one of {', '.join((*column.true, *column.false))}"
    if kind.name is TypeName.PERCENT:
        return f"a share such as 12.5 % or 0.125, with at most {kind.scale} decimals as a fraction"
    if kind.is_scaled:
        whole = kind.precision - kind.scale
        return f"a number{unit} with at most {whole} digits before and {kind.scale} after the point"
    return _EXPECTED_KIND[kind.name] + unit
