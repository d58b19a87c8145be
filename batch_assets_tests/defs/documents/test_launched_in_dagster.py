"""Backfills of documents that Dagster's pages launched, counted by day."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from batch_assets.defs.documents.asset_keys import chunks_key_of, documents_key_of
from batch_assets.defs.operations.tracked_assets import tracked_assets
from batch_assets.ingest.documents.tables import DOCUMENTS
from batch_assets.ops.backfills import changes
from batch_assets.ops.backfills.read import read_backfill, read_progress
from batch_assets.runs.backfill_adoption import CodeLocation, adopt_backfills
from batch_assets.runs.backfill_driver import drive_backfills
from batch_assets.runs.backfill_states import BackfillState
from batch_assets.runs.backfill_steps import Step
from batch_assets_tests.defs.documents.landing import DAY, DAY_TOO, DAY_WITHOUT, Landing
from batch_assets_tests.runs.launched_in_dagster import end_in_dagster, launch_in_dagster

NOW = datetime(2026, 1, 5, tzinfo=UTC)
DAYS = [DAY, DAY_TOO, DAY_WITHOUT]


def launch(landing: Landing, repository: dg.RepositoryDefinition, *assets: str) -> None:
    keys = [f"documents/inbox/{name}" for name in assets]
    config = {"ops": {"documents_inbox": {"config": {"force": True}}}}
    launch_in_dagster(
        landing.instance, repository, "theirs", DAYS, *keys, launched_at=NOW, config=config
    )


def adopt(landing: Landing, repository: dg.RepositoryDefinition) -> list[int]:
    location, tracked = CodeLocation(repository), tracked_assets(landing.settings)
    found = adopt_backfills(landing.instance, location, tracked, landing.open, now=NOW)
    return [one.backfill_id for one in found]


def drive(landing: Landing, repository: dg.RepositoryDefinition) -> list[Step]:
    graph = repository.asset_graph
    return [one.step for one in drive_backfills(landing.instance, graph, landing.open, now=NOW)]


def test_days_of_documents_are_counted_and_days_without_files_are_skipped(
    landing: Landing,
) -> None:
    landing.drop("a.txt", "first day")
    landing.drop("b.txt", "second day", day=DAY_TOO)
    definitions = landing.definitions()
    repository = definitions.get_repository_def()
    launch(landing, repository, "documents", "chunks")
    for day in DAYS:
        job = definitions.resolve_job_def("document_ingest")
        tags = {"dagster/backfill": "theirs"}
        assert job.execute_in_process(
            instance=landing.instance, partition_key=day, tags=tags
        ).success
    end_in_dagster(landing.instance, "theirs", "COMPLETED_SUCCESS")

    assert adopt(landing, repository) == [1]
    assert drive(landing, repository) == [Step.END]

    with landing.open() as conn:
        seen = read_progress(conn, 1, NOW)
    assert seen.backfill.feed == "documents/inbox"
    assert (seen.backfill.state, seen.success, seen.skipped) == (BackfillState.SUCCESS, 2, 1)


@pytest.mark.parametrize("assets", [("documents",), ("chunks",), ("documents", "chunks")])
def test_whichever_of_the_two_was_launched_it_is_one_that_can_be_held_and_go_on(
    landing: Landing, assets: tuple[str, ...]
) -> None:
    repository = landing.definitions().get_repository_def()
    launch(landing, repository, *assets)
    assert adopt(landing, repository) == [1]
    with landing.open() as conn:
        assert read_backfill(conn, 1).is_forced
        changes.pause(conn, 1, "bob")
    assert drive(landing, repository) == [Step.HOLD]
    assert drive(landing, repository) == [Step.REST]
    end_in_dagster(landing.instance, "theirs", "CANCELED")
    with landing.open() as conn:
        changes.resume(conn, 1, "bob")

    assert drive(landing, repository) == [Step.LAUNCH]

    with landing.open() as conn:
        _, second = read_backfill(conn, 1).dagster_backfill_ids
    found = landing.instance.get_backfill(second)
    assert found is not None
    assert found.run_config == {"ops": {"documents_inbox": {"config": {"force": True}}}}


def test_documents_are_tracked_as_their_loads_are_recorded(landing: Landing) -> None:
    source = landing.source

    tracked = tracked_assets(landing.settings)[documents_key_of(source).to_user_string()]

    assert (tracked.target, tracked.scope) == (DOCUMENTS.target, source.name)
    assert tracked.written_with_it == {chunks_key_of(source).to_user_string()}
