"""What a person sees of one load of devices in the Dagster UI."""

from collections.abc import Sequence

import dagster as dg

from batch_assets.ingest.devices.days import ArrivalDay, DayLoad, ShardSummary
from batch_assets.loading.ledger import Ledger

_BARS = "▁▂▃▄▅▆▇█"

# Characters of one plot; a longer course is thinned out evenly.
_PLOT_WIDTH = 120


def ledger_of(load: DayLoad) -> Ledger:
    """Rows of files and inbox."""
    return load.report.ledger + (load.inbox.ledger if load.inbox is not None else Ledger())


def load_metadata(load: DayLoad) -> dict[str, dg.MetadataValue]:
    """Counts, throughput and percentiles (plotted by the UI), and what each shard did."""
    ledger = ledger_of(load)
    values: dict[str, dg.MetadataValue] = {
        "summary": dg.MetadataValue.text(summary_of(load)),
        "dagster/row_count": dg.MetadataValue.int(ledger.inserted),
        "rows_read": dg.MetadataValue.int(ledger.read),
        "rows_inserted": dg.MetadataValue.int(ledger.inserted),
        "rows_updated": dg.MetadataValue.int(ledger.updated),
        "rows_unchanged": dg.MetadataValue.int(ledger.unchanged),
        "rows_duplicate": dg.MetadataValue.int(ledger.duplicate),
        "rows_rejected": dg.MetadataValue.int(ledger.rejected),
        "rows_of_inbox": dg.MetadataValue.int(load.inbox.ledger.read if load.inbox else 0),
        "map_changes": dg.MetadataValue.int(load.report.map_changes),
        "seconds": dg.MetadataValue.float(round(load.seconds, 3)),
    }
    if load.shards and ledger.read:
        total = load.shards[-1]
        values["rows_per_second"] = dg.MetadataValue.int(round(ledger.read / load.seconds))
        values["batch_seconds_p50"] = dg.MetadataValue.float(round(total.seconds[0], 4))
        values["batch_seconds_p95"] = dg.MetadataValue.float(round(total.seconds[1], 4))
        values["throughput"] = dg.MetadataValue.md(plot_of(total.course))
        values["shards"] = dg.MetadataValue.md(shards_table(load))
    return values


def day_metadata(day: ArrivalDay) -> dict[str, dg.MetadataValue]:
    """Files of one arrival day."""
    values: dict[str, dg.MetadataValue] = {
        "state": dg.MetadataValue.text(state_of(day)),
        "files_done": dg.MetadataValue.int(day.done),
        "files_failed": dg.MetadataValue.int(day.failed),
        "files_waiting": dg.MetadataValue.int(day.waiting),
        "file_bytes": dg.MetadataValue.int(day.size_bytes),
    }
    if day.reasons:
        values["reasons"] = dg.MetadataValue.md("\n".join(f"* {text}" for text in day.reasons))
    return values


def state_of(day: ArrivalDay) -> str:
    """One word: what became of the files of a day."""
    if day.waiting:
        return "incomplete"
    if day.failed:
        return "partial"
    return "success" if day.done else "skipped (no_files)"


def summary_of(load: DayLoad) -> str:
    """One line: what became of the rows."""
    ledger = ledger_of(load)
    names = ("inserted", "updated", "unchanged", "duplicate", "rejected", "skipped")
    counts = [f"{getattr(ledger, name)} {name}" for name in names if getattr(ledger, name)]
    text = f"{ledger.read} rows read: {', '.join(counts) or 'none stored'}"
    if load.report.failed_shards:
        text += f"; failed shards: {', '.join(map(str, sorted(load.report.failed_shards)))}"
    return text


def shards_table(load: DayLoad) -> str:
    """One line for each shard."""
    lines = [
        "| shard | rows | batches | rolled back | p50 s | p95 s | failure |",
        "|---:|---:|---:|---:|---:|---:|---|",
    ]
    lines += [
        f"| {one.shard} | {one.row_count} | {one.batches} | {one.rolled_back} | "
        f"{one.seconds[0]:.3f} | {one.seconds[1]:.3f} | {_failure(load, one)} |"
        for one in load.shards
        if one.shard is not None
    ]
    seen = {one.shard for one in load.shards}
    lines += [
        f"| {shard} | 0 | 0 | 0 | | | {error} |"
        for shard, error in sorted(load.report.failed_shards.items())
        if shard not in seen
    ]
    return "\n".join(lines)


def _failure(load: DayLoad, shard: ShardSummary) -> str:
    error = load.report.failed_shards.get(shard.shard) if shard.shard is not None else None
    return str(error) if error is not None else ""


def plot_of(course: Sequence[float]) -> str:
    """Rows per second of each batch, from first to last, as bars."""
    if not course:
        return "no batches"
    shown = list(course[:: max(1, -(-len(course) // _PLOT_WIDTH))])
    highest = max(shown) or 1.0
    bars = "".join(_BARS[round(each / highest * (len(_BARS) - 1))] for each in shown)
    return (
        f"`{bars}`\n\n{len(course)} batches of {min(course):,.0f} to {max(course):,.0f} rows/s "
        "in one shard"
    )
