"""One asset for each template: the files that arrived on a day, in their table."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from batch_assets.defs.common.pools import POSTGRES_WRITE
from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.defs.spreadsheets.asset_keys import TEMPLATE_TAG, asset_key_of, step_name_of
from batch_assets.defs.spreadsheets.checks import build_check_specs
from batch_assets.settings import Settings
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate

_DAYS_PER_RUN = 30


class LoadConfig(dg.Config):
    """What a person may set when launching a run."""

    force: bool = False
    """Read files again that are known by their bytes."""


def build_table(
    template: SpreadsheetTemplate,
    landing: Path,
    settings: Settings,
    partitions: dg.PartitionsDefinition[str],
) -> dg.AssetsDefinition:
    """The asset of one template."""

    @dg.multi_asset(
        name=step_name_of(template),
        specs=[_build_spec(template, landing)],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(_DAYS_PER_RUN),
        check_specs=build_check_specs(template),
        pool=POSTGRES_WRITE,
        op_tags={TEMPLATE_TAG: template.name},
    )
    def table(
        context: dg.AssetExecutionContext, config: LoadConfig, postgres: PostgresCopyResource
    ) -> Iterator[dg.AssetCheckResult]:
        from batch_assets.defs.spreadsheets.run import run_load

        yield from run_load(context, template, landing, settings, postgres, force=config.force)

    return table


def _build_spec(template: SpreadsheetTemplate, landing: Path) -> dg.AssetSpec:
    return dg.AssetSpec(
        asset_key_of(template),
        # Each good day logs its own materialisation; an output would mark every day.
        skippable=True,
        group_name="spreadsheets",
        owners=["team:data"],
        kinds={"postgres", "excel"},
        tags={TEMPLATE_TAG: template.name},
        metadata={
            "dagster/relation_identifier": template.table,
            "files": template.files,
            "landing_folder": str(landing),
            "disposition": str(template.disposition),
        },
        description=f"Rows of `{template.files}` in `{template.table}`, by template "
        f"`{template.name}`.\n\nA partition is the day on which files arrived: a folder named by "
        "its date, else the day on which the file was written last. Rows that were rejected are "
        "in `ops.dead_letters` and in the error workbook that is linked at the materialisation: "
        "corrected, it goes into the inbox or to `batch-assets dead-letters replay`.",
    )
