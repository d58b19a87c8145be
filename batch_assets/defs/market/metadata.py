"""What a person sees of one loaded day in the Dagster UI."""

from collections.abc import Mapping

import dagster as dg

from batch_assets.ingest.market.daily_bars import DayReport
from batch_assets.loading.report import LoadState
from batch_assets.sources.market.plan import Plan, Route

# Reasons listed in one table; the ledger and the dead letters have all of them.
TOP_REASONS = 10


def metadata_of(report: DayReport) -> dict[str, dg.MetadataValue]:
    """Counts (plotted by the UI), seconds, reasons, source and ledger row of one day."""
    load = report.load
    ledger = load.ledger
    seconds = load.wall_seconds
    stored = ledger.inserted + ledger.updated + ledger.unchanged
    if report.present_rows is not None:
        stored = report.present_rows
    values: dict[str, dg.MetadataValue] = {
        "state": dg.MetadataValue.text(load.state.value),
        "summary": dg.MetadataValue.text(summary_of(report)),
        "dagster/row_count": dg.MetadataValue.int(stored),
        # A day has one row for each symbol.
        "symbols": dg.MetadataValue.int(stored),
        "vendor_calls": dg.MetadataValue.int(report.calls),
        "rows_read": dg.MetadataValue.int(ledger.read),
        "rows_inserted": dg.MetadataValue.int(ledger.inserted),
        "rows_updated": dg.MetadataValue.int(ledger.updated),
        "rows_unchanged": dg.MetadataValue.int(ledger.unchanged),
        "rows_duplicate": dg.MetadataValue.int(ledger.duplicate),
        "rows_rejected": dg.MetadataValue.int(ledger.rejected),
        "rows_skipped": dg.MetadataValue.int(ledger.skipped),
        "seconds": dg.MetadataValue.float(round(seconds, 4)),
        "load_id": dg.MetadataValue.int(load.load_id),
    }
    if seconds and ledger.read:
        values["rows_per_second"] = dg.MetadataValue.int(round(ledger.read / seconds))
    for name, text in _texts(report).items():
        values[name] = dg.MetadataValue.text(text)
    if load.reject_reasons or load.warnings or report.notes:
        values["reasons"] = dg.MetadataValue.md(reasons_table(report))
    if load.quoted_rejects:
        values["rejected_examples"] = dg.MetadataValue.md(rejects_table(report))
    return values


def plan_text(plan: Plan) -> str:
    """One line: days and why, calls, rows, seconds."""
    reasons = ", ".join(f"{count} {why}" for why, count in plan.reasons.items())
    parts = [f"{plan.needed_days} of {len(plan.days)} days ({reasons})"]
    if plan.route not in (None, Route.FILES):
        parts.append(f"{plan.calls} calls {plan.route}")
    parts.append("rows unknown" if plan.rows is None else f"about {plan.rows} rows")
    if plan.seconds is None:
        parts.append("duration unknown")
    elif plan.seconds_p90 is None or plan.seconds_p90 == plan.seconds:
        parts.append(f"{plan.seconds:.0f} s or more")
    else:
        parts.append(f"{plan.seconds:.0f} to {plan.seconds_p90:.0f} s")
    if plan.tokens_left is not None:
        parts.append(f"{plan.tokens_left:.0f} calls left at once")
    return "; ".join(parts)


def summary_of(report: DayReport) -> str:
    """One line: what became of the day's rows, or why it has none."""
    load = report.load
    if load.state is not LoadState.SUCCESS:
        return report.message or f"{load.state}: {load.reason}"
    ledger = load.ledger
    outcomes = ("inserted", "updated", "unchanged", "duplicate", "rejected", "skipped", "deleted")
    counts = [f"{getattr(ledger, name)} {name}" for name in outcomes if getattr(ledger, name)]
    note = f" ({report.message})" if report.is_warning else ""
    return f"{ledger.read} rows read: {', '.join(counts)}{note}"


def _texts(report: DayReport) -> Mapping[str, str]:
    load = report.load
    candidates = {
        "reason": load.reason,
        "recognised_by": load.recognised_by or "",
        "publish_path": load.publish_path,
        "source_file": load.source_file,
        "source_hash": load.source_hash or "",
    }
    return {name: "".join(text) for name, text in candidates.items() if text}


def reasons_table(report: DayReport) -> str:
    """Rules broken, with rows and what it cost them, most frequent first."""
    load = report.load
    rows = [
        *((rule, count, "rejected") for rule, count in load.reject_reasons.items()),
        *((rule, count, "stored, with a warning") for rule, count in load.warnings.items()),
        *((rule, count, "value changed") for rule, count in report.notes.items()),
    ]
    rows.sort(key=lambda row: -row[1])
    lines = ["| rule | rows | outcome |", "|---|---:|---|"]
    lines += [
        f"| {_cell(rule)} | {count} | {outcome} |" for rule, count, outcome in rows[:TOP_REASONS]
    ]
    if len(rows) > TOP_REASONS:
        lines.append(f"| and {len(rows) - TOP_REASONS} more rules | | see ops.dead_letters |")
    return "\n".join(lines)


def rejects_table(report: DayReport) -> str:
    """The first rejected rows: where, what was seen, what was expected."""
    lines = ["| file | row | column | seen | expected | what to do |", "|---|---:|---|---|---|---|"]
    for row in report.load.quoted_rejects:
        first = row.violations[0]
        cells = (row.file, str(row.row), first.column, first.observed, first.expected, first.hint)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _cell(text: str | None) -> str:
    """Text that stays inside one cell of a Markdown table."""
    shown = "(nothing)" if text is None else text
    return shown.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")[:200]
