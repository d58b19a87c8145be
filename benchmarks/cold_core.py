"""A script that loads day files with the core: what a user's own would import and do.

Run as a program of its own; what to load is one line of JSON on standard input, the most memory it
had is one line on standard output. Nothing of it is imported by the other modules.
"""

import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from batch_assets.ingest.market.daily_bars import options_of, sync_days
from batch_assets.loading.report import LoadState
from batch_assets.postgres.connect import connect
from batch_assets.settings import LoadingSettings
from batch_assets.sources.market.feed import FileFeed, Layout
from batch_assets.sources.market.files import open_feed
from batch_assets.sources.market.symbols import SymbolRule


def main() -> None:
    """Load, or end with a traceback."""
    asked = json.load(sys.stdin)
    days = [date.fromisoformat(day) for day in asked["days"]]
    feed = FileFeed(
        name="benchmark",
        folder=Path(asked["folder"]),
        files="{date}.csv",
        layout=Layout.BY_DAY,
        symbol=SymbolRule(style="cn"),
        calendar="XSHG",
    )
    source = open_feed(feed, Path(asked["cache_dir"]), days=days)
    reports = sync_days(
        lambda: connect(asked["url"], application_name="batch_assets benchmark"),
        feed,
        source,
        days,
        now=datetime.now(UTC),
        options=options_of(feed, LoadingSettings()),
    )
    failed = [report.key for report in reports if report.load.state is not LoadState.SUCCESS]
    if failed:
        raise SystemExit(f"{failed} were not loaded")
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    print(json.dumps({"peak_memory_mb": peak / 1024}))


if __name__ == "__main__":
    main()
