"""Verdicts on one run of documents, over all arrival days of it."""

from collections.abc import Iterator, Sequence
from contextlib import closing

import dagster as dg

from batch_assets.defs.common.check_results import as_check_result
from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.defs.documents.asset_keys import chunks_key_of, documents_key_of
from batch_assets.defs.documents.checks import (
    EVERY_FILE_HAS_ENDED,
    FAILURE_RATE,
    NO_DEAD_LETTERS,
    OFFSETS,
)
from batch_assets.ingest.documents.run import DayIngest
from batch_assets.quality.documents import (
    judge_chunk_offsets,
    judge_failures,
    judge_file_states,
    judge_open_dead_letters,
)
from batch_assets.sources.documents.sources import DocumentSource


def evaluate_run(
    postgres: PostgresCopyResource,
    source: DocumentSource,
    days: Sequence[DayIngest],
    *,
    seed: str,
) -> Iterator[dg.AssetCheckResult]:
    """Judge the days of one run by what is stored now.

    Args:
        seed: Chooses the sample of pieces.
    """
    loads = [day.load for day in days if day.load is not None]
    dates = [day.day for day in days]
    documents = documents_key_of(source)
    with closing(postgres.connect()) as conn:
        states = judge_file_states(conn, source.name, [load.load_id for load in loads])
        dead_letters = judge_open_dead_letters(conn, source.name, dates)
        offsets = judge_chunk_offsets(conn, source.name, dates, seed=seed)
    failures = judge_failures(
        sum(load.ledger.read for load in loads),
        sum(load.ledger.rejected for load in loads),
        limit_documents=source.failure_limit_documents,
        limit_ratio=source.failure_limit_ratio,
        over=[day.key for day in days if day.is_over_budget],
    )
    yield as_check_result(EVERY_FILE_HAS_ENDED, documents, states)
    yield as_check_result(FAILURE_RATE, documents, failures)
    yield as_check_result(NO_DEAD_LETTERS, documents, dead_letters)
    yield as_check_result(OFFSETS, chunks_key_of(source), offsets)


def failed_day_evaluation(source: DocumentSource, day: DayIngest) -> dg.AssetCheckEvaluation:
    """The evaluation that marks one day that did not end; the run's own result marks none."""
    return dg.AssetCheckEvaluation(
        asset_key=documents_key_of(source),
        check_name=EVERY_FILE_HAS_ENDED,
        passed=False,
        severity=dg.AssetCheckSeverity.ERROR,
        blocking=True,
        partition=day.key,
        description=str(day.error),
    )
