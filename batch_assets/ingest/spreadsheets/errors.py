"""Error workbooks: from the open dead letters of a load to the file that a person corrects."""

import re
from collections.abc import Iterable
from pathlib import Path

import psycopg

from batch_assets.contracts.batch import SourceCell
from batch_assets.loading.letters import LetterFilter, count_letters, read_letters
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.spreadsheets.correctable import as_correctable, headers_of
from batch_assets.sources.spreadsheets.error_workbook import ErrorSummary, write_error_workbook
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate

_UNSAFE = re.compile(r"[^\w.-]+")
_CORRECTABLE = (
    "Correct the coloured cells of sheet 'Fix me', leave the rest as it is, save the workbook and "
    "drop it into the inbox, or run: batch-assets dead-letters replay FILE",
    "请在“Fix me”工作表中修正着色的单元格，其余保持不变，保存后放入收件文件夹，或运行："
    "batch-assets dead-letters replay FILE",
    "Write drop into _action for rows that are not to be loaded, and why into _note. Rows that are "
    "deleted here stay open. / 不需要的行请在 _action 中填写 drop，并在 _note 中说明原因。",
)
_NOT_LOADED = (
    "Nothing of the file was loaded, so rows cannot be loaded one by one: correct the file itself "
    "by this list and send it again. / 整个文件未被加载，请按此清单修正原文件后重新发送。",
)


def write_load_errors(
    conn: psycopg.Connection, template: SpreadsheetTemplate, load_id: int, folder: Path
) -> Path | None:
    """Write the workbook of a load's open dead letters.

    Args:
        conn: Only read; the transaction stays open.
        template: By which the rows were read.
        load_id: Row of ops.loads.
        folder: Workbooks of all templates; each has a folder of its own in it.

    Returns:
        Where it is; None where the load has no open dead letters.
    """
    wanted = LetterFilter(load_id=load_id, target=template.table)
    reasons = count_letters(conn, wanted)
    row = conn.execute(
        "SELECT window_key, state, coalesce(source_file, ''), rows_read, rows_inserted, "
        "rows_updated, rows_unchanged, rows_duplicate, rows_rejected, rows_skipped, "
        "coalesce(error_message, '') FROM ops.loads WHERE load_id = %s",
        (load_id,),
    ).fetchone()
    if not reasons or row is None:
        return None
    window_key, state, source_file = row[:3]
    words = ("read", "inserted", "updated", "unchanged", "duplicate", "rejected", "skipped")
    is_published = state in ("success", "partial")
    summary = ErrorSummary(
        facts=(
            ("File / 文件", source_file),
            ("Partition / 分区", window_key),
            ("Table / 数据表", template.table),
            ("Template / 模板", template.name),
            ("Load / 批次", str(load_id)),
            ("State / 状态", f"{state} {row[10]}".strip()),
        ),
        outcomes=dict(zip(words, row[3:10], strict=True)),
        reasons=reasons,
        advice=_CORRECTABLE if is_published else _NOT_LOADED,
    )
    layouts = read_layouts(conn, template.table, window_key)
    headers = headers_of(layouts)
    # Rows kept by the table's columns are shown under the names of the file, or the template's.
    names = list(dict.fromkeys(cell.name for layout in layouts for cell in layout))
    missing = [headers.get(c.name, c.headers[0]) for c in template.columns]
    names += [name for name in missing if name not in names]
    path = folder / template.name / f"{_UNSAFE.sub('_', window_key)}-errors-{load_id}.xlsx"
    letters = read_letters(conn, wanted)
    write_error_workbook(
        path,
        summary,
        template,
        names,
        (as_correctable(letter, template, headers) for letter in letters),
    )
    return path


def read_layouts(
    conn: psycopg.Connection, target: str, window_key: str
) -> list[tuple[SourceCell, ...]]:
    """Columns of the files of a window, as its dead letters know them; without values."""
    rows = conn.execute(
        read_query("read_dead_letter_layouts"),
        {"target": target, "scope": "", "window_key": window_key},
    )
    return [_columns_of(row[0]) for row in rows]


def _columns_of(columns: Iterable[tuple[str, str, int]]) -> tuple[SourceCell, ...]:
    return tuple(SourceCell(name, "", column, None, place) for name, column, place in columns)
