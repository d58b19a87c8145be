"""One tick of the sensor or schedule of documents: look into the folder, ask for runs."""

from collections.abc import Iterator
from contextlib import closing

import dagster as dg

from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.documents.run_requests import Requests, Tick, evaluate_requests
from batch_assets.ingest.documents.run import scan_whole
from batch_assets.ingest.documents.scan import scan_documents
from batch_assets.ingest.documents.waiting import WaitingDay, read_waiting_sets
from batch_assets.postgres.connect import translating_errors
from batch_assets.sources.documents.landing import ScanReport
from batch_assets.sources.documents.sources import DocumentSource

# A schedule is given 60 s by Dagster; the next one, or the sensor, goes on.
_RESCAN_SECONDS = 30.0

# Reasons in one line of the list of ticks.
_SHOWN_NOTES = 5


def look_at_landing(
    context: dg.SensorEvaluationContext,
    source: DocumentSource,
    partitions: dg.PartitionsDefinition[str],
    postgres: PostgresCopyResource,
    clock: ClockResource,
) -> dg.SensorResult:
    """Look at a bounded part of the folder, and ask for a run for each day that has files."""
    scanned = scan_documents(postgres.connect, source, now=clock.now(), after=context.cursor or "")
    waiting = _read_waiting(postgres, source)
    tick = Tick(source, partitions, scanned.report, waiting, clock.now())
    requests = evaluate_requests(context.instance, tick)
    return dg.SensorResult(
        run_requests=requests.runs,
        skip_reason=None if requests.runs else _reason(scanned.report, requests),
        cursor=scanned.report.position,
    )


def rescan_landing(
    context: dg.ScheduleEvaluationContext,
    source: DocumentSource,
    partitions: dg.PartitionsDefinition[str],
    postgres: PostgresCopyResource,
    clock: ClockResource,
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Look at the whole folder, and ask for a run for each day that has files."""
    scanned = scan_whole(postgres.connect, source, now=clock.now, seconds=_RESCAN_SECONDS)
    waiting = _read_waiting(postgres, source)
    # The next tick may be a day away: what has to be read is read now.
    tick = Tick(source, partitions, scanned.report, waiting, clock.now(), gathers=False)
    requests = evaluate_requests(context.instance, tick)
    yield from requests.runs
    if not requests.runs:
        yield _reason(scanned.report, requests)


def _read_waiting(postgres: PostgresCopyResource, source: DocumentSource) -> list[WaitingDay]:
    with translating_errors(), closing(postgres.connect()) as conn:
        return read_waiting_sets(conn, source.name)


def _reason(report: ScanReport, requests: Requests) -> dg.SkipReason:
    """What was seen, in one line."""
    seen = f"{report.listed} files looked at, {report.new} new, {report.changed} changed"
    seen += f", {report.growing} still growing" if report.growing else ""
    seen += f", {report.deleted} gone" if report.deleted else ""
    if report.withheld:
        seen += f", {report.withheld} not marked as gone because the folder is empty as a whole"
    if report.is_busy:
        seen = "another scan is going on"
    notes = requests.notes[:_SHOWN_NOTES]
    if len(requests.notes) > len(notes):
        notes.append(f"{len(requests.notes) - len(notes)} more days wait")
    return dg.SkipReason("; ".join([seen, *notes]))
