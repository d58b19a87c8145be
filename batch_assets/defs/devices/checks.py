"""Checks of devices: they come with each run, and are judged by what is stored."""

from collections.abc import Iterator

import dagster as dg

from batch_assets.defs.devices.asset_keys import DAILY, LATEST, RECORDS, WEEKLY

LEDGER_BALANCES = "ledger_balances"
ERROR_RATE = "error_rate_within_budget"
NO_DEAD_LETTERS = "no_open_dead_letters"
EVERY_FILE_IS_DONE = "every_file_is_done"
ORDER_KEPT = "order_kept_per_device"
ROLLUPS_EQUAL = "rollups_equal_recomputation"
WEEKS_EQUAL = "weeks_equal_their_days"

_SPECS = (
    (
        LEDGER_BALANCES,
        RECORDS,
        True,
        "Every row read is inserted, updated, unchanged, duplicate, rejected or skipped. Gates "
        "what is downstream.",
    ),
    (
        ERROR_RATE,
        RECORDS,
        True,
        "Rejected rows stay within error_ratio_max of [devices]; above it is a warning, above "
        "twice of it an error that gates what is downstream.",
    ),
    (NO_DEAD_LETTERS, RECORDS, False, "No row waits in ops.dead_letters for a correction."),
    (
        EVERY_FILE_IS_DONE,
        RECORDS,
        False,
        "Files of these days were loaded to their end: a warning where one cannot be read, an "
        "error where a shard has left rows for the next load.",
    ),
    (
        ORDER_KEPT,
        LATEST,
        False,
        "Of a sample of the devices written, the latest state is their newest record.",
    ),
    (
        ROLLUPS_EQUAL,
        DAILY,
        False,
        "Days of a sample of the devices written are what their records add up to now.",
    ),
    (
        WEEKS_EQUAL,
        WEEKLY,
        False,
        "Weeks of a sample of the devices written count as many records as there are.",
    ),
)
_BLOCKING = frozenset(name for name, _, is_blocking, _ in _SPECS if is_blocking)


def build_check_specs() -> list[dg.AssetCheckSpec]:
    """Checks evaluated by the step itself, once for each run."""
    return [
        dg.AssetCheckSpec(name, asset=key, blocking=blocking, description=text)
        for name, key, blocking, text in _SPECS
    ]


def report_results(
    context: dg.AssetExecutionContext, results: Iterator[dg.AssetCheckResult]
) -> Iterator[dg.AssetCheckResult]:
    """Results of the checks that a run has selected; Dagster refuses others.

    Raises:
        Failure: A check that gates has failed, in a run without a partition.
    """
    chosen = context.selected_asset_check_keys
    has_partition = context.has_partition_key or context.has_partition_key_range
    gates = []
    for result in results:
        if dg.AssetCheckKey(_asset_of(result), str(result.check_name)) not in chosen:
            continue
        if has_partition:
            yield result
            continue
        # Dagster 1.13 looks for the partition of every asset that an asset of the step depends on.
        context.log_event(_as_evaluation(result))
        if str(result.check_name) in _BLOCKING and _is_error(result):
            gates.append(f"{result.check_name}: {result.description}")
    if gates:
        raise dg.Failure(description="\n".join(gates), allow_retries=False)


def _as_evaluation(result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=_asset_of(result),
        check_name=str(result.check_name),
        passed=result.passed,
        severity=result.severity,
        blocking=str(result.check_name) in _BLOCKING,
        description=result.description,
        metadata=result.metadata,
    )


def _asset_of(result: dg.AssetCheckResult) -> dg.AssetKey:
    return next(key for name, key, _, _ in _SPECS if name == result.check_name)


def _is_error(result: dg.AssetCheckResult) -> bool:
    return not result.passed and result.severity is dg.AssetCheckSeverity.ERROR
