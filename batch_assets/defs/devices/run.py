"""One run of the device assets: load, tell Dagster day by day, judge, and fail if a shard did."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import date

import dagster as dg

from batch_assets.defs.common.check_results import as_check_result
from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.defs.common.retries import translating_failures
from batch_assets.defs.common.run_log import log_partition, open_step_log
from batch_assets.defs.devices import checks
from batch_assets.defs.devices.asset_keys import DAILY, KEYS, LATEST, RECORDS, WEEKLY
from batch_assets.defs.devices.metadata import (
    day_metadata,
    ledger_of,
    load_metadata,
    summary_of,
)
from batch_assets.errors import BatchAssetsError
from batch_assets.ingest.devices.days import ArrivalDay, DayLoad, load_day
from batch_assets.ingest.devices.report import ShardError
from batch_assets.ingest.devices.shards import read_shard_map
from batch_assets.loading.report import LoadState
from batch_assets.quality.devices import (
    judge_device_order,
    judge_device_rollups,
    judge_device_weeks,
    judge_files,
    judge_reject_ratio,
)
from batch_assets.quality.tables import judge_dead_letters, judge_loads
from batch_assets.runs.run_log import RunLog
from batch_assets.settings import Settings
from batch_assets.sources.devices.settings import read_device_settings


def run_load(
    context: dg.AssetExecutionContext,
    postgres: PostgresCopyResource,
    settings: Settings,
    today: date,
) -> Iterator[dg.AssetCheckResult]:
    """Load what arrived up to the last day of a run, or up to today in a run without days.

    Args:
        today: With it the inbox is written too.

    Raises:
        Failure: A shard failed; what the others wrote is committed and materialised.
        RetryRequested: Something that time can mend stood in the way.
    """
    days = [today]
    if context.has_partition_key or context.has_partition_key_range:
        days = [date.fromisoformat(key) for key in context.partition_keys]
    until = max(days)
    with (
        translating_failures(context.op_execution_context.retry_number),
        open_step_log(settings, postgres.connect, context) as log,
    ):
        log.write("run_started", f"files that arrived up to {until}")
        load = load_day(
            postgres.connect,
            settings,
            until,
            run_id=context.run.run_id,
            empties_inbox=until >= today,
        )
        _write_lines(log, settings, load)
        _log_days(context, load, days, settings.dagster.first_day)
        results = _evaluate(postgres, settings, load, seed=context.run.run_id)
        yield from checks.report_results(context, results)
        _fail_if_any(load)


def _write_lines(log: RunLog, settings: Settings, load: DayLoad) -> None:
    """Write one line for each day that had files into the run's log, and one for all rows."""
    for day in load.days:
        state = LoadState.PARTIAL if day.waiting or day.failed else LoadState.SUCCESS
        log_partition(
            log,
            settings,
            max(day.day, settings.dagster.first_day).isoformat(),
            state,
            "; ".join((_files_of(day), *day.reasons)),
            files={"done": day.done, "failed": day.failed, "waiting": day.waiting},
        )
    is_whole = not _failed_shards(load)
    log.write(
        "loads",
        summary_of(load),
        level="INFO" if is_whole else "ERROR",
        loads=list(load.load_ids),
        rows=asdict(ledger_of(load)),
        seconds=round(load.seconds, 3),
        failed_shards=None if is_whole else sorted(_failed_shards(load)),
    )


def _files_of(day: ArrivalDay) -> str:
    return f"{day.done} files done, {day.failed} failed, {day.waiting} left"


def _log_days(
    context: dg.AssetExecutionContext, load: DayLoad, days: Sequence[date], first_day: date
) -> None:
    """Tell Dagster about each day: those that were asked for, and those that had files left."""
    found = {day.day: day for day in load.days}
    for asked in days:
        found.setdefault(asked, ArrivalDay(asked))
    facts = load_metadata(load)
    for day in sorted(found.values(), key=lambda one: one.day):
        partition = max(day.day, first_day).isoformat()
        kind = dg.AssetObservation if day.waiting else dg.AssetMaterialization
        text = f"{_files_of(day)}; {summary_of(load)}"
        for key in KEYS:
            own = {**facts, **day_metadata(day)} if key == RECORDS else day_metadata(day)
            context.log_event(
                kind(asset_key=key, partition=partition, metadata=own, description=text)
            )
        for reason in day.reasons:
            context.log.warning("%s: %s", partition, reason)


def _evaluate(
    postgres: PostgresCopyResource, settings: Settings, load: DayLoad, *, seed: str
) -> Iterator[dg.AssetCheckResult]:
    ledger = ledger_of(load)
    section = read_device_settings(settings)
    with closing(postgres.connect()) as conn:
        shards = sorted(set(read_shard_map(conn, section.shards).shards))
        windows = [f"shard-{shard}" for shard in shards]
        verdicts = {
            checks.LEDGER_BALANCES: (RECORDS, judge_loads(conn, load.load_ids)),
            checks.ERROR_RATE: (
                RECORDS,
                judge_reject_ratio(ledger.read, ledger.rejected, section.error_ratio_max),
            ),
            checks.NO_DEAD_LETTERS: (RECORDS, judge_dead_letters(conn, "devices.records", windows)),
            checks.EVERY_FILE_IS_DONE: (
                RECORDS,
                judge_files(
                    [reason for day in load.days for reason in day.reasons],
                    sum(day.waiting for day in load.days),
                ),
            ),
            checks.ORDER_KEPT: (LATEST, judge_device_order(conn, load.load_ids, seed)),
            checks.ROLLUPS_EQUAL: (DAILY, judge_device_rollups(conn, load.load_ids, seed)),
            checks.WEEKS_EQUAL: (WEEKLY, judge_device_weeks(conn, load.load_ids, seed)),
        }
        conn.commit()
    for name, (key, verdict) in verdicts.items():
        yield as_check_result(name, key, verdict)


def _failed_shards(load: DayLoad) -> dict[int, ShardError]:
    """Why shards stopped, in files and inbox."""
    inbox = load.inbox.failed_shards if load.inbox is not None else {}
    return {**load.report.failed_shards, **inbox}


def _fail_if_any(load: DayLoad) -> None:
    """Fail the step if a shard did; its rows wait, and those of the others are stored."""
    failed = _failed_shards(load)
    if not failed:
        return
    errors = [error for error in failed.values() if isinstance(error, BatchAssetsError)]
    if len(errors) == len(failed) and all(error.retryable for error in errors):
        # Somebody else has the lease, or the database was away: what is done is recognised.
        raise errors[0]
    raise dg.Failure(
        description=f"{len(failed)} shards failed; their rows wait for the next load, the other "
        "shards are stored.\n"
        + "\n".join(f"shard {shard}: {error}" for shard, error in sorted(failed.items())),
        metadata={"failed_shards": ", ".join(str(shard) for shard in sorted(failed))},
        allow_retries=False,
    )
