"""What a run of a market feed writes into its log; see runs/run_log.py."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from zoneinfo import ZoneInfo

import dagster as dg
import psycopg

from batch_assets.defs.market.metadata import summary_of
from batch_assets.ingest.market.daily_bars import DayReport
from batch_assets.loading.report import LoadState
from batch_assets.runs.backfill_states import BACKFILL_TAG
from batch_assets.runs.run_log import RunLog, open_run_log, read_places
from batch_assets.settings import Settings
from batch_assets.sources.market.feed import Feed

_LEVELS = {
    LoadState.FAILED: "ERROR",
    LoadState.PARTIAL: "WARNING",
    LoadState.NOT_READY: "WARNING",
    LoadState.UNCONFIRMED_EMPTY: "WARNING",
}
_CHINESE = {
    LoadState.SUCCESS: "成功",
    LoadState.PARTIAL: "部分成功",
    LoadState.FAILED: "失败",
    LoadState.SKIPPED: "跳过",
    LoadState.NOT_READY: "数据未就绪",
    LoadState.UNCONFIRMED_EMPTY: "暂无数据",
}


def open_market_log(
    settings: Settings,
    feed: Feed,
    connect: Callable[[], psycopg.Connection],
    context: dg.AssetExecutionContext,
) -> AbstractContextManager[RunLog]:
    """The log of this run, with times as `[display] time_zone` or the feed has them."""
    run = context.run
    zone = settings.section("display").get("time_zone") or feed.zone_name
    number = run.tags.get(BACKFILL_TAG, "")
    return open_run_log(
        settings.state_dir,
        run.run_id,
        zone=ZoneInfo(zone),
        places=read_places(connect, run.tags, context.partition_keys),
        facts={"backfill": int(number) if number.isdigit() else None, "feed": feed.name},
    )


def log_report(log: RunLog, settings: Settings, report: DayReport) -> DayReport:
    """Write the line of one day, as soon as it is committed; returns the day."""
    load = report.load
    parts = (log.places.text_of(report.key), report.key, _word(settings, load.state))
    is_loaded = load.state in (LoadState.SUCCESS, LoadState.PARTIAL)
    text = summary_of(report) if is_loaded else report.message or summary_of(report)
    log.write(
        "partition",
        f"{' '.join(filter(None, parts))}: {text}",
        level="WARNING" if report.is_warning else _LEVELS.get(load.state, "INFO"),
        partition=report.key,
        load=load.load_id,
        state=load.state,
        reason=load.reason or None,
        rows=asdict(load.ledger),
        seconds=round(load.wall_seconds, 3),
        source_file=load.source_file or None,
        error=type(load.error).__name__ if load.error is not None else None,
    )
    return report


def _word(settings: Settings, state: LoadState) -> str:
    """The state in the language of [display], else of the locale."""
    chosen = settings.section("display").get("language")
    is_chinese = chosen == "zh" or (not chosen and settings.locale.lower().startswith("zh"))
    return _CHINESE.get(state, str(state)) if is_chinese else str(state)
