"""Backfills that were launched in Dagster itself, followed as ours are."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster._core.remote_origin import RemoteJobOrigin

from batch_assets.errors import BackfillOverlaps, RequestRefused
from batch_assets.ops.backfills import changes
from batch_assets.ops.backfills.read import list_backfills, read_audit, read_backfill, read_progress
from batch_assets.ops.backfills.requests import launch
from batch_assets.ops.backfills.values import Backfill, Progress
from batch_assets.runs.backfill_adoption import (
    Adopted,
    CodeLocation,
    TrackedAsset,
    adopt_backfills,
)
from batch_assets.runs.backfill_driver import drive_backfills
from batch_assets.runs.backfill_gate import open_gate
from batch_assets.runs.backfill_states import BACKFILL_TAG, DAGSTER_BACKFILL_TAG, BackfillState
from batch_assets.runs.backfill_steps import Step
from batch_assets.runs.dagster_backfills import find_backfills, read_status
from batch_assets.runs.run_log import find_backfill_id, read_places
from batch_assets_tests.ops.backfills.planted import TEN_DAYS, plant_load, request
from batch_assets_tests.runs.launched_in_dagster import (
    OTHER_DAYS,
    bars_of,
    end_in_dagster,
    keep_as_text,
    launch_in_dagster,
    launch_job_in_dagster,
    origin_of,
    repository_of,
)

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
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


@pytest.fixture
def site(postgres: str, tmp_path: Path) -> Iterator[Site]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        made = Site(postgres, instance)
        yield made
        made.conn.close()


def test_what_was_launched_in_dagster_gets_a_number_once(site: Site) -> None:
    site.launch("theirs", launched_at=NOW - timedelta(minutes=1), tags={"dagster/priority": "3"})

    assert site.adopt() == [Adopted(1, CN, "theirs", 10)]
    assert site.adopt() == []

    found = site.read()
    assert (found.feed, found.first_key, found.last_key) == ("cn", TEN_DAYS[0], TEN_DAYS[-1])
    assert (found.state, found.partitions, found.priority) == (BackfillState.RUNNING, 10, 3)
    assert (found.requested_by, found.dagster_backfill_ids) == ("dagster", ("theirs",))
    assert found.requested_at == found.started_at == NOW - timedelta(minutes=1)
    (entry,) = read_audit(site.conn, action="backfill.", subject="1")
    assert (entry.actor, entry.action) == ("dagster", "backfill.adopt")
    assert entry.detail["dagster_backfill"] == "theirs"
    assert site.drive() == []


def test_all_partitions_of_an_asset_are_adopted(site: Site) -> None:
    site.launch("all", is_all=True)

    (adopted,) = site.adopt()

    assert site.read().first_key == "2024-01-01"
    assert adopted.partitions > 700


def test_two_drivers_that_look_at_once_adopt_it_once(site: Site) -> None:
    for number in range(8):
        site.launch(f"theirs-{number}")

    with ThreadPoolExecutor(4) as pool:
        looks = [pool.submit(site.adopt) for _ in range(4)]
        adopted = [one.dagster_backfill_id for look in looks for one in look.result()]

    assert sorted(adopted) == [f"theirs-{number}" for number in range(8)]
    assert len(list_backfills(site.conn)) == 8
    assert site.conn.execute("SELECT count(*) FROM ops.backfill_partitions").fetchone() == (80,)


def test_ours_and_those_of_other_assets_are_left_alone(site: Site) -> None:
    launch(site.conn, request(), "ann")
    assert site.drive() == [Step.LAUNCH]
    site.launch("foreign", ELSE)

    assert site.adopt() == []

    assert [one.requested_by for one in list_backfills(site.conn)] == ["ann"]


def test_ours_repeated_on_dagsters_pages_is_one_of_its_own_whatever_tags_were_copied(
    site: Site,
) -> None:
    launch(site.conn, request(), "ann")
    site.drive()
    site.launch("again", tags={BACKFILL_TAG: "1"})

    assert [one.backfill_id for one in site.adopt()] == [2]

    tags = {BACKFILL_TAG: "1", DAGSTER_BACKFILL_TAG: "again"}
    assert open_gate(site.connect, "run", "cn", tags).backfill_id == 2
    assert find_backfill_id(site.connect, tags, [CN]) == 2
    assert find_backfill_id(site.connect, {BACKFILL_TAG: "1"}, [CN]) == 1
    assert read_places(site.connect, 2, ()).text_of(TEN_DAYS[2]) == "[3/10]"


def test_ended_ones_are_adopted_as_of_their_end_unless_they_are_old(site: Site) -> None:
    began, ended = NOW - timedelta(hours=3), NOW - timedelta(hours=2)
    site.launch("lately", launched_at=began)
    run = site.plant_run("lately", dg.DagsterRunStatus.SUCCESS)
    for key in TEN_DAYS:
        plant_load(site.conn, run, key)
    end_in_dagster(site.instance, "lately", "COMPLETED_SUCCESS", ended)
    site.launch("old", launched_at=NOW - timedelta(days=2))
    end_in_dagster(site.instance, "old", "COMPLETED_FAILED", NOW - timedelta(days=2))
    site.launch("long", launched_at=NOW - timedelta(days=40))

    assert {one.dagster_backfill_id for one in site.adopt()} == {"lately", "long"}
    assert site.drive() == [Step.END]

    found = next(one for one in list_backfills(site.conn) if one.state.is_final)
    assert (found.state, found.dagster_backfill_ids) == (BackfillState.SUCCESS, ("lately",))
    assert (found.started_at, found.ended_at) == (began, ended)


# Dagster's own words about its cursor.
@pytest.mark.filterwarnings("ignore:implicitly coercing SELECT object")
def test_a_look_asks_dagster_for_what_is_open_or_new_however_much_it_remembers(site: Site) -> None:
    for number in range(120):
        site.launch(f"old-{number}", launched_at=NOW - timedelta(hours=2))
        end_in_dagster(site.instance, f"old-{number}", "COMPLETED_SUCCESS")
    site.adopt(NOW - timedelta(hours=1))
    site.launch("open", launched_at=NOW - timedelta(days=3))
    site.launch("quick", launched_at=NOW - timedelta(minutes=30))
    end_in_dagster(site.instance, "quick", "COMPLETED_SUCCESS")
    # As none can be: it ended before the last look, which would have seen it.
    site.launch("before", launched_at=NOW - timedelta(minutes=90))
    end_in_dagster(site.instance, "before", "COMPLETED_SUCCESS")

    listed = list(find_backfills(site.instance, NOW - timedelta(hours=1)))
    assert [[one.dagster_backfill_id for one in page] for page in listed] == [["open"], ["quick"]]

    assert {one.dagster_backfill_id for one in site.adopt()} == {"open", "quick"}
    assert len(list(find_backfills(site.instance, NOW - timedelta(hours=3)))) == 1 + 3


def test_progress_and_end_are_counted_from_runs_that_began_before_it_had_a_number(
    site: Site,
) -> None:
    site.launch("theirs")
    early = site.plant_run("theirs", dg.DagsterRunStatus.STARTED)
    gate = open_gate(site.connect, early, "cn", {DAGSTER_BACKFILL_TAG: "theirs"})
    assert (gate.may_begin(), gate.backfill_id) == (True, None)
    plant_load(site.conn, early, TEN_DAYS[0])
    site.adopt()
    assert site.progress().success == 1
    late = site.plant_run("theirs", dg.DagsterRunStatus.STARTED)
    plant_load(site.conn, late, TEN_DAYS[1], "failed", error=("UnreadableSource", "cut off"))

    assert site.drive() == []

    assert (site.progress().success, site.progress().failed) == (1, 1)
    for key in TEN_DAYS[2:9]:
        plant_load(site.conn, late, key)
    unseen = site.plant_run("theirs", dg.DagsterRunStatus.SUCCESS)
    plant_load(site.conn, unseen, TEN_DAYS[9])
    end_in_dagster(site.instance, "theirs", "COMPLETED_FAILED")
    assert site.drive() == [Step.END]
    assert (site.read().state, site.progress().success) == (BackfillState.PARTIAL, 9)


def test_a_killed_run_is_left_to_dagster(site: Site) -> None:
    site.launch("theirs")
    site.adopt()
    run = site.plant_run(
        "theirs", dg.DagsterRunStatus.FAILURE, **{"dagster/will_retry": "true", BACKFILL_TAG: "1"}
    )
    plant_load(site.conn, run, TEN_DAYS[0], "failed", reason="holder_died")
    end_in_dagster(site.instance, "theirs", "COMPLETED_FAILED")

    assert site.drive() == [Step.END]

    assert (site.read().state, site.read().dagster_backfill_ids) == ("failed", ("theirs",))
    retried = changes.retry_failed(site.conn, 1, "bob").backfill
    assert (retried.retry_of, retried.partitions) == (1, 10)


def test_pause_takes_effect_in_its_runs_and_resume_hands_the_rest_to_dagster(site: Site) -> None:
    config = {"ops": {"market__cn__daily_bars": {"config": {"force": True, "symbols": ["a", "b"]}}}}
    site.launch("theirs", config=config)
    run = site.plant_run("theirs", dg.DagsterRunStatus.STARTED)
    gate = open_gate(site.connect, run, "cn", {DAGSTER_BACKFILL_TAG: "theirs"})
    site.adopt()
    plant_load(site.conn, run, TEN_DAYS[0])
    changes.pause(site.conn, 1, "bob")

    assert not gate.may_begin()

    assert (site.drive(), site.read().phase) == ([], "pausing")
    site.end_run(run)
    assert (site.drive(), site.read().phase) == ([Step.REST], "paused")
    end_in_dagster(site.instance, "theirs", "COMPLETED_FAILED")
    assert site.drive() == []
    changes.resume(site.conn, 1, "bob")
    assert site.drive() == [Step.LAUNCH]
    found = site.instance.get_backfill(site.read().dagster_backfill_ids[1])
    assert found is not None
    assert found.asset_backfill_data is not None
    assert found.asset_backfill_data.get_num_partitions() == 9
    assert found.run_config == config
    assert (site.adopt(), found.tags[BACKFILL_TAG]) == ([], "1")


def test_cancel_ends_it_in_dagster_and_what_dagster_ended_is_canceled_here(site: Site) -> None:
    site.launch("ended-here")
    site.adopt()
    site.launch("ended-there")
    site.adopt()
    changes.cancel(site.conn, 1, "bob")

    assert site.drive() == [Step.STOP]

    seen = read_status(site.instance, "ended-here")
    assert seen is not None
    assert seen.status == "CANCELING"
    for dagster_id in ("ended-here", "ended-there"):
        end_in_dagster(site.instance, dagster_id, "CANCELED")
    assert site.drive() == [Step.END, Step.END]
    assert (site.read(1).state, site.read(2).state) == ("canceled", "canceled")


def test_priority_of_its_runs_is_changed_only_when_somebody_asks(site: Site) -> None:
    site.launch("theirs", tags={"dagster/priority": "no number"})
    site.adopt()
    run_id = site.plant_run("theirs", dg.DagsterRunStatus.NOT_STARTED)
    site.drive()
    run = site.instance.get_run_by_id(run_id)
    assert run is not None
    assert "dagster/priority" not in run.tags

    changes.set_priority(site.conn, 1, 7, "bob")
    site.drive()

    run = site.instance.get_run_by_id(run_id)
    assert run is not None
    assert run.tags["dagster/priority"] == "7"


def test_one_of_several_assets_is_one_for_each_and_ends_as_a_whole_in_dagster(site: Site) -> None:
    site.launch("both", US, CN, ELSE)

    assert [(one.backfill_id, one.asset_key) for one in site.adopt()] == [(1, CN), (2, US)]
    assert site.adopt() == []

    run = site.plant_run("both", dg.DagsterRunStatus.QUEUED, **{"dagster/priority": "9"})
    plant_load(site.conn, run, TEN_DAYS[0])
    assert site.drive() == []
    assert (site.progress(1).success, site.progress(2).success) == (1, 0)
    for change in (changes.pause, changes.cancel):
        with pytest.raises(RequestRefused, match=r"as both together .* cancel both as a whole"):
            change(site.conn, 1, "bob")
    with pytest.raises(RequestRefused, match="as both together"):
        changes.set_priority(site.conn, 2, 7, "bob")

    # The feed alone is held: runs that wait load the others, too.
    changes.pause_feed(site.conn, "cn", "bob")
    assert site.drive() == [Step.HOLD]
    assert site.drive() == [Step.REST]
    queued = site.instance.get_run_by_id(run)
    assert queued is not None
    assert queued.status is dg.DagsterRunStatus.QUEUED
    assert queued.tags["dagster/priority"] == "9"
    seen = read_status(site.instance, "both")
    assert seen is not None
    assert seen.status == "REQUESTED"
    closed = open_gate(site.connect, run, "cn", {DAGSTER_BACKFILL_TAG: "both"})
    assert (closed.may_begin(), closed.backfill_id) == (False, 1)
    other = open_gate(site.connect, run, "us", {DAGSTER_BACKFILL_TAG: "both"})
    assert (other.may_begin(), other.backfill_id) == (True, 2)

    end_in_dagster(site.instance, "both", "COMPLETED_FAILED")
    assert site.drive() == [Step.END]
    changes.resume_feed(site.conn, "cn", "bob")
    assert site.drive() == [Step.LAUNCH]
    assert len(site.read(1).dagster_backfill_ids) == 2
    assert site.read(2).state == "failed"


def test_a_failed_load_is_listed_once_with_the_backfill_of_its_feed(site: Site) -> None:
    from batch_assets.ops.status.loads import read_failures

    site.launch("both", US, CN)
    site.adopt()
    run = site.plant_run("both", dg.DagsterRunStatus.STARTED)
    plant_load(site.conn, run, TEN_DAYS[0], "failed", error=("UnreadableSource", "cut off"))
    site.drive()

    assert [one.backfill_id for one in read_failures(site.conn)] == [1]


def test_a_job_backfill_is_that_of_its_asset_in_this_code_location(site: Site) -> None:
    launch_job_in_dagster(site.instance, "job", TEN_DAYS, launched_at=NOW)
    launch_job_in_dagster(site.instance, "far", TEN_DAYS, launched_at=NOW, location="elsewhere")

    assert site.adopt() == [Adopted(1, CN, "job", 10)]


def test_a_request_for_days_that_dagster_loads_is_refused(site: Site) -> None:
    site.launch("theirs")
    site.launch("twice")
    site.adopt()

    with pytest.raises(BackfillOverlaps, match="overlaps backfill 1"):
        launch(site.conn, request(TEN_DAYS[3]), "ann")

    assert len(list_backfills(site.conn)) == 2


@pytest.mark.parametrize("partitions", [None, OTHER_DAYS])
def test_one_that_cannot_be_read_any_more_holds_up_no_other(
    site: Site,
    partitions: dg.PartitionsDefinition[str] | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    site.launch("gone", US)
    keep_as_text(site.instance, "gone", site.repository)
    site.launch("theirs")
    caplog.set_level(logging.WARNING, "batch_assets")
    site.repository = repository_of(bars_of("cn"), bars_of("us", partitions))

    assert [one.dagster_backfill_id for one in site.adopt()] == ["theirs"]

    assert ("gone" in caplog.text) == (partitions is not None)


@pytest.mark.parametrize("symbol", ["\x00", "\ud800"])
def test_symbols_that_no_text_can_hold_hold_up_no_other(
    site: Site, symbol: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"ops": {"market__cn__daily_bars": {"config": {"symbols": [symbol]}}}}
    site.launch("typed", CN, US, config=config)
    site.launch("theirs")
    caplog.set_level(logging.WARNING, "batch_assets")

    assert [one.dagster_backfill_id for one in site.adopt()] == ["theirs"]

    assert "Dagster backfill typed is not followed" in caplog.text
    assert len(list_backfills(site.conn)) == 1


@pytest.mark.parametrize(
    "config",
    [
        {"ops": ["market__cn__daily_bars"]},
        {"ops": {"market__cn__daily_bars": {"config": {"force": "yes", "symbols": "600000"}}}},
    ],
)
def test_what_was_typed_wrong_is_left_to_dagster(site: Site, config: dict[str, object]) -> None:
    site.launch("theirs", config=config)

    site.adopt()

    assert (site.read().is_forced, site.read().symbols) == (False, ())
