"""Checks of daily bars, which come with each run; their verdicts are in evaluate.py."""

import dagster as dg

EVERY_DAY_IS_LOADED = "every_day_is_loaded"
LEDGER_BALANCES = "ledger_balances"
ERROR_RATE = "error_rate_within_budget"
COMPLETENESS = "complete_against_previous_session"
NO_COPIES = "no_day_repeats_its_neighbour"
VOLUME = "volume_near_the_sessions_before"
NO_DUPLICATES = "no_duplicate_keys"
FRESHNESS = "newest_session_is_stored"


def build_check_specs(asset_key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Checks evaluated by the asset itself, once for each run over all its days."""
    return [
        dg.AssetCheckSpec(
            EVERY_DAY_IS_LOADED,
            asset=asset_key,
            blocking=True,
            description="Each day of the run was loaded, or is known to have no session, or is "
            "not due yet. A day that failed has an evaluation of its own, with the reason.",
        ),
        dg.AssetCheckSpec(
            LEDGER_BALANCES,
            asset=asset_key,
            blocking=True,
            description="Every row read is inserted, updated, unchanged, duplicate, rejected or "
            "skipped, and the table holds what the ledger says. Gates what is downstream.",
        ),
        dg.AssetCheckSpec(
            ERROR_RATE,
            asset=asset_key,
            blocking=True,
            description="Rejected rows stay within the budget: a warning above 5 %, an error "
            "above 10 %.",
        ),
        dg.AssetCheckSpec(
            COMPLETENESS,
            asset=asset_key,
            description="No day lacks more than 0.5 % or 20 of the symbols that are listed and not "
            "suspended, or of the previous day's where the source's universe is not known.",
        ),
        dg.AssetCheckSpec(
            NO_COPIES,
            asset=asset_key,
            blocking=True,
            description="No day has the bars of the stored day before or after it: a feed that "
            "repeats itself looks complete.",
        ),
        dg.AssetCheckSpec(
            VOLUME,
            asset=asset_key,
            description="The volume of no day is 60 % above or below the median of the ten "
            "sessions before it: a wrong unit, or half a market.",
        ),
        dg.AssetCheckSpec(
            NO_DUPLICATES,
            asset=asset_key,
            blocking=True,
            description="No symbol has two bars on one day.",
        ),
        # Not an @asset_check: its step would be part of every run of the asset that is launched
        # in the UI, and be shown as failed there, because the asset yields no output to wait for.
        dg.AssetCheckSpec(
            FRESHNESS,
            asset=asset_key,
            description="The newest session whose rows are due is in the table. Asked at the end "
            "of each run, and every hour by the job that is named for it.",
        ),
    ]
