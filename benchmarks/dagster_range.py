"""What Dagster adds to each day of a range run, over the core alone."""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psutil

from batch_assets.postgres.connect import connect
from batch_assets.settings import shipped_path
from benchmarks.core_load import load_days
from benchmarks.market_year import DayFiles
from benchmarks.measure import Cost, Sample, measure, peak_memory_mb
from benchmarks.server import empty_tables

RANGE_DAYS = 250

_CONFIG = """
[dagster]
first_day = {first_day}

[market.feeds.benchmark]
folder = "{folder}"
layout = "by_day"
files = "{{date}}.csv"
calendar = "{calendar}"
symbol = {{ style = "cn" }}
max_partitions_per_run = 10000
"""


def measure_dagster(described: Mapping[str, Any]) -> dict[str, Any]:
    """Load the same days with and without Dagster, in turn, in this process.

    Returns:
        `dagster_ms_per_partition`: (range run - core alone) / days, the median of the pairs.
        `dagster_cpu_ms_per_partition`: the same of processor time, of this process and the server;
            of this process alone where `postmaster` is not described.
        `dagster_startup_seconds`: imports, definitions, instance and the run of one day, once for
            each process.
    """
    files, url = DayFiles.of(described), described["url"]
    days = range_days(files, described.get("partitions", RANGE_DAYS))
    cache_dir = Path(described["cache_dir"])
    home = Path(described["home"])
    os.environ.update(write_home(home, files, cache_dir, url))
    started = time.perf_counter()
    import dagster as dg

    from batch_assets.definitions import build_definitions

    with dg.DagsterInstance.from_config(str(home)) as instance:
        job = build_definitions().resolve_job_def("market_sync")
        # The first run of a process imports the rest of Dagster and plans the job: start-up too.
        _run_range(job, instance, days[:1])
        startup_seconds = time.perf_counter() - started
        connecting = lambda: connect(url, application_name="batch_assets benchmark")  # noqa: E731
        with closing(connect(url, application_name="benchmark", autocommit=True)) as conn:
            postmaster = (
                psutil.Process(described["postmaster"]) if described["postmaster"] else None
            )
            pairs: list[tuple[Cost, Cost]] = []
            for _ in range(described["repetitions"]):
                empty_tables(conn)
                core = measure(
                    conn,
                    lambda: load_days(connecting, files.feed(), cache_dir, days),
                    postmaster=postmaster,
                )
                empty_tables(conn)
                run = measure(conn, lambda: _run_range(job, instance, days), postmaster=postmaster)
                pairs.append((core, run))
    extra_ms = Sample.of([1e3 * (r.seconds - c.seconds) / len(days) for c, r in pairs])
    extra_cpu_ms = Sample.of([1e3 * (r.cpu_seconds - c.cpu_seconds) / len(days) for c, r in pairs])
    return {
        "dagster_ms_per_partition": extra_ms.median,
        "dagster_ms_per_partition_spread": extra_ms.spread,
        "dagster_cpu_ms_per_partition": extra_cpu_ms.median,
        "dagster_cpu_ms_per_partition_spread": extra_cpu_ms.spread,
        "dagster_partitions": len(days),
        "dagster_startup_seconds": startup_seconds,
        "dagster_range_seconds": Sample.of([run.seconds for _, run in pairs]).median,
        "dagster_core_seconds": Sample.of([core.seconds for core, _ in pairs]).median,
        "dagster_core_cpu_seconds": Sample.of([core.cpu_seconds for core, _ in pairs]).median,
        "dagster_version": dg.__version__,
        "dagster_peak_memory_mb": peak_memory_mb(),
    }


def range_days(files: DayFiles, count: int) -> list[date]:
    """The partitions of a range run: every date from the first file on, at most `count`.

    Days without a session are partitions too, and cost Dagster as much as the others.
    """
    span = min(count, (files.days[-1] - files.days[0]).days + 1)
    return [files.days[0] + timedelta(days=number) for number in range(span)]


def write_home(home: Path, files: DayFiles, cache_dir: Path, url: str) -> dict[str, str]:
    """A folder with configuration and instance, and the environment that points to it."""
    home.mkdir(parents=True)
    shutil.copy(shipped_path("dagster.yaml"), home / "dagster.yaml")
    # Sessions are computed already; the state folder's cache is found under the same name.
    shutil.copytree(cache_dir, home / "cache", dirs_exist_ok=True)
    config = home / "batch_assets.toml"
    config.write_text(
        _CONFIG.format(folder=files.folder, calendar=files.calendar, first_day=files.days[0])
    )
    return {
        "BATCH_ASSETS_CONFIG": str(config),
        "BATCH_ASSETS_HOME": str(home),
        "BATCH_ASSETS_DATABASE_URL": url,
        "DAGSTER_HOME": str(home),
    }


def _run_range(job: Any, instance: Any, days: Sequence[date]) -> None:
    tags = {
        "dagster/asset_partition_range_start": days[0].isoformat(),
        "dagster/asset_partition_range_end": days[-1].isoformat(),
    }
    job.execute_in_process(instance=instance, tags=tags)
