"""Job, sensor and schedule of devices: what arrives is loaded, and what others load is observed."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.devices.asset_keys import JOB, KEYS, LOAD_TAG, LOAD_TAG_VALUE
from batch_assets.settings import Settings
from batch_assets.sources.devices.settings import DeviceSettings

if TYPE_CHECKING:
    from batch_assets.ingest.devices.arrivals import WaitingDay

# What a run has left is asked for again after this long, if nothing else has come meanwhile.
_AGAIN_SECONDS = 600

# The continuous mode takes records within a second; those that wait longer have nobody.
_INBOX_WAITS_SECONDS = 60

_IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

AssetJob = Any
"""What define_asset_job returns; Dagster 1.13 does not export the class."""


def build_load_job() -> AssetJob:
    """The job `device_load`; without a partition it loads everything that has arrived."""
    return dg.define_asset_job(
        name=JOB,
        selection=dg.AssetSelection.assets(*KEYS),
        tags={LOAD_TAG: LOAD_TAG_VALUE},
        description="Load the records of devices that have arrived, in parallel shards.",
        executor_def=dg.in_process_executor,
    )


def build_landing_sensor(
    settings: Settings, section: DeviceSettings, job: AssetJob
) -> dg.SensorDefinition:
    """Watch the landing folder and the inbox, and observe what is committed beside Dagster."""

    @dg.sensor(
        name=f"{JOB}_sensor",
        job=job,
        minimum_interval_seconds=section.watch_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING
        if section.watch
        else dg.DefaultSensorStatus.STOPPED,
        description="Starts one run for the newest arrival day that has files, unless one is in "
        "progress or the continuous mode takes them; its commits become observations of the asset.",
    )
    def landing_sensor(
        context: dg.SensorEvaluationContext, postgres: PostgresCopyResource, clock: ClockResource
    ) -> dg.SensorResult:
        from batch_assets.defs.devices.observations import build_observation
        from batch_assets.ingest.devices.arrivals import look_at_arrivals, observe_batches

        with closing(postgres.connect()) as conn:
            seen = observe_batches(conn, after=int(context.cursor or 0))
            arrivals = look_at_arrivals(conn, settings)
            conn.commit()
        requests: list[dg.RunRequest] = []
        reason = "nothing has arrived"
        if arrivals.days or arrivals.inbox_seconds > _INBOX_WAITS_SECONDS:
            if arrivals.workers:
                reason = f"{arrivals.workers} workers of the continuous mode take what has arrived"
            elif _is_running(context.instance):
                reason = "a run is loading what has arrived"
            else:
                requests = [_request(arrivals.days, arrivals.inbox_seconds, clock, settings)]
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else dg.SkipReason(reason),
            cursor=str(max(seen.last_batch_id, int(context.cursor or 0))),
            asset_events=[build_observation(seen)] if seen.batches else [],
        )

    return landing_sensor


def _is_running(instance: dg.DagsterInstance) -> bool:
    filters = dg.RunsFilter(job_name=JOB, statuses=_IN_PROGRESS)
    return bool(instance.get_runs(filters, limit=1))


def _request(
    waiting: "Sequence[WaitingDay]", inbox_seconds: float, clock: ClockResource, settings: Settings
) -> dg.RunRequest:
    """One run: for the newest day with files, which loads what is left of earlier ones too."""
    now = clock.now()
    day = now.date()
    if waiting and inbox_seconds <= _INBOX_WAITS_SECONDS:
        day = max(waiting[-1].day, settings.dagster.first_day)
    newest = max((one.newest_file_id for one in waiting), default=0)
    count = sum(one.files for one in waiting)
    again = int(now.timestamp()) // _AGAIN_SECONDS
    return dg.RunRequest(
        run_key=f"{day} {newest} {count} {again}",
        partition_key=day.isoformat(),
        tags={LOAD_TAG: LOAD_TAG_VALUE},
    )


def build_schedule(section: DeviceSettings, job: AssetJob) -> dg.ScheduleDefinition:
    """Load what has arrived up to today at set times, for folders that nobody watches."""

    @dg.schedule(
        name=f"{JOB}_schedule",
        job=job,
        cron_schedule=section.cron,
        execution_timezone="UTC",
        description=f"Loads what has arrived up to today at {section.cron} (UTC), for "
        "installations that do not run the sensor.",
    )
    def due(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
        moment = context.scheduled_execution_time
        today: date = moment.date()
        yield dg.RunRequest(run_key=moment.isoformat(), partition_key=today.isoformat())

    return due
