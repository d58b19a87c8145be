"""Verdicts on one run of a transfer, by what is stored."""

from collections.abc import Iterator, Sequence
from contextlib import closing

import dagster as dg

from batch_assets.defs.common.check_results import as_check_result
from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.defs.tables.checks import (
    COUNTS_RECONCILE,
    ERROR_RATE,
    LEDGER_BALANCES,
    NO_DEAD_LETTERS,
)
from batch_assets.ingest.tables.counts import count_sides
from batch_assets.loading.leases import Connector
from batch_assets.loading.report import LoadReport, LoadState
from batch_assets.quality.daily_bars import judge_error_rate
from batch_assets.quality.tables import SideCounts, judge_counts, judge_dead_letters, judge_loads
from batch_assets.sources.tables.transfer import Transfer


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
