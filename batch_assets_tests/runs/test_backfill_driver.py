from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from batch_assets.errors import RequestRefused
from batch_assets.ops.backfills import changes
from batch_assets.ops.backfills.follow import exit_status, newest_errors
from batch_assets.ops.backfills.read import read_backfill, read_progress
from batch_assets.ops.backfills.requests import launch
from batch_assets.runs.backfill_driver import Driven, drive_backfills
from batch_assets.runs.backfill_gate import open_gate
from batch_assets.runs.backfill_states import BACKFILL_TAG, BackfillState
from batch_assets.runs.backfill_steps import Step
from batch_assets.runs.dagster_backfills import DAGSTER_BACKFILL_TAG, cancel_backfill, read_status
from batch_assets.runs.eta_records import read_accuracy
from batch_assets_tests.ops.backfills.planted import TEN_DAYS, plant_load, plant_run, request

NOW = datetime(2026, 1, 5, tzinfo=UTC)


@dg.asset(
    key=["market", "cn", "daily_bars"],
    partitions_def=dg.DailyPartitionsDefinition("2024-01-01", end_offset=1),
)
def daily_bars() -> None:
    pass


@dg.op
def nothing() -> None:
    pass


@dg.job
def idle() -> None:
    nothing()


class Site:
    """A database, a Dagster instance, and a backfill of ten days."""

    def __init__(self, url: str, instance: dg.DagsterInstance) -> None:
        self.url = url
        self.instance = instance
        self.conn = psycopg.connect(url, autocommit=True)
        self.graph = dg.Definitions(assets=[daily_bars]).get_repository_def().asset_graph
        launch(self.conn, request(), "ann")

    def drive(self) -> list[Step]:
        return [item.step for item in self.look()]

    def look(self) -> list[Driven]:
        return drive_backfills(
            self.instance, self.graph, lambda: psycopg.connect(self.url), now=NOW
        )

    @property
    def state(self) -> BackfillState:
        return read_backfill(self.conn, 1).state

    @property
    def segments(self) -> tuple[str, ...]:
        return read_backfill(self.conn, 1).dagster_backfill_ids

    def dagster_status(self, segment: int = -1) -> str:
        seen = read_status(self.instance, self.segments[segment])
        assert seen is not None
        return str(seen.status)

    def finish_segment(self, status: str) -> None:
        """What Dagster's daemon does at the end."""
        found = self.instance.get_backfill(self.segments[-1])
        assert found is not None
        self.instance.update_backfill(found.with_status(type(found.status)(status)))

    def plant_run(self, status: dg.DagsterRunStatus, backfill_id: int = 1) -> str:
        tags = {BACKFILL_TAG: str(backfill_id), DAGSTER_BACKFILL_TAG: self.segments[-1]}
        return self.instance.create_run_for_job(idle, status=status, tags=tags).run_id


@pytest.fixture
def site(postgres: str) -> Iterator[Site]:
    with dg.DagsterInstance.ephemeral() as instance:
        site = Site(postgres, instance)
        yield site
        site.conn.close()


def test_a_request_becomes_one_dagster_backfill_of_its_partitions(site: Site) -> None:
    assert site.drive() == [Step.LAUNCH]
    assert site.drive() == []

    assert site.state is BackfillState.RUNNING
    (segment,) = site.segments
    found = site.instance.get_backfill(segment)
    assert found is not None
    assert found.asset_backfill_data is not None
    assert found.asset_backfill_data.get_num_partitions() == len(TEN_DAYS)
    assert found.tags[BACKFILL_TAG] == "1"
    assert found.tags["dagster/priority"] == "-10"
    assert (found.tags["dagster/max_retries"], site.dagster_status()) == ("3", "REQUESTED")


def test_an_asset_or_day_that_dagster_does_not_have_ends_the_backfill_with_words(
    site: Site,
) -> None:
    launch(site.conn, request("2023-12-31"), "ann")
    launch(site.conn, request(asset_key="market/us/daily_bars"), "ann")

    site.look()

    assert site.state is BackfillState.RUNNING
    no_day, no_asset = (read_backfill(site.conn, number) for number in (2, 3))
    assert (no_day.state, no_asset.state) == (BackfillState.FAILED, BackfillState.FAILED)
    assert "has no partition 2023-12-31" in no_day.problem
    assert "asset market/us/daily_bars is not among" in no_asset.problem


def test_what_a_pause_held_back_is_launched_on_resumption_and_nothing_else(site: Site) -> None:
    site.drive()
    run = plant_run(site.conn, 1, site.plant_run(dg.DagsterRunStatus.STARTED))
    gate = open_gate(lambda: psycopg.connect(site.url), run, "cn", {BACKFILL_TAG: "1"})
    assert gate.may_begin()
    for key in TEN_DAYS[:3]:
        plant_load(site.conn, run, key)
    plant_load(site.conn, run, TEN_DAYS[3], "failed", error=("UnreadableSource", "cut off"))
    plant_load(site.conn, run, TEN_DAYS[4], "failed", reason="holder_died")

    changes.pause(site.conn, 1, "bob")
    assert site.drive() == []
    closed = open_gate(lambda: psycopg.connect(site.url), run, "cn", {BACKFILL_TAG: "1"})
    assert not closed.may_begin()
    dagster_run = site.instance.get_run_by_id(run)
    assert dagster_run is not None
    site.instance.report_run_canceled(dagster_run)
    assert site.drive() == [Step.REST]
    assert (site.state, site.drive()) == (BackfillState.PAUSED, [])
    site.finish_segment("COMPLETED_FAILED")
    assert (site.state, site.drive()) == (BackfillState.PAUSED, [])
    changes.resume(site.conn, 1, "bob")

    assert site.drive() == [Step.LAUNCH]

    second = site.instance.get_backfill(site.segments[1])
    assert second is not None
    assert second.asset_backfill_data is not None
    # Six of ten: a day that failed fails again, one whose run was killed does not.
    assert second.asset_backfill_data.get_num_partitions() == 6
    assert site.dagster_status(0) == "COMPLETED_FAILED"


def test_a_pause_before_the_first_run_takes_everything_back(site: Site) -> None:
    site.drive()
    changes.pause_feed(site.conn, "cn", "bob")

    assert site.drive() == [Step.HOLD]

    assert site.dagster_status() == "CANCELING"
    assert site.drive() == [Step.REST]
    site.finish_segment("CANCELED")
    changes.resume_feed(site.conn, "cn", "bob")
    assert site.drive() == [Step.LAUNCH]
    assert len(site.segments) == 2


@pytest.mark.parametrize(
    ("days", "state"),
    [
        (["success"] * 10, "success"),
        (["success"] * 9 + ["failed"], "partial"),
        (["skipped"] * 9 + ["failed"], "failed"),
        (["success"] * 9 + ["partial"], "partial"),
        (["success"] * 9, "partial"),
        ([], "failed"),
    ],
)
def test_the_end_says_what_became_of_the_partitions(
    site: Site, days: list[str], state: str
) -> None:
    site.drive()
    run = plant_run(site.conn, 1, "run")
    for key, outcome in zip(TEN_DAYS, days, strict=False):
        plant_load(site.conn, run, key, outcome, reason="not_a_session")
    site.finish_segment("COMPLETED_FAILED")

    assert site.drive() == [Step.END]

    assert (str(site.state), site.drive()) == (state, [])


def test_cancel_ends_what_runs_and_never_touches_what_is_finished(site: Site) -> None:
    site.drive()
    run_id = site.plant_run(dg.DagsterRunStatus.STARTED)
    changes.cancel(site.conn, 1, "bob")
    assert site.drive() == [Step.STOP]
    assert site.dagster_status() == "CANCELING"
    run = site.instance.get_run_by_id(run_id)
    assert run is not None
    site.instance.report_run_canceled(run)
    site.finish_segment("CANCELED")
    assert site.drive() == [Step.END]
    assert site.state is BackfillState.CANCELED

    site.finish_segment("COMPLETED_SUCCESS")

    assert not cancel_backfill(site.instance, site.segments[0])
    assert site.dagster_status() == "COMPLETED_SUCCESS"


def test_a_backfill_whose_runs_are_all_done_is_left_to_finish(site: Site) -> None:
    site.drive()
    site.plant_run(dg.DagsterRunStatus.SUCCESS)
    changes.cancel(site.conn, 1, "bob")

    assert site.drive() == []

    assert site.dagster_status() == "REQUESTED"


def test_a_driver_that_died_before_it_told_dagster_is_made_up_for(site: Site) -> None:
    site.conn.execute(
        "INSERT INTO ops.backfill_segments (dagster_backfill_id, backfill_id, partitions, held_at)"
        " VALUES ('lost', 1, 10, now())"
    )

    assert site.drive() == [Step.LAUNCH]

    assert len(site.segments) == 2
    assert site.dagster_status() == "REQUESTED"


@pytest.mark.parametrize(
    ("tags", "step"),
    [
        ({"dagster/will_retry": "true"}, Step.LAUNCH),
        ({"dagster/will_retry": "true", "dagster/auto_retry_run_id": "another"}, Step.END),
        ({"dagster/will_retry": "false"}, Step.END),
    ],
)
def test_days_of_a_killed_run_go_on_though_dagster_closed_its_backfill_before_the_retry(
    site: Site, tags: dict[str, str], step: Step
) -> None:
    site.drive()
    site.drive()
    run_id = site.plant_run(dg.DagsterRunStatus.FAILURE)
    site.instance.add_run_tags(run_id, tags)
    plant_run(site.conn, 1, run_id)
    plant_load(site.conn, run_id, TEN_DAYS[0])
    plant_load(site.conn, run_id, TEN_DAYS[1], "failed", reason="holder_died")
    site.finish_segment("COMPLETED_FAILED")

    assert site.drive() == [step]

    if step is Step.LAUNCH:
        assert site.state is BackfillState.RUNNING
        assert len(site.segments) == 2
        # Killed again and again, it ends.
        for _ in range(3):
            again = site.plant_run(dg.DagsterRunStatus.FAILURE)
            site.instance.add_run_tags(again, tags)
            site.finish_segment("COMPLETED_FAILED")
            last = site.drive()
        assert last == [Step.END]


def test_two_drivers_do_not_work_at_once(site: Site) -> None:
    with psycopg.connect(site.url) as other:
        row = other.execute("SELECT pg_try_advisory_lock(%s)", (0x6261_6472,)).fetchone()
        assert row == (True,)

        assert site.drive() == []

    assert site.drive() == [Step.LAUNCH]


class Lingering(psycopg.Connection):
    """One that the server takes a while to end."""

    def close(self) -> None:
        pass


def test_a_look_does_not_wait_for_the_server_to_end_the_last_one(site: Site) -> None:
    conn = Lingering.connect(site.url)
    drive_backfills(site.instance, site.graph, lambda: conn, now=NOW)
    changes.cancel(site.conn, 1, "bob")

    assert site.drive() == [Step.STOP]

    super(Lingering, conn).close()


def test_priority_reorders_the_runs_that_wait(site: Site) -> None:
    site.drive()
    run_id = site.plant_run(dg.DagsterRunStatus.NOT_STARTED)
    changes.set_priority(site.conn, 1, 7, "bob")

    site.drive()

    run = site.instance.get_run_by_id(run_id)
    assert run is not None
    assert run.tags["dagster/priority"] == "7"


def test_the_end_is_estimated_once_a_tenth_and_judged_when_it_comes(site: Site) -> None:
    site.drive()
    run = plant_run(site.conn, 1, site.plant_run(dg.DagsterRunStatus.STARTED))
    for number, key in enumerate(TEN_DAYS):
        began = NOW + timedelta(seconds=10 * number)
        plant_load(site.conn, run, key, started_at=began, seconds=9.0)
        site.drive()
        site.drive()

    tenths = site.conn.execute("SELECT done_tenths FROM ops.eta_accuracy ORDER BY 1").fetchall()
    assert [row[0] for row in tenths] == [3, 4, 5, 6, 7, 8, 9]
    assert read_accuracy(site.conn) is None

    site.finish_segment("COMPLETED_SUCCESS")
    assert site.drive() == [Step.END]

    found = read_accuracy(site.conn)
    assert found is not None
    assert (found.backfills, found.estimates) == (1, 7)


def test_a_driver_that_starts_again_launches_nothing_twice_and_sees_the_end(
    postgres: str, tmp_path: Path
) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        before = Site(postgres, instance)
        assert before.drive() == [Step.LAUNCH]
        run_id = before.plant_run(dg.DagsterRunStatus.STARTED)
        before.conn.close()

    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        after = Site(postgres, instance)
        assert (after.drive(), after.state) == ([], BackfillState.RUNNING)
        run = plant_run(after.conn, 1, run_id)
        for key in TEN_DAYS:
            plant_load(after.conn, run, key)
        dagster_run = instance.get_run_by_id(run_id)
        assert dagster_run is not None
        instance.report_run_canceled(dagster_run)
        after.finish_segment("COMPLETED_SUCCESS")

        assert after.drive() == [Step.END]

        assert (after.state, len(after.segments)) == (BackfillState.SUCCESS, 1)
        after.conn.close()


def test_of_two_waiting_backfills_the_one_raised_goes_first(site: Site) -> None:
    launch(site.conn, request("2024-10-08"), "ann")
    site.drive()
    first, second = (site.plant_run(dg.DagsterRunStatus.NOT_STARTED, number) for number in (1, 2))
    changes.set_priority(site.conn, 2, 7, "bob")

    assert site.drive() == []

    waiting = site.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED]))
    # As Dagster's queue does: the larger goes first.
    order = sorted(waiting, key=lambda run: -int(run.tags.get("dagster/priority", "0")))
    assert [run.run_id for run in order] == [second, first]


def test_failed_days_tried_again_end_well_and_the_first_backfill_stays_as_it_ended(
    site: Site,
) -> None:
    site.drive()
    run = plant_run(site.conn, 1, "run")
    for key in TEN_DAYS[:9]:
        plant_load(site.conn, run, key)
    plant_load(site.conn, run, TEN_DAYS[9], "failed", rows=0, error=("SourceUnavailable", "503"))
    site.finish_segment("COMPLETED_FAILED")
    assert site.drive() == [Step.END]

    retried = changes.retry_failed(site.conn, 1, "bob").backfill
    assert site.drive() == [Step.LAUNCH]
    (segment,) = read_backfill(site.conn, 2).dagster_backfill_ids
    found = site.instance.get_backfill(segment)
    assert found is not None
    assert found.asset_backfill_data is not None
    assert found.asset_backfill_data.get_num_partitions() == 1
    plant_load(site.conn, plant_run(site.conn, 2, "again"), TEN_DAYS[9])
    site.instance.update_backfill(found.with_status(type(found.status)("COMPLETED_SUCCESS")))

    assert site.drive() == [Step.END]

    seen = read_progress(site.conn, retried.backfill_id, NOW)
    assert (seen.backfill.state, seen.success, seen.failed) == (BackfillState.SUCCESS, 1, 0)
    assert exit_status(seen, newest_errors(site.conn, 2, 9)) == 0
    assert site.state is BackfillState.PARTIAL
    with pytest.raises(RequestRefused, match="no partition that failed"):
        changes.retry_failed(site.conn, 2, "bob")
