"""What a person sees of one arrival day of spreadsheets in the Dagster UI."""

from collections.abc import Sequence

import dagster as dg

from batch_assets.ingest.corrections.workbook import WorkbookReplay
from batch_assets.ingest.spreadsheets.load import FileReport
from batch_assets.loading.ledger import Ledger

_COUNTS = ("read", "inserted", "updated", "unchanged", "duplicate", "rejected", "skipped")


def day_metadata(reports: Sequence[FileReport]) -> dict[str, dg.MetadataValue]:
    """Counts (plotted by the UI), reasons, and where the error workbooks are."""
    ledger = _total(reports)
    values: dict[str, dg.MetadataValue] = {
        "state": dg.MetadataValue.text("success" if reports else "skipped"),
        "summary": dg.MetadataValue.text(summary_of(reports)),
        "dagster/partition_row_count": dg.MetadataValue.int(
            ledger.inserted + ledger.updated + ledger.unchanged
        ),
        "files": dg.MetadataValue.int(sum(len(report.files) for report in reports)),
    }
    for name in _COUNTS:
        values[f"rows_{name}"] = dg.MetadataValue.int(getattr(ledger, name))
    reasons: dict[str, int] = {}
    for report in reports:
        for rule, count in report.load.reject_reasons.items():
            reasons[rule] = reasons.get(rule, 0) + count
    if reasons:
        lines = ["| reason | rows |", "|---|---:|", *(f"| {r} | {n} |" for r, n in reasons.items())]
        values["reasons"] = dg.MetadataValue.md("\n".join(lines))
    books = [report.error_workbook for report in reports if report.error_workbook is not None]
    for number, path in enumerate(books):
        name = "error_workbook" if number == 0 else f"error_workbook_{number + 1}"
        values[name] = dg.MetadataValue.path(str(path))
    return values


def replay_metadata(report: WorkbookReplay) -> dict[str, dg.MetadataValue]:
    """What became of a corrected workbook."""
    values: dict[str, dg.MetadataValue] = {
        "workbook": dg.MetadataValue.text(report.file),
        "rows_fixed": dg.MetadataValue.int(report.fixed),
        "rows_dropped": dg.MetadataValue.int(report.dropped),
        "rows_still_wrong": dg.MetadataValue.int(report.refused),
        "rows_answered_before": dg.MetadataValue.int(report.answered),
    }
    for number, path in enumerate(report.error_workbooks):
        name = "error_workbook" if number == 0 else f"error_workbook_{number + 1}"
        values[name] = dg.MetadataValue.path(str(path))
    return values


def summary_of(reports: Sequence[FileReport]) -> str:
    """One line: what became of the rows of the day."""
    if not reports:
        return "no files of this day"
    ledger = _total(reports)
    files = sum(len(report.files) for report in reports)
    counts = [f"{getattr(ledger, name)} {name}" for name in _COUNTS[1:] if getattr(ledger, name)]
    return f"{files} files, {ledger.read} rows: {', '.join(counts) or 'none'}"


def _total(reports: Sequence[FileReport]) -> Ledger:
    return sum((report.load.ledger for report in reports), Ledger())
