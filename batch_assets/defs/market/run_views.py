"""One run of the views of adjusted bars: which days are known."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date

import dagster as dg

from batch_assets.defs.common.check_results import as_check_result
from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.defs.common.retries import translating_failures
from batch_assets.defs.market.adjusted_views import FACTORS_ARE_KNOWN
from batch_assets.defs.market.reference_keys import VIEWS, reference_key
from batch_assets.quality.factors import judge_factor_coverage
from batch_assets.sources.market.feed import Feed


def judge_views(
    context: dg.AssetExecutionContext, feed: Feed, postgres: PostgresCopyResource
) -> Iterator[dg.AssetCheckResult]:
    """Materialise, in both views, the days of a run whose factors are known."""
    keys = [reference_key(feed, name) for name in VIEWS]
    with translating_failures(context.op_execution_context.retry_number):
        days = [date.fromisoformat(text) for text in context.partition_keys]
        with closing(postgres.connect()) as conn:
            coverage = judge_factor_coverage(conn, feed.source_name, days)
    for day in coverage.known_days:
        for key in keys:
            context.log_event(dg.AssetMaterialization(key, partition=day.isoformat()))
    for key in keys:
        yield as_check_result(FACTORS_ARE_KNOWN, key, coverage.verdict)
