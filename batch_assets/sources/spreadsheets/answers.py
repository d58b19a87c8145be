"""What a person wrote into an error workbook; runs in a worker process.

Answers go to a spool of JSON lines, so that nobody holds all of them. What they mean for their
rows is decided in corrections.py.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from batch_assets.errors import UnreadableSource
from batch_assets.sources.spreadsheets.cells import Kind, SheetBlock
from batch_assets.sources.spreadsheets.error_workbook import ACTIONS, CONTROL, FIX_ME, SUMMARY
from batch_assets.sources.spreadsheets.formats import ReadOptions, open_sheets
from batch_assets.sources.spreadsheets.judge import kind_name
from batch_assets.sources.spreadsheets.preflight import FileRefused, Refusal
from batch_assets.sources.spreadsheets.spool import ReadResult

_Write = Callable[[str], object]
_Cells = Mapping[int, tuple[str | None, str]]

_ACTION_WORDS = {"": "fix", "fix": "fix", "drop": "drop", "修正": "fix", "删除": "drop"}
_TEMPLATE_LABEL = "Template"
# Delimited text has no types: an apostrophe keeps values from becoming formulas in Excel.
GUARDED = ("=", "+", "-", "@", "\t", "\r", "'")


@dataclass(frozen=True, slots=True)
class Answer:
    """One row of the sheet *Fix me*.

    Attributes:
        row: In the workbook, for messages.
        action: fix or drop.
        note: Why.
        values: Text and kind of each cell by the file's column names.
    """

    dead_letter_id: int
    row: int
    action: str
    note: str
    values: Mapping[str, tuple[str | None, str]]


@dataclass(frozen=True, slots=True)
class AnswersRequest:
    """What a worker is to read.

    Attributes:
        file: Its name in messages.
        spool: Where the answers go, in a folder that exists.
    """

    path: Path
    file: str
    spool: Path


def read_answers(request: AnswersRequest) -> ReadResult:
    """Read a corrected workbook into its spool; what is wrong with it is part of the answer.

    The result's `warnings` hold the template's name, where the workbook says it.
    """
    try:
        with request.spool.open("w", encoding="utf-8") as spool:
            return _Answers(request.path, request.file).read(spool.write)
    except FileRefused as error:
        return ReadResult(error=str(error), refusal=error.refusal)
    except UnreadableSource as error:
        return ReadResult(error=str(error), refusal=Refusal.NOT_AS_TEMPLATE)


def stream_answers(spool: Path) -> Iterator[Answer]:
    """Answers of a spool in the order of the workbook."""
    with spool.open(encoding="utf-8") as lines:
        for line in lines:
            number, row, action, note, values = json.loads(line)
            yield Answer(number, row, action, note, {k: (v[0], v[1]) for k, v in values.items()})


class _Answers:
    def __init__(self, path: Path, file: str) -> None:
        self._path = path
        self._file = file
        self._seen: dict[int, int] = {}
        self._template = ""

    def read(self, write: _Write) -> ReadResult:
        is_found = False
        for sheet in open_sheets(self._path, self._file, ReadOptions()):
            if sheet.name == SUMMARY:
                self._template = _find_template(sheet.blocks)
            if sheet.name.startswith(FIX_ME) or not sheet.name:
                is_found = True
                self._read_sheet(sheet.name, sheet.blocks, write)
        if not is_found:
            raise UnreadableSource(
                f"{self._file}: has no sheet {FIX_ME!r}, expected an error workbook; give the "
                "workbook that was written for the rejected rows, corrected"
            )
        return ReadResult(warnings=(self._template,), read_rows=len(self._seen))

    def _read_sheet(self, name: str, blocks: Iterator[SheetBlock], write: _Write) -> None:
        header: dict[int, str] | None = None
        for block in blocks:
            cells = _cells_of(block, is_delimited=not name)
            for index, row in enumerate(block.rows.tolist()):
                texts = {place: column[index] for place, column in cells.items()}
                if header is None:
                    header = self._header_of(name, texts)
                elif any(text for text, _ in texts.values()):
                    write(json.dumps(self._answer_of(header, texts, int(row))) + "\n")

    def _header_of(self, name: str, texts: _Cells) -> dict[int, str]:
        header = {place: text.strip() for place, (text, _) in texts.items() if text}
        missing = [word for word in ("_id", "_action") if word not in header.values()]
        if missing:
            raise UnreadableSource(
                f"{self._file}, sheet {name!r}: its first row has no {' and no '.join(missing)}, "
                f"expected the columns {', '.join(CONTROL)}; leave them as they were written"
            )
        return header

    def _answer_of(self, header: dict[int, str], texts: _Cells, row: int) -> list[object]:
        control: dict[str, str] = {}
        values: dict[str, tuple[str | None, str]] = {}
        nothing: tuple[str | None, str] = (None, "empty")
        for place, name in sorted(header.items()):
            text, kind = texts.get(place, nothing)
            if name in CONTROL and name not in control:
                control[name] = (text or "").strip()
            else:
                values.setdefault(name, (text, kind))
        number = self._number_of(control["_id"], row)
        action = _ACTION_WORDS.get(control["_action"].casefold())
        if action is None:
            raise UnreadableSource(
                f"{self._file} row {row}: _action is {control['_action']!r}, expected one of "
                f"{' or '.join(ACTIONS)}; choose one of them"
            )
        return [number, row, action, control.get("_note", ""), values]

    def _number_of(self, text: str, row: int) -> int:
        if not text.isdecimal():
            raise UnreadableSource(
                f"{self._file} row {row}: _id is {text!r}, expected the number that was written "
                "there; rows that are new belong into a file of their own"
            )
        number = int(text)
        if number in self._seen:
            raise UnreadableSource(
                f"{self._file}: rows {self._seen[number]} and {row} have the same _id {number}, "
                "expected each row once; remove the copy"
            )
        self._seen[number] = row
        return number


def _cells_of(block: SheetBlock, *, is_delimited: bool) -> dict[int, list[tuple[str | None, str]]]:
    columns = {}
    for place, cells in block.columns.items():
        texts: list[str | None] = cells.texts.to_pylist()
        if is_delimited:
            texts = [_unguarded(text) for text in texts]
        if cells.pads is not None:
            texts = [t and t.rjust(int(p), "0") for t, p in zip(texts, cells.pads, strict=True)]
        kinds = [
            kind_name(Kind(kind), is_1904=block.is_1904)
            if cells.pads is None or not cells.pads[index]
            else "text"
            for index, kind in enumerate(cells.kinds.tolist())
        ]
        columns[place] = list(zip(texts, kinds, strict=True))
    return columns


def _unguarded(text: str | None) -> str | None:
    return text[1:] if text and text[0] == "'" and text[1:].startswith(GUARDED) else text


def guarded(text: str) -> str:
    """A value as delimited text may hold it; reading the answer takes the apostrophe away."""
    return f"'{text}" if text.startswith(GUARDED) else text


def _find_template(blocks: Iterator[SheetBlock]) -> str:
    for block in blocks:
        for index in range(len(block)):
            texts = list(block.row_texts(index).values())
            if len(texts) > 1 and texts[0].startswith(_TEMPLATE_LABEL):
                return texts[1]
    return ""
