"""Names that assets, checks, jobs and sensors of spreadsheets share."""

import dagster as dg

from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate

# On steps and runs: the template they load.
TEMPLATE_TAG = "batch_assets/spreadsheets"


def asset_key_of(template: SpreadsheetTemplate) -> dg.AssetKey:
    """`spreadsheets/<template>`."""
    return dg.AssetKey(["spreadsheets", template.name])


def step_name_of(template: SpreadsheetTemplate) -> str:
    """The step, and the name its run configuration is under."""
    return f"spreadsheets_{template.name}"
