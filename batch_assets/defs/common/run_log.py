"""What runs of every domain write into their log; see runs/run_log.py."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from zoneinfo import ZoneInfo

import dagster as dg
import psycopg

from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadReport, LoadState
from batch_assets.runs.run_log import RunLog, find_backfill_id, open_run_log, read_places
from batch_assets.settings import Settings

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


def open_step_log(
    settings: Settings,
    connect: Callable[[], psycopg.Connection],
    context: dg.AssetExecutionContext,
    *,
    zone_name: str = "UTC",
    **facts: object,
) -> AbstractContextManager[RunLog]:
    """The log of this run.

    Args:
        settings: `[display] time_zone` is the zone of its times.
        connect: Opens a connection, which is closed again.
        context: Of the step.
        zone_name: Used where `[display]` names none.
        facts: In each line: the feed, source, template or transfer.
    """
    run = context.run
    asset_keys = ["/".join(key.path) for key in context.selected_asset_keys]
    number = find_backfill_id(connect, run.tags, asset_keys)
    has_keys = context.has_partition_key or context.has_partition_key_range
    return open_run_log(
        settings.state_dir,
        run.run_id,
        zone=ZoneInfo(settings.section("display").get("time_zone") or zone_name),
        places=read_places(connect, number, context.partition_keys if has_keys else ()),
        facts={"backfill": number, **facts},
    )


def log_partition(
    log: RunLog,
    settings: Settings,
    key: str,
    state: LoadState,
    text: str,
    *,
    is_warning: bool = False,
    ledger: Ledger | None = None,
    **fields: object,
) -> None:
    """Write the line of one partition, as soon as it is committed.

    Args:
        log: Of the run.
        settings: Say in which language the state is named.
        key: The partition.
        state: How it ended.
        text: What became of it, for a person.
        is_warning: Whether somebody should look at it, whatever the state says.
        ledger: Its rows, or files, by outcome.
        fields: More of it; None is left out.
    """
    parts = (log.places.text_of(key), key, _word(settings, state))
    log.write(
        "partition",
        f"{' '.join(filter(None, parts))}: {text}",
        level="WARNING" if is_warning else _LEVELS.get(state, "INFO"),
        partition=key,
        state=state,
        rows=None if ledger is None else asdict(ledger),
        **fields,
    )


def log_load(
    log: RunLog,
    settings: Settings,
    key: str,
    load: LoadReport,
    text: str,
    *,
    is_warning: bool = False,
    **fields: object,
) -> None:
    """Write the line of a partition that one load dealt with, or of one load of several.

    Args:
        log: Of the run.
        settings: Say in which language the state is named.
        key: The partition.
        load: How its load ended.
        text: What became of it, for a person.
        is_warning: Whether somebody should look at it, whatever the state says.
        fields: More of it; None is left out.
    """
    log_partition(
        log,
        settings,
        key,
        load.state,
        text,
        is_warning=is_warning,
        ledger=load.ledger,
        load=load.load_id,
        reason=load.reason or None,
        seconds=round(load.wall_seconds, 3),
        source_file=load.source_file or None,
        error=type(load.error).__name__ if load.error is not None else None,
        **fields,
    )


def _word(settings: Settings, state: LoadState) -> str:
    """The state in the language of [display], else of the locale."""
    chosen = settings.section("display").get("language")
    is_chinese = chosen == "zh" or (not chosen and settings.locale.lower().startswith("zh"))
    return _CHINESE.get(state, str(state)) if is_chinese else str(state)
