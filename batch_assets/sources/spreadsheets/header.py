"""Find the header of a table by its names, wherever it stands, in one line or in two."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from batch_assets.errors import UnreadableSource
from batch_assets.sources.spreadsheets.cells import column_letters
from batch_assets.sources.spreadsheets.template import (
    RESERVED,
    ColumnTemplate,
    SpreadsheetTemplate,
)

# Titles, addresses and filters stand above a table; 60 lines of them are more than was ever seen.
SEARCH_ROWS = 60
_BLANKS = re.compile(r"[\s\u200b\ufeff]+")
_BRACKETS = re.compile(r"[(\[【](?P<inside>[^()\[\]【】]*)[)\]】]$")

_SLUG_BYTES = 55  # room for a number within the 63 bytes of a name

Line = tuple[int, Mapping[int, str]]
"""A row: its 1-based number, and the texts of its cells by 0-based column."""


@dataclass(frozen=True, slots=True)
class Header:
    """A header that was found.

    Attributes:
        first_row: 1-based row of its first line.
        last_row: Of its last line; data begin after it.
        names: Text of every column that has one, by 0-based column.
        places: Column of each column of the template that the file has.
    """

    first_row: int
    last_row: int
    names: Mapping[int, str]
    places: Mapping[str, int]

    def unknown(self) -> dict[int, str]:
        """Columns of the file that the template does not name."""
        known = set(self.places.values())
        return {place: name for place, name in self.names.items() if place not in known}

    def name_of(self, place: int) -> str:
        """The file's name of a column; its letters where it has none."""
        name = self.names.get(place)
        if name is None:
            return column_letters(place)
        is_repeated = sum(other == name for other in self.names.values()) > 1
        return f"{name} ({column_letters(place)})" if is_repeated else name


@lru_cache(maxsize=4096)
def normalise(text: str) -> str:
    """A header without what people write differently: case, blanks, width, marks at the end."""
    folded = _BLANKS.sub("", unicodedata.normalize("NFKC", text)).casefold()
    return folded.strip("*:：'\"")


def find_header(lines: Sequence[Line], template: SpreadsheetTemplate, place: str) -> Header:
    """The line, or pair of lines, that names the most columns of a template.

    Args:
        lines: The first rows of a sheet that have a cell, in order.
        template: Whose columns are looked for.
        place: File and sheet, for messages.

    Raises:
        UnreadableSource: A required column is missing, or a name stands there twice.
    """
    best: Header | None = None
    for candidate in _candidates(lines):
        names, first_row, last_row = candidate
        header = Header(first_row, last_row, _shown(names), _places(names, template))
        # Two lines win only with more names: the second one may be the first row of data.
        if best is None or len(header.places) > len(best.places):
            best = header
        if len(best.places) == len(template.columns):
            break
    if best is None:
        raise UnreadableSource(
            f"{place}: is empty, expected a header with {_listed(template.columns)}"
        )
    _check(best, template, place)
    return best


def _candidates(
    lines: Sequence[Line],
) -> Iterator[tuple[dict[int, tuple[str, ...]], int, int]]:
    """Names of each column with their variants, the full one first; single lines first."""
    for row, texts in lines[:SEARCH_ROWS]:
        yield {place: (text,) for place, text in texts.items()}, row, row
    for (row, top), (next_row, below) in pairwise(lines[:SEARCH_ROWS]):
        if next_row == row + 1:
            yield _joined(top, below), row, next_row


def _joined(top: Mapping[int, str], below: Mapping[int, str]) -> dict[int, tuple[str, ...]]:
    """Names over two lines: a group stands over the columns up to the next one."""
    names: dict[int, tuple[str, ...]] = {}
    group = ""
    for place in range(max((*top, *below), default=-1) + 1):
        group = top.get(place, group if place in below else "")
        upper, lower = group, below.get(place, "")
        if upper and lower:
            names[place] = (f"{upper} {lower}", lower)
        elif upper or lower:
            names[place] = (upper or lower,)
    return names


def _shown(names: Mapping[int, tuple[str, ...]]) -> dict[int, str]:
    return {
        place: " ".join(variants[0].split()) for place, variants in names.items() if variants[0]
    }


def _places(names: Mapping[int, tuple[str, ...]], template: SpreadsheetTemplate) -> dict[str, int]:
    """Column of each column of the template that is named, by its first name that is there."""
    found: dict[str, list[int]] = {}
    for place, variants in names.items():
        for variant in variants:
            found.setdefault(normalise(variant), []).append(place)
    places: dict[str, int] = {}
    for column in template.columns:
        for wanted in column.headers:
            candidates = found.get(normalise(wanted)) or _with_unit(found, wanted, column)
            if candidates:
                places[column.name] = candidates[0]
                break
    return places


def _with_unit(
    found: Mapping[str, list[int]], wanted: str, column: ColumnTemplate
) -> list[int] | None:
    """A header that is followed by the column's unit in brackets: `Weight (kg)`."""
    if not column.unit:
        return None
    for name, places in found.items():
        match = _BRACKETS.search(name)
        if (
            match
            and normalise(match["inside"]) == normalise(column.unit)
            and normalise(name[: match.start()]) == normalise(wanted)
        ):
            return places
    return None


def _check(header: Header, template: SpreadsheetTemplate, place: str) -> None:
    needed = [c for c in template.columns if c.required or c.name in template.key]
    missing = [column for column in needed if column.name not in header.places]
    if missing or not header.places:
        seen = ", ".join(header.names.values())[:300]
        raise UnreadableSource(
            f"{place}: no header has {_listed(missing or template.columns)}; the row that comes "
            f"nearest is {header.first_row}: {seen}. Correct the file, or add the name to "
            f"`header` of the column in template {template.name}"
        )
    _refuse_repeated(header, template, place)


def _refuse_repeated(header: Header, template: SpreadsheetTemplate, place: str) -> None:
    by_name: dict[str, list[int]] = {}
    for index, name in header.names.items():
        by_name.setdefault(normalise(name), []).append(index)
    for column, index in header.places.items():
        same = by_name.get(normalise(header.names[index]), [])
        if len(same) > 1:
            letters = " and ".join(column_letters(other) for other in same)
            raise UnreadableSource(
                f"{place}: {header.names[index]!r} stands over {letters}, expected one column for "
                f"{column!r}; rename the other column in the file"
            )
    taken: dict[int, str] = {}
    for column, index in header.places.items():
        other = taken.setdefault(index, column)
        if other != column:
            raise UnreadableSource(
                f"{place}: {header.names[index]!r} is the header of {other!r} and {column!r} in "
                f"template {template.name}; give each a name of its own"
            )


def _listed(columns: Sequence[ColumnTemplate]) -> str:
    return "; ".join(f"{column.name} ({' or '.join(column.headers)})" for column in columns)


def name_columns(headers: Iterable[str], taken: Collection[str]) -> dict[str, str]:
    """Names of columns for headers: small letters of any language, digits and `_`.

    Returns:
        Headers by column name; a name that is taken gets a number behind it.
    """
    named: dict[str, str] = {}
    for header in headers:
        slug = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", header).casefold()).strip("_")
        slug = slug.encode()[:_SLUG_BYTES].decode("utf-8", "ignore") or "column"
        slug = f"c_{slug}" if slug[0].isdigit() else slug
        name, number = slug, 1
        while name in named or name in taken or name in RESERVED:
            number += 1
            name = f"{slug}_{number}"
        named[name] = header
    return named
