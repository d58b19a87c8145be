"""Checks of transfers, which come with each run; their verdicts are in evaluate.py."""

import dagster as dg

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
