"""The workbook of rows that are still wrong after a replay, of domains without templates."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from batch_assets.contracts.dead_letter import DeadLetter
from batch_assets.loading.letters import LetterFilter, count_letters, read_letters
from batch_assets.sources.spreadsheets.correctable import CorrectableRow
from batch_assets.sources.spreadsheets.error_workbook import ErrorSummary, write_error_workbook

ADVICE = (
    "Correct the coloured cells of sheet 'Fix me', leave the rest as it is, save the workbook and "
    "run: batch-assets dead-letters replay FILE",
    "请在“Fix me”工作表中修正着色的单元格，其余保持不变，保存后运行："
    "batch-assets dead-letters replay FILE",
    "Write drop into _action for rows that are not to be loaded, and why into _note. Rows that are "
    "deleted here stay open. / 不需要的行请在 _action 中填写 drop，并在 _note 中说明原因。",
)
_UNSAFE = re.compile(r"[^\w.-]+")


def write_still_wrong(
    conn: psycopg.Connection,
    target: str,
    load_id: int,
    folder: Path,
    as_correctable: Callable[[DeadLetter], CorrectableRow],
) -> Path | None:
    """Write the open dead letters of a load.

    Args:
        conn: Only read.
        target: Table.
        load_id: Row of ops.loads.
        folder: Workbooks of all tables; each has a folder of its own in it.
        as_correctable: The cells of a row.

    Returns:
        Where the workbook is; None where nothing is open.
    """
    wanted = LetterFilter(load_id=load_id, target=target)
    reasons = count_letters(conn, wanted)
    if not reasons:
        return None

    def rows() -> Iterator[CorrectableRow]:
        return map(as_correctable, read_letters(conn, wanted))

    windows = dict.fromkeys(row.letter.window_key for row in rows())
    names = list(dict.fromkeys(cell.name for row in rows() for cell in row.layout))
    summary = ErrorSummary(
        facts=(
            ("Table / 数据表", target),
            ("Partition / 分区", ", ".join(windows)),
            ("Load / 批次", str(load_id)),
        ),
        outcomes={"still wrong": sum(reasons.values())},
        reasons=reasons,
        advice=ADVICE,
    )
    name = _UNSAFE.sub("_", next(iter(windows)))
    path = folder / target / f"{name}-errors-{load_id}.xlsx"
    write_error_workbook(path, summary, None, names, rows())
    return path
