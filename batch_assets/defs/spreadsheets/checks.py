"""Checks of spreadsheets, which come with runs and replays; verdicts are in evaluate.py."""

import dagster as dg

from batch_assets.defs.spreadsheets.asset_keys import asset_key_of
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate

LEDGER_BALANCES = "ledger_balances"
ERROR_RATE = "error_rate_within_budget"
NO_DEAD_LETTERS = "no_open_dead_letters"
SCHEMA = "schema_as_the_template"


def build_check_specs(template: SpreadsheetTemplate) -> list[dg.AssetCheckSpec]:
    """Checks evaluated by the step that loads the files, once for each run."""
    key = asset_key_of(template)
    return [
        dg.AssetCheckSpec(
            LEDGER_BALANCES,
            asset=key,
            blocking=True,
            description="Every row read is inserted, updated, unchanged, duplicate, rejected or "
            "skipped, and the table changed by what was written. Gates what is downstream.",
        ),
        dg.AssetCheckSpec(
            ERROR_RATE,
            asset=key,
            description="No file has more rejected rows than reject_limit_rows and "
            "reject_limit_ratio of the template allow; such a file is not loaded.",
        ),
        dg.AssetCheckSpec(
            NO_DEAD_LETTERS,
            asset=key,
            description="No row of these days waits for a correction; a warning otherwise. The "
            "error workbook is linked at the materialisation.",
        ),
        dg.AssetCheckSpec(
            SCHEMA,
            asset=key,
            blocking=True,
            description="The table has the columns and types that the template declares.",
        ),
    ]
