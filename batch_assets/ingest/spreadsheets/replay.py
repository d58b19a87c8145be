"""A corrected workbook back into the partition that its rows were rejected from.

What is special about rows of templates; what all domains have in common is in corrections/.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path

import psycopg
import pyarrow as pa

from batch_assets.contracts.batch import SourceBatch, Violation
from batch_assets.contracts.dead_letter import DeadLetter
from batch_assets.contracts.table import Scope, TableContract, Window
from batch_assets.contracts.validate import validate_batch
from batch_assets.ingest.corrections.answered import LetterWindow
from batch_assets.ingest.corrections.windows import JudgedRows, ReplayDomain, replay_windows
from batch_assets.ingest.corrections.workbook import CorrectedWorkbook, WorkbookReplay
from batch_assets.ingest.spreadsheets.errors import read_layouts, write_load_errors
from batch_assets.loading.leases import Connector
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.prepare import join_batches
from batch_assets.sources.spreadsheets.contract import template_contract
from batch_assets.sources.spreadsheets.correctable import (
    CorrectableRow,
    as_correctable,
    headers_of,
)
from batch_assets.sources.spreadsheets.corrections import CorrectedRow, judge_corrections
from batch_assets.sources.spreadsheets.header import name_columns
from batch_assets.sources.spreadsheets.spool import positions_of
from batch_assets.sources.spreadsheets.template import ContractMode, SpreadsheetTemplate

_SOURCE = ("arrival_date", "source_file")
_PLACE = ("source_sheet", "source_row")


def replay_workbook(
    connect: Connector,
    template: SpreadsheetTemplate,
    workbook: CorrectedWorkbook,
    *,
    who: str,
    options: LoadOptions,
    error_folder: Path,
) -> WorkbookReplay:
    """Judge the rows of a corrected workbook again, and load those that are right now.

    Args:
        connect: Opens a connection.
        template: By which the rows were read.
        workbook: Its answers.
        who: Whose they are.
        options: Bounds of the load.
        error_folder: Where the workbook of what is still wrong goes.

    Raises:
        StaleAnswer: Rows are answered otherwise, or have moved on; nothing was changed.
        LeaseHeld: Somebody else is writing the window.
    """
    domain = ReplayDomain(
        target=template.table,
        words=f"those of the template {template.name}",
        open_window=partial(_TemplateRows, template),
        options_of=lambda _: options,
        write_errors=lambda conn, load_id: write_load_errors(conn, template, load_id, error_folder),
        source_columns=_SOURCE,
        place_columns=_PLACE,
    )
    return replay_windows(connect, domain, workbook, who=who)


class _TemplateRows:
    """Judges rows of one window by their template."""

    def __init__(
        self, template: SpreadsheetTemplate, conn: psycopg.Connection, window: LetterWindow
    ) -> None:
        self._template = template
        self._day = date.fromisoformat(window.key[:10])
        self._headers = headers_of(read_layouts(conn, template.table, window.key))
        self._extra = _extra_of(template, conn, window.key)
        self.contract: TableContract = template_contract(template, self._extra)
        self.scope = Scope()
        is_day = self.contract.window_column is not None
        self.window = Window.of_day(self._day) if is_day else Window(window.key)

    def correctable(self, letter: DeadLetter) -> CorrectableRow:
        return as_correctable(letter, self._template, self._headers)

    def judge(self, rows: Sequence[CorrectedRow]) -> JudgedRows:
        by_place = {row.place: row for row in rows}
        refused: dict[int, tuple[Violation, ...]] = {}
        good = []
        for judged in judge_corrections(self._template, self._day, self._extra, rows):
            refused |= judged.refused
            validated = validate_batch(_as_batch(judged.rows), self.contract)
            for reject in validated.rejected:
                place = (reject.file, reject.sheet, reject.row)
                refused[by_place[place].dead_letter_id] = reject.violations
            good.append(validated.rows)
        typed = join_batches(self.contract, good)
        letters = [by_place[place].row.letter for place in _places_of(typed)]
        return JudgedRows(typed, letters, refused)


def _extra_of(
    template: SpreadsheetTemplate, conn: psycopg.Connection, window_key: str
) -> Mapping[str, str]:
    """Text columns for headers that the template does not name, as the load named them."""
    if template.contract is not ContractMode.EVOLVE:
        return {}
    names = [
        cell.name
        for layout in read_layouts(conn, template.table, window_key)
        for cell in layout
        if not cell.column
    ]
    return name_columns(dict.fromkeys(names), {column.name for column in template.columns})


def _as_batch(rows: pa.RecordBatch) -> SourceBatch:
    return SourceBatch(
        read_rows=rows.num_rows,
        rows=rows,
        positions=positions_of(rows),
        originals=lambda indices: [{} for _ in indices],
    )


def _places_of(rows: pa.RecordBatch) -> list[tuple[str, str, int]]:
    columns = [rows.column(name).to_pylist() for name in ("source_file", *_PLACE)]
    return list(zip(*columns, strict=True))
