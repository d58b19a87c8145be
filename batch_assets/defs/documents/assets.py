"""Two assets for each source, written by one step: `documents/<source>/documents` and `chunks`."""

from collections.abc import Iterator

import dagster as dg

from batch_assets.defs.common.pools import POSTGRES_WRITE
from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.documents.asset_keys import (
    SOURCE_TAG,
    chunks_key_of,
    documents_key_of,
    step_name_of,
)
from batch_assets.defs.documents.checks import build_check_specs
from batch_assets.settings import Settings
from batch_assets.sources.documents.sources import DocumentSource

# Days of a backfill that one run reads: starting a run and its workers costs as much as 100 files.
_DAYS_PER_RUN = 30


class IngestConfig(dg.Config):
    """What a person may set when launching a run."""

    scan: bool = True
    """Look at the landing folder first. The sensor has just done so."""

    retry_failed: bool = False
    """Read failed documents again."""

    reprocess: bool = False
    """Read again what another parser version or other chunk settings would change."""

    force: bool = False
    """Read every document of these days again."""


def build_documents(
    source: DocumentSource, settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.AssetsDefinition:
    """The assets of one source."""

    @dg.multi_asset(
        name=step_name_of(source),
        specs=_build_specs(source),
        partitions_def=partitions,
        # Beta in 1.13. Days without files cost one query each.
        backfill_policy=dg.BackfillPolicy.multi_run(_DAYS_PER_RUN),
        check_specs=build_check_specs(source),
        pool=POSTGRES_WRITE,
        op_tags={SOURCE_TAG: source.name},
        # Whichever of the two is asked for, the step writes and reports both. Were they not
        # subsettable, Dagster would refuse a backfill that names one of them.
        can_subset=True,
    )
    def documents(
        context: dg.AssetExecutionContext,
        config: IngestConfig,
        postgres: PostgresCopyResource,
        clock: ClockResource,
    ) -> Iterator[dg.AssetCheckResult]:
        from batch_assets.defs.documents.run import run_ingest

        yield from run_ingest(context, source, settings, config, postgres=postgres, clock=clock)

    return documents


def _build_specs(source: DocumentSource) -> list[dg.AssetSpec]:
    documents, chunks = documents_key_of(source), chunks_key_of(source)
    facts = {
        "landing_folder": source.url,
        "arrival_day": str(source.day),
        "chunk_characters": source.chunk_characters,
        "overlap_characters": source.overlap_characters,
    }
    where = f"`source = '{source.name}'`"
    return [
        dg.AssetSpec(
            key,
            deps=deps,
            # Each good day logs its own materialisation; an output would mark every day.
            skippable=True,
            group_name="documents",
            owners=["team:data"],
            kinds={"postgres", "python"},
            tags={SOURCE_TAG: source.name},
            metadata={"table": table, "source": source.name, **facts},
            description=text,
        )
        for key, deps, table, text in (
            (
                documents,
                [],
                "documents.documents",
                f"Documents of source `{source.name}`: one row per version of a file in "
                f"`documents.documents`, {where}, with its outcome.\n\nA partition is the day on "
                "which the file arrived. Every file ends in one state; those that failed are under "
                "`error_report` of the day, in `batch-assets documents errors` and in "
                "`ops.dead_letters`. A day without files is materialised as skipped.",
            ),
            (
                chunks,
                [documents],
                "documents.chunks",
                f"Text of the documents of source `{source.name}` in pieces, with page and place, "
                "in `documents.chunks`; the whole texts are in `documents.texts`. Find them with "
                "`documents.search('…')` in SQL or with `batch-assets documents search`.",
            ),
        )
    ]
