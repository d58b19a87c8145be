"""A fresh process that does one piece of work and prints what it took, as one line of JSON.

`python -m benchmarks.child memory|market|dagster`, the work described as JSON on standard input.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batch_assets.postgres.connect import connect
from batch_assets.sources.market.feed import Feed
from benchmarks.core_load import load_days
from benchmarks.market_year import DayFiles
from benchmarks.measure import peak_memory_mb
from benchmarks.vendor_feeds import build_feed, feed_by_symbol

_ROOT = Path(__file__).resolve().parent.parent


def run_child(work: str, files: DayFiles, cache_dir: Path, url: str, **more: object) -> Any:
    """Run work in a fresh interpreter and return what it prints.

    Raises:
        CalledProcessError: It failed; what it said is on standard error.
    """
    described = {**files.described(), "cache_dir": str(cache_dir), "url": url, **more}
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.child", work],
        input=json.dumps(described),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    return json.loads(result.stdout.splitlines()[-1])


def measure_memory(described: Mapping[str, Any], feed: Feed) -> dict[str, float]:
    """Load all days of a feed and tell the peak of resident memory."""
    load_days(
        lambda: connect(described["url"], application_name="batch_assets benchmark"),
        feed,
        Path(described["cache_dir"]),
        DayFiles.of(described).days,
    )
    return {"peak_memory_mb": peak_memory_mb()}


def _vendor_feed(described: Mapping[str, Any]) -> Feed:
    """By symbol where symbols are described, else by day."""
    if described["symbols"]:
        return feed_by_symbol(described["base_url"], described["symbols"])
    return build_feed("tushare", vendor="tushare", base_url=described["base_url"])


def main() -> None:
    """Do what the first argument names."""
    described = json.load(sys.stdin)
    if sys.argv[1] == "market":
        print(json.dumps(measure_memory(described, _vendor_feed(described))))
    elif sys.argv[1] == "dagster":
        # Imported here: Dagster would count as memory of the core.
        from benchmarks.dagster_range import measure_dagster

        print(json.dumps(measure_dagster(described)))
    else:
        print(json.dumps(measure_memory(described, DayFiles.of(described).feed())))


if __name__ == "__main__":
    main()
