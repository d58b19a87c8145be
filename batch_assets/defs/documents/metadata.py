"""What a person sees of one arrival day in the Dagster UI."""

from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from batch_assets.ingest.documents.advice import file_advice
from batch_assets.ingest.documents.errors import meaning_of
from batch_assets.ingest.documents.run import DayIngest

# Outcomes of files that did not fail.
_NO_FAILURES = ("ok", "waiting", "growing")


def documents_metadata(day: DayIngest, report: Path | None) -> dict[str, dg.MetadataValue]:
    """Counts (plotted by the UI), speed, reasons and where the error report is.

    Args:
        report: The page with the failed documents; None if there is none.
    """
    values: dict[str, dg.MetadataValue] = {
        "state": dg.MetadataValue.text(day.load.state.value if day.load else "failed"),
        "summary": dg.MetadataValue.text(summary_of(day)),
        "dagster/row_count": dg.MetadataValue.int(day.files.get("ok", 0)),
        "files": dg.MetadataValue.int(sum(day.files.values())),
        "files_found": dg.MetadataValue.int(day.ledger.read),
        "files_read": dg.MetadataValue.int(day.documents),
        "files_unchanged": dg.MetadataValue.int(day.ledger.unchanged),
        "files_failed": dg.MetadataValue.int(day.ledger.rejected),
        "pages": dg.MetadataValue.int(day.segments),
        "seconds": dg.MetadataValue.float(round(day.seconds, 3)),
    }
    for outcome, number in sorted(day.files.items()):
        values[f"outcome_{outcome}"] = dg.MetadataValue.int(number)
    if day.documents and day.seconds:
        values["documents_per_second"] = dg.MetadataValue.float(
            round(day.documents / day.seconds, 1)
        )
        values["pages_per_second"] = dg.MetadataValue.float(round(day.segments / day.seconds, 1))
    if day.load is not None:
        values["load_id"] = dg.MetadataValue.int(day.load.load_id)
        if day.load.message:
            values["message"] = dg.MetadataValue.text(day.load.message)
    if failures_of(day):
        values["reasons"] = dg.MetadataValue.md(reasons_table(day))
        command = f"batch-assets documents errors --source {day.source} --day {day.key} --xlsx"
        values["error_report_command"] = dg.MetadataValue.text(f"{command} errors.xlsx")
    if report is not None:
        values["error_report"] = dg.MetadataValue.path(str(report))
    return values


def chunks_metadata(day: DayIngest) -> dict[str, dg.MetadataValue]:
    """What was stored of texts."""
    return {
        "chunks_stored": dg.MetadataValue.int(day.chunks),
        "pages": dg.MetadataValue.int(day.segments),
        "files_read": dg.MetadataValue.int(day.documents),
    }


def failures_of(day: DayIngest) -> Mapping[str, int]:
    """Files of the day that have no text, by outcome, most frequent first."""
    found = [(name, number) for name, number in day.files.items() if name not in _NO_FAILURES]
    return dict(sorted(found, key=lambda item: (-item[1], item[0])))


def summary_of(day: DayIngest) -> str:
    """One line: what became of the files of the day."""
    if day.error is not None:
        return str(day.error)
    if not day.files:
        return "no files of this day"
    counts = [f"{number} {outcome}" for outcome, number in sorted(day.files.items())]
    return f"{sum(day.files.values())} files: {', '.join(counts)}; {day.documents} read now"


def reasons_table(day: DayIngest) -> str:
    """Outcomes of the files without text, with their number and what they mean."""
    lines = ["| outcome | files | what it means | what to do |", "|---|---:|---|---|"]
    lines += [
        f"| {outcome} | {number} | {meaning_of(outcome)} | {file_advice(outcome)} |"
        for outcome, number in failures_of(day).items()
    ]
    return "\n".join(lines)
