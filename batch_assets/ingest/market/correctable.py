"""Rejected bars as a person corrects them: the columns of their file, in its order, as text."""

from batch_assets.contracts.batch import SourceCell
from batch_assets.contracts.dead_letter import DeadLetter
from batch_assets.sources.market.contract import COLUMNS
from batch_assets.sources.market.parse import LINE
from batch_assets.sources.spreadsheets.correctable import CorrectableRow, shown_given

# Of a row that was refused after it was typed; nobody corrects what its feed says.
_GIVEN_BY_FEED = ("source", "adjustment")


def is_typed(letter: DeadLetter) -> bool:
    """Whether the row is kept by the table's columns: two rows of its file had its key."""
    return set(letter.original) == set(COLUMNS.names)


def correctable_bar(letter: DeadLetter) -> CorrectableRow:
    """A dead letter with its cells.

    A record that does not have the columns of its file has them empty beside the whole line.
    """
    layout = letter.layout
    if is_typed(letter):
        layout = tuple(
            SourceCell(name, "text", "" if name in _GIVEN_BY_FEED else name, None, place)
            for place, name in enumerate(COLUMNS.names)
        )
    known = {cell.name for cell in layout}
    others = [name for name in letter.original if name not in known]
    layout += tuple(
        SourceCell(name, "text", "", None, len(layout) + number)
        for number, name in enumerate(others)
        if name == LINE or not layout
    )
    given = {name: shown_given(text, kind) for name, (text, kind) in letter.corrected.items()}
    return CorrectableRow(letter, layout, letter.original, {**letter.original, **given})
