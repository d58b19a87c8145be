"""A database, a Dagster instance in a folder of its own, and what its pages launch."""

from datetime import UTC, datetime

import dagster as dg
import psycopg
from dagster._core.remote_origin import RemoteJobOrigin

from batch_assets.ops.backfills.read import read_backfill, read_progress
from batch_assets.ops.backfills.values import Backfill, Progress
from batch_assets.runs.backfill_adoption import (
    Adopted,
    CodeLocation,
    TrackedAsset,
    adopt_backfills,
)
from batch_assets.runs.backfill_driver import drive_backfills
from batch_assets.runs.backfill_states import DAGSTER_BACKFILL_TAG
from batch_assets.runs.backfill_steps import Step
from batch_assets_tests.ops.backfills.planted import TEN_DAYS
from batch_assets_tests.runs.launched_in_dagster import (
    launch_in_dagster,
    origin_of,
    repository_of,
)

NOW = datetime(2025, 1, 5, 12, tzinfo=UTC)
TRACKED = {
    f"market/{feed}/daily_bars": TrackedAsset(
        f"market/{feed}/daily_bars", feed, "market.daily_bars", feed
    )
    for feed in ("cn", "us")
}
CN, US, ELSE = "market/cn/daily_bars", "market/us/daily_bars", "somebody/else"


@dg.op
def nothing() -> None:
    pass


@dg.job
def idle() -> None:
    nothing()


class Site:
    """A database, a Dagster instance, and what its pages launch."""

    def __init__(self, url: str, instance: dg.DagsterInstance) -> None:
        self.url = url
        self.instance = instance
        self.conn = psycopg.connect(url, autocommit=True)
        self.repository = repository_of()

    def launch(
        self, dagster_id: str, *assets: str, launched_at: datetime = NOW, **more: object
    ) -> None:
        launch_in_dagster(
            self.instance,
            self.repository,
            dagster_id,
            TEN_DAYS,
            *assets,
            launched_at=launched_at,
            **more,  # type: ignore[arg-type]
        )

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url)

    def adopt(self, now: datetime = NOW) -> list[Adopted]:
        location = CodeLocation(self.repository, "here")
        return adopt_backfills(self.instance, location, TRACKED, self.connect, now=now)

    def drive(self) -> list[Step]:
        graph = self.repository.asset_graph
        return [item.step for item in drive_backfills(self.instance, graph, self.connect, now=NOW)]

    def read(self, number: int = 1) -> Backfill:
        return read_backfill(self.conn, number)

    def progress(self, number: int = 1) -> Progress:
        return read_progress(self.conn, number, NOW)

    def plant_run(self, dagster_id: str, status: dg.DagsterRunStatus, **tags: str) -> str:
        tags = {DAGSTER_BACKFILL_TAG: dagster_id, **tags}
        origin = RemoteJobOrigin(origin_of("here"), "idle")
        return self.instance.create_run_for_job(
            idle, status=status, tags=tags, remote_job_origin=origin
        ).run_id

    def end_run(self, run_id: str) -> None:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        self.instance.report_run_canceled(run)
