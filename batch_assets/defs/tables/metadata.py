"""What a person sees of one transfer in the Dagster UI."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import psycopg

from batch_assets.loading.report import LoadReport, LoadState

_BARS = "▁▂▃▄▅▆▇█"

# Characters of one plot; a longer course is thinned out evenly, its first and last value kept.
_PLOT_WIDTH = 120


def metadata_of(report: LoadReport, metrics: Mapping[str, Any]) -> dict[str, dg.MetadataValue]:
    """Counts, seconds, reasons, rows that wait, and the course of the chunk sizes as a plot.

    Args:
        metrics: Of the load, from the ledger.
    """
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
    if "waiting_rows" in metrics:
        values["rows_waiting"] = dg.MetadataValue.int(metrics["waiting_rows"])
    if course := metrics.get("chunk_rows"):
        values["last_chunk_rows"] = dg.MetadataValue.int(course[-1])
        values["chunk_rows"] = dg.MetadataValue.md(
            plot_of(course, metrics.get("chunks_halved", {}))
        )
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
        return f"{report.state}: {report.message or report.reason}"
    ledger = report.ledger
    outcomes = ("inserted", "updated", "unchanged", "duplicate", "rejected", "skipped", "deleted")
    counts = [f"{getattr(ledger, name)} {name}" for name in outcomes if getattr(ledger, name)]
    waiting = f"; {report.message}" if report.message else ""
    return f"{ledger.read} rows read: {', '.join(counts) or 'none stored'}{waiting}"


def plot_of(course: Sequence[int], halved: Mapping[str, int]) -> str:
    """Chunk sizes from first to last, as bars.

    Args:
        halved: How often they became smaller, by reason (`seconds`, `memory`).
    """
    step = max(1, -(-len(course) // _PLOT_WIDTH))
    shown = [*course[:-1:step], course[-1]]
    highest = max(shown) or 1
    bars = "".join(_BARS[round(rows / highest * (len(_BARS) - 1))] for rows in shown)
    return (
        f"`{bars}`\n\n{len(course)} chunks of {min(course):,} to {max(course):,} rows, "
        f"the last one {course[-1]:,}{_reasons(halved)}"
    )


def _reasons(halved: Mapping[str, int]) -> str:
    texts = {"seconds": "for their time, waits for locks included", "memory": "for memory"}
    listed = ", ".join(f"{count} times {texts[reason]}" for reason, count in halved.items())
    return f"; halved {listed}" if listed else ""


def read_metrics(conn: psycopg.Connection, load_id: int) -> Mapping[str, Any]:
    """What the ledger keeps of a load besides its counts."""
    row = conn.execute("SELECT metrics FROM ops.loads WHERE load_id = %s", (load_id,)).fetchone()
    return row[0] if row and row[0] else {}
