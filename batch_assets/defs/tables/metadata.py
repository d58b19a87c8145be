"""What a person sees of one transfer in the Dagster UI."""

from collections.abc import Mapping, Sequence

import dagster as dg
import psycopg

from batch_assets.loading.report import LoadReport, LoadState

_BARS = "▁▂▃▄▅▆▇█"

# Characters of one plot; a longer course is thinned out evenly, its first and last value kept.
_PLOT_WIDTH = 120


def metadata_of(report: LoadReport, course: Sequence[int]) -> dict[str, dg.MetadataValue]:
    """Counts, seconds, reasons, and the course of the chunk sizes as a plot."""
    ledger, seconds = report.ledger, report.wall_seconds
    values: dict[str, dg.MetadataValue] = {
        "state": dg.MetadataValue.text(report.state.value),
        "summary": dg.MetadataValue.text(summary_of(report)),
        "rows_read": dg.MetadataValue.int(ledger.read),
        "rows_inserted": dg.MetadataValue.int(ledger.inserted),
        "rows_updated": dg.MetadataValue.int(ledger.updated),
        "rows_unchanged": dg.MetadataValue.int(ledger.unchanged),
        "rows_duplicate": dg.MetadataValue.int(ledger.duplicate),
        "rows_rejected": dg.MetadataValue.int(ledger.rejected),
        "rows_skipped": dg.MetadataValue.int(ledger.skipped),
        "rows_deleted": dg.MetadataValue.int(ledger.deleted),
        "seconds": dg.MetadataValue.float(round(seconds, 4)),
        "load_id": dg.MetadataValue.int(report.load_id),
        "publish_path": dg.MetadataValue.text(report.publish_path.value),
        "source": dg.MetadataValue.text(report.source_file),
    }
    if seconds and ledger.read:
        values["rows_per_second"] = dg.MetadataValue.int(round(ledger.read / seconds))
    if course:
        values["last_chunk_rows"] = dg.MetadataValue.int(course[-1])
        values["chunk_rows"] = dg.MetadataValue.md(plot_of(course))
    if report.reject_reasons:
        reasons = report.reject_reasons.items()
        lines = ["| rule | rows |", "|---|---:|", *(f"| {rule} | {n} |" for rule, n in reasons)]
        values["reasons"] = dg.MetadataValue.md("\n".join(lines))
    return values


def summary_of(report: LoadReport) -> str:
    """One line: what became of the rows, or why there are none."""
    if report.error is not None:
        return str(report.error)
    if report.state is not LoadState.SUCCESS:
        return f"{report.state}: {report.reason}"
    ledger = report.ledger
    outcomes = ("inserted", "updated", "unchanged", "duplicate", "rejected", "skipped", "deleted")
    counts = [f"{getattr(ledger, name)} {name}" for name in outcomes if getattr(ledger, name)]
    return f"{ledger.read} rows read: {', '.join(counts) or 'none stored'}"


def plot_of(course: Sequence[int]) -> str:
    """Chunk sizes from first to last, as bars."""
    step = max(1, -(-len(course) // _PLOT_WIDTH))
    shown = [*course[:-1:step], course[-1]]
    highest = max(shown) or 1
    bars = "".join(_BARS[round(rows / highest * (len(_BARS) - 1))] for rows in shown)
    return (
        f"`{bars}`\n\n{len(course)} chunks of {min(course):,} to {max(course):,} rows, "
        f"the last one {course[-1]:,}"
    )


def read_courses(conn: psycopg.Connection, load_ids: Sequence[int]) -> Mapping[int, list[int]]:
    """Chunk sizes of loads that had chunks, by load."""
    rows = conn.execute(
        "SELECT load_id, metrics -> 'chunk_rows' FROM ops.loads "
        "WHERE load_id = ANY (%s) AND metrics ? 'chunk_rows'",
        (list(load_ids),),
    ).fetchall()
    return dict(rows)
