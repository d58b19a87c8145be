"""Verdicts on spreadsheets, of each run and each replay."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date

import dagster as dg

from batch_assets.defs.common.check_results import as_check_result, description_of
from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.defs.spreadsheets.asset_keys import asset_key_of
from batch_assets.defs.spreadsheets.checks import (
    ERROR_RATE,
    LEDGER_BALANCES,
    NO_DEAD_LETTERS,
    SCHEMA,
)
from batch_assets.errors import RejectLimitExceeded
from batch_assets.ingest.spreadsheets.load import FileReport
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.report import LoadState
from batch_assets.quality.spreadsheets import (
    judge_budget,
    judge_loads,
    judge_open_letters,
    judge_schema,
)
from batch_assets.sources.spreadsheets.contract import template_contract
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate


def evaluate_run(
    postgres: PostgresCopyResource,
    template: SpreadsheetTemplate,
    reports: Sequence[FileReport],
    days: Sequence[date],
    options: LoadOptions,
) -> Iterator[dg.AssetCheckResult]:
    """Judge the files of one run by what is stored now."""
    loads = [report.load for report in reports]
    over = [
        name
        for report in reports
        if isinstance(report.load.error, RejectLimitExceeded)
        for name in report.files
    ]
    budget = judge_budget(
        sum(load.ledger.read for load in loads),
        sum(load.ledger.rejected for load in loads),
        limit_rows=options.reject_limit.rows,
        limit_ratio=options.reject_limit.ratio,
        over=over,
    )
    stored = [load.load_id for load in loads if load.state is LoadState.SUCCESS]
    key = asset_key_of(template)
    with closing(postgres.connect()) as conn:
        yield as_check_result(LEDGER_BALANCES, key, judge_loads(conn, stored))
        yield as_check_result(ERROR_RATE, key, budget)
        letters = judge_open_letters(conn, template.table, days)
        yield as_check_result(NO_DEAD_LETTERS, key, letters)
        schema = judge_schema(conn, template_contract(template))
        yield as_check_result(SCHEMA, key, schema)


def open_letters_evaluation(
    postgres: PostgresCopyResource, template: SpreadsheetTemplate, day: date
) -> dg.AssetCheckEvaluation:
    """The evaluation after a replay, of one day."""
    with closing(postgres.connect()) as conn:
        verdict = judge_open_letters(conn, template.table, [day])
    return dg.AssetCheckEvaluation(
        asset_key=asset_key_of(template),
        check_name=NO_DEAD_LETTERS,
        passed=verdict.is_kept,
        severity=dg.AssetCheckSeverity.WARN,
        partition=day.isoformat(),
        description=description_of(verdict),
    )


def failed_day_evaluation(
    template: SpreadsheetTemplate, day: date, message: str
) -> dg.AssetCheckEvaluation:
    """The evaluation that marks one day with a file that was not loaded."""
    return dg.AssetCheckEvaluation(
        asset_key=asset_key_of(template),
        check_name=ERROR_RATE,
        passed=False,
        severity=dg.AssetCheckSeverity.ERROR,
        partition=day.isoformat(),
        description=message,
    )
