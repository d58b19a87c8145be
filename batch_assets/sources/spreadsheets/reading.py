"""Read one file by its template: sheets, header, data rows, judgement.

Readers of the formats give blocks of cells (formats.py); nothing here knows a format.
"""

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.errors import UnreadableSource
from batch_assets.sources.spreadsheets.cells import SheetBlock, column_letters
from batch_assets.sources.spreadsheets.formats import ReadOptions, open_sheets
from batch_assets.sources.spreadsheets.header import SEARCH_ROWS, Header, Line, find_header
from batch_assets.sources.spreadsheets.judge import Arrival, Judge, JudgedRows
from batch_assets.sources.spreadsheets.template import (
    ContractMode,
    HiddenRows,
    SpreadsheetTemplate,
)


@dataclass(slots=True)
class Reading:
    """One pass over a file; what it found besides rows is known when it ends.

    Attributes:
        headers: Header of each sheet that was read.
        warnings: What a person should know although the rows are loaded, counted by text.
        hidden_rows: Rows hidden by hand or by a filter.
    """

    path: Path
    template: SpreadsheetTemplate
    arrival: Arrival
    headers: dict[str, Header] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    hidden_rows: int = 0
    _rows: int = 0

    def rows(self) -> Iterator[JudgedRows]:
        """Judge the rows of all sheets that the template takes.

        Raises:
            UnreadableSource: The file cannot be read, no sheet or header is the template's, or it
                has columns that the template refuses.
        """
        yield from self._sheets(with_rows=True)

    def find_headers(self) -> None:
        """Read each sheet as far as its header.

        Raises:
            UnreadableSource: As `rows` does.
        """
        for _ in self._sheets(with_rows=False):
            raise AssertionError("no rows were asked for")

    def _sheets(self, *, with_rows: bool) -> Iterator[JudgedRows]:
        seen: list[str] = []
        failures: list[UnreadableSource] = []
        for sheet in open_sheets(self.path, self.arrival.file, self._options()):
            seen.append(sheet.name)
            if not self.template.takes_sheet(sheet.name, len(seen)):
                continue
            try:
                head = self._find_header(sheet.name, sheet.blocks)
            except HeaderMissing as error:
                failures.append(error)
                continue
            if with_rows:
                yield from self._read_rows(sheet.name, chain(head, sheet.blocks))
        self._check_sheets(seen, failures)

    def _options(self) -> ReadOptions:
        template = self.template
        return ReadOptions(
            encoding=template.encoding,
            delimiter=template.delimiter,
            fill_merged=template.fill_merged,
        )

    def _check_sheets(self, seen: list[str], failures: list[UnreadableSource]) -> None:
        if not self.headers:
            if failures:
                raise failures[0]
            raise UnreadableSource(
                f"{self.arrival.file}: has sheets {', '.join(seen) or '(none)'}, expected "
                f"{self.template.sheet!r}; correct `sheet` of template {self.template.name}, or "
                "rename the sheet"
            )
        # With several sheets wanted, one without the table is no failure, but worth a word.
        self.warnings.extend(str(failure) for failure in failures)

    def _find_header(self, name: str, blocks: Iterator[SheetBlock]) -> list[SheetBlock]:
        """Remember the header of a sheet; returns the blocks that were read for it."""
        place = f"{self.arrival.file}, sheet {name!r}" if name else self.arrival.file
        head: list[SheetBlock] = []
        lines: list[Line] = []
        for block in blocks:
            head.append(block)
            lines.extend(_lines(block, SEARCH_ROWS - len(lines)))
            if len(lines) >= SEARCH_ROWS:
                break
        try:
            header = find_header(lines, self.template, place)
        except UnreadableSource as error:
            raise HeaderMissing(str(error)) from None
        self._check_columns(header, place)
        self.headers[name] = header
        return head

    def _read_rows(self, name: str, blocks: Iterator[SheetBlock]) -> Iterator[JudgedRows]:
        header = self.headers[name]
        judge = Judge(self.template, header, self.arrival)
        for block in blocks:
            data, read_rows, is_over = self._data_of(block, header)
            self._rows += read_rows
            if self._rows > self.template.max_rows:
                raise UnreadableSource(
                    f"{self.arrival.file}: has more than {self.template.max_rows} rows, which is "
                    f"what template {self.template.name} allows; split the file, or raise max_rows"
                )
            if read_rows:
                yield judge.judge(data, read_rows=read_rows)
            if is_over:
                break

    def _check_columns(self, header: Header, place: str) -> None:
        template = self.template
        absent = [c.name for c in template.columns if c.name not in header.places]
        if absent:
            self.warnings.append(
                f"{place}: has no column for {', '.join(absent)}; they are empty in its rows"
            )
        unknown = {
            index: text
            for index, text in header.unknown().items()
            if text not in self.arrival.extra.values()
        }
        if not unknown:
            return
        listed = ", ".join(f"{text} ({column_letters(index)})" for index, text in unknown.items())
        if template.contract is ContractMode.FREEZE:
            raise UnreadableSource(
                f"{place}: has columns that template {template.name} does not name: {listed}; add "
                'them to the template, or set contract = "evolve" or "discard"'
            )
        self.warnings.append(f"{place}: columns left out: {listed}")

    def _data_of(self, block: SheetBlock, header: Header) -> tuple[SheetBlock, int, bool]:
        """Rows of data, how many rows were read, and whether the table ends in this block."""
        chosen = (block.rows > header.last_row) & block.filled()
        is_over = False
        if self.template.stop_at:
            ends = np.flatnonzero(chosen & _begins_with(block, self.template.stop_at))
            if len(ends):
                chosen[ends[0] :] = False
                is_over = True
        read_rows = int(chosen.sum())
        self.hidden_rows += int((chosen & block.hidden).sum())
        if self.template.hidden_rows is HiddenRows.SKIP:
            chosen &= ~block.hidden
        if self.template.skip_rows_with:
            chosen &= ~_begins_with(block, self.template.skip_rows_with)
        chosen &= ~_repeats_header(block, header)
        return block.filter(chosen), read_rows, is_over


class HeaderMissing(UnreadableSource):
    """A sheet has no header of the template."""


def _lines(block: SheetBlock, count: int) -> list[Line]:
    chosen = np.flatnonzero(block.filled())[:count]
    if not len(chosen):
        return []
    indices = pa.array(chosen)
    columns = {
        place: cells.texts.take(indices).to_pylist()
        for place, cells in sorted(block.columns.items())
    }
    return [
        (int(block.rows[index]), {place: texts[n] for place, texts in columns.items() if texts[n]})
        for n, index in enumerate(chosen.tolist())
    ]


def _begins_with(block: SheetBlock, patterns: tuple[str, ...]) -> np.ndarray:
    """Rows whose first cell that is not empty fits a pattern, capitals or not."""
    result = np.zeros(len(block), bool)
    columns = [cells.texts for _, cells in sorted(block.columns.items())]
    if not columns:
        return result
    firsts = pc.utf8_trim_whitespace(pc.coalesce(*columns)).dictionary_encode()
    fits = np.array(
        [
            any(fnmatch.fnmatchcase(text.casefold(), pattern.casefold()) for pattern in patterns)
            for text in firsts.dictionary.to_pylist()
        ]
        + [False]
    )
    codes = np.asarray(pc.fill_null(firsts.indices, -1).to_numpy(zero_copy_only=False))
    return np.asarray(fits[codes])


def _repeats_header(block: SheetBlock, header: Header) -> np.ndarray:
    """Rows that say the header again, as page by page exports do."""
    result = np.ones(len(block), bool)
    for place in header.places.values():
        texts = block.column(place).texts
        same = pc.equal(pc.utf8_trim_whitespace(texts), header.names[place])
        result &= np.asarray(pc.fill_null(same, False))
        if not result.any():
            break
    return result
