"""One asset for each transfer: `tables/<name>`, partitioned by day where it has a window column."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import date

import dagster as dg

from batch_assets.defs.common.pools import POSTGRES_WRITE
from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.defs.common.retries import translating_failures
from batch_assets.defs.common.run_log import log_load, open_step_log
from batch_assets.defs.tables.checks import build_check_specs, evaluate_run
from batch_assets.defs.tables.metadata import metadata_of, read_metrics, summary_of
from batch_assets.ingest.tables.run import run_transfer
from batch_assets.ingest.tables.transfer import options_of
from batch_assets.loading.report import LoadReport, LoadState
from batch_assets.settings import Settings
from batch_assets.sources.tables.open import source_connector
from batch_assets.sources.tables.transfer import Transfer

TRANSFER_TAG = "batch_assets/transfer"


class TransferConfig(dg.Config):
    """What a person may set when launching a run."""

    force: bool = False
    """Stage from the beginning, whatever an earlier run has staged."""


def asset_key_of(transfer: Transfer) -> dg.AssetKey:
    """`tables/<name>`."""
    return dg.AssetKey(["tables", transfer.name])


def pool_of(transfer: Transfer) -> str:
    """The pool of a source database, so that a range does not open it once for every day."""
    if transfer.is_same_database:
        return POSTGRES_WRITE
    return f"source_{transfer.source_url_env.lower()}"


def build_transfer_asset(
    transfer: Transfer, settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.AssetsDefinition:
    """The asset of one transfer."""
    asset_key = asset_key_of(transfer)
    is_daily = bool(transfer.window_column)

    @dg.asset(
        key=asset_key,
        partitions_def=partitions if is_daily else None,
        # Beta in 1.13. A range runs in few runs: one run for each day would cost 10 s a day.
        backfill_policy=(
            dg.BackfillPolicy.multi_run(transfer.max_partitions_per_run) if is_daily else None
        ),
        check_specs=build_check_specs(asset_key),
        # Each good day logs its own materialisation; a returned result would mark every day.
        output_required=False,
        pool=pool_of(transfer),
        group_name="tables",
        owners=["team:data"],
        kinds={"postgres", "python"},
        tags={TRANSFER_TAG: transfer.name},
        op_tags={TRANSFER_TAG: transfer.name},
        metadata={
            "dagster/table_name": transfer.target,
            "key": ", ".join(transfer.key),
            "mode": transfer.mode.value,
            "source": transfer.origin,
        },
        description=f"{transfer.target}: rows of {transfer.origin}, mode {transfer.mode}.",
    )
    def transferred(
        context: dg.AssetExecutionContext, config: TransferConfig, postgres: PostgresCopyResource
    ) -> Iterator[dg.AssetCheckResult]:
        with (
            translating_failures(context.op_execution_context.retry_number),
            open_step_log(settings, postgres.connect, context, transfer=transfer.name) as log,
        ):
            log.write("run_started", f"{transfer.target}: rows of {transfer.origin}")
            source = source_connector(
                transfer, postgres.connect, secret=settings.secret, options=settings.database
            )
            options = options_of(
                transfer, settings.loading, run_id=context.run.run_id, force=config.force
            )
            days = [date.fromisoformat(key) for key in context.partition_keys] if is_daily else None
            runs = run_transfer(postgres.connect, transfer, source, options, days=days)
            seen = []
            for report in runs:
                log_load(log, settings, report.window.key, report, summary_of(report))
                seen.append(_log(context, postgres, asset_key, report, is_daily))
            yield from evaluate_run(postgres, transfer, source, asset_key, seen)
        _fail_if_any(seen)

    return transferred


def _log(
    context: dg.AssetExecutionContext,
    postgres: PostgresCopyResource,
    asset_key: dg.AssetKey,
    report: LoadReport,
    is_daily: bool,
) -> LoadReport:
    """Tell Dagster about one window as soon as it is committed.

    A window that failed, or is empty without anybody having said that it may be, is observed only.
    """
    with closing(postgres.connect()) as conn:
        metrics = read_metrics(conn, report.load_id)
    is_good = report.state in (LoadState.SUCCESS, LoadState.PARTIAL, LoadState.SKIPPED)
    kind = dg.AssetMaterialization if is_good else dg.AssetObservation
    context.log_event(
        kind(
            asset_key=asset_key,
            partition=report.window.key if is_daily else None,
            metadata=metadata_of(report, metrics),
            description=summary_of(report),
        )
    )
    if not is_good:
        context.log.warning("%s is %s: %s", report.window.key, report.state, summary_of(report))
    return report


def _fail_if_any(reports: list[LoadReport]) -> None:
    """Fail the step if a window failed; the good ones are committed and materialised already."""
    failed: Mapping[str, str] = {
        report.window.key: summary_of(report)
        for report in reports
        if report.state is LoadState.FAILED
    }
    if not failed:
        return
    first = "; ".join(f"{key}: {text}" for key, text in sorted(failed.items())[:10])
    raise dg.Failure(
        description=f"{len(failed)} of {len(reports)} windows failed: {first}",
        metadata={"failed": dg.MetadataValue.json(dict(failed))},
        allow_retries=any(
            report.error is not None and report.error.retryable for report in reports
        ),
    )
