"""Checks of transfers: they come with each run, and are judged by what is stored."""

from collections.abc import Iterator, Sequence
from contextlib import closing

import dagster as dg

from batch_assets.defs.common.check_results import as_check_result
from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.ingest.tables.counts import count_sides
from batch_assets.loading.leases import Connector
from batch_assets.loading.report import LoadReport, LoadState
from batch_assets.quality.daily_bars import judge_error_rate
from batch_assets.quality.tables import SideCounts, judge_counts, judge_dead_letters, judge_loads
from batch_assets.sources.tables.transfer import Transfer

LEDGER_BALANCES = "ledger_balances"
COUNTS_RECONCILE = "source_and_target_counts_reconcile"
ERROR_RATE = "error_rate_within_budget"
NO_DEAD_LETTERS = "no_open_dead_letters"


def build_check_specs(asset_key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Checks evaluated by the asset itself, once for each run."""
    return [
        dg.AssetCheckSpec(
            LEDGER_BALANCES,
            asset=asset_key,
            blocking=True,
            description="Every row read is inserted, updated, unchanged, duplicate, rejected or "
            "skipped. Gates what is downstream.",
        ),
        dg.AssetCheckSpec(
            COUNTS_RECONCILE,
            asset=asset_key,
            description="The target has as many rows as the source, less those that were kept "
            "out. A source that goes on changing differs by what came since it was read.",
        ),
        dg.AssetCheckSpec(
            ERROR_RATE,
            asset=asset_key,
            blocking=True,
            description="Rejected rows stay within the budget: a warning above 5 %, an error "
            "above 10 %.",
        ),
        dg.AssetCheckSpec(
            NO_DEAD_LETTERS,
            asset=asset_key,
            description="No row waits in ops.dead_letters for a correction.",
        ),
    ]


def evaluate_run(
    postgres: PostgresCopyResource,
    transfer: Transfer,
    source: Connector,
    asset_key: dg.AssetKey,
    reports: Sequence[LoadReport],
) -> Iterator[dg.AssetCheckResult]:
    """Judge what one run did."""
    done = [report for report in reports if report.state is not LoadState.FAILED]
    counts = count_sides(postgres.connect, transfer, source, done)
    read = sum(report.ledger.read for report in reports)
    rejected = sum(report.ledger.rejected for report in reports)
    with closing(postgres.connect()) as conn:
        verdicts = {
            LEDGER_BALANCES: judge_loads(conn, [report.load_id for report in reports]),
            COUNTS_RECONCILE: judge_counts([SideCounts(*item) for item in counts]),
            ERROR_RATE: judge_error_rate(read, rejected),
            NO_DEAD_LETTERS: judge_dead_letters(
                conn, transfer.target, [report.window.key for report in reports]
            ),
        }
    for name, verdict in verdicts.items():
        yield as_check_result(name, asset_key, verdict)
