"""Pages to look at: everything at once, one backfill, its error workbook."""

import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.background import BackgroundTask

from batch_assets.ops.api.context import ApiContext, context_of
from batch_assets.ops.backfills.error_report import write_error_report
from batch_assets.ops.backfills.read import read_audit, read_errors, read_progress
from batch_assets.ops.display import zone_of
from batch_assets.ops.status.feeds import Freshness
from batch_assets.ops.status.loads import RECENT_LOADS, SHOWN_FAILURES
from batch_assets.ops.status.overview import Overview, OverviewReader
from batch_assets.ops.web import actions
from batch_assets.ops.web.pages import STATIC, PageRoute, show
from batch_assets.ops.web.signed_in import Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Context = Annotated[ApiContext, Depends(context_of)]
BackfillId = Annotated[int, InPath(ge=1, le=2**63 - 1)]

_ERRORS_A_PAGE = 20
# A daemon beats every 30 s; one that is silent for so long does not run.
_DAEMON_SILENT_SECONDS = 120
_WORKBOOK = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def install(app: FastAPI) -> None:
    """Serve the pages, and what they are made of, beside the API."""
    app.include_router(router)
    app.include_router(actions.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")


def _overview_reader(request: Request, context: Context) -> OverviewReader:
    """One for the application, made when it is first needed."""
    state = request.app.state
    if not hasattr(state, "overview"):
        state.overview = OverviewReader(context.settings, context.now)
    reader: OverviewReader = state.overview
    return reader


@router.get("/")
def status(
    request: Request,
    session: Visitor,
    context: Context,
    reader: Annotated[OverviewReader, Depends(_overview_reader)],
) -> HTMLResponse:
    """Everything at once."""
    overview = reader.read(context.transaction, is_fresh="done" in request.query_params)
    silence = overview.daemon_silence_seconds
    is_daemon_silent = silence is None or silence > _DAEMON_SILENT_SECONDS
    return show(
        request,
        "status.html",
        session,
        overview=overview,
        verdict=_verdict(overview, is_daemon_silent=is_daemon_silent),
        is_daemon_silent=is_daemon_silent,
        recent_loads=RECENT_LOADS,
    )


def _verdict(
    overview: Overview, *, is_daemon_silent: bool
) -> tuple[str, list[tuple[str, dict[str, object]]]]:
    """How things are in one word, and the reasons: names of texts with their values."""
    firing = [alert for alert in overview.alerts if alert.resolved_at is None]
    unmended = sum(not failure.is_mended for failure in overview.failures)
    # Only the newest are read: where none of them is mended, there may be more.
    is_more = unmended == SHOWN_FAILURES
    counts: dict[str, object] = {
        "verdict_alerts": len(firing),
        "verdict_behind": sum(feed.freshness is Freshness.BEHIND for feed in overview.feeds),
        "verdict_failures": f"{unmended}+" if is_more else unmended,
        "verdict_leases": overview.server.leases_expired,
        "verdict_paused": len(overview.paused),
    }
    reasons: list[tuple[str, dict[str, object]]] = [
        (name, {"count": count}) for name, count in counts.items() if count
    ]
    if is_daemon_silent and overview.running:
        reasons.insert(0, ("verdict_no_daemon", {}))
    is_bad = any(alert.severity == "critical" for alert in firing) or (
        is_daemon_silent and bool(overview.running)
    )
    if is_bad:
        return "trouble", reasons
    return ("attention" if reasons else "all_well"), reasons


@router.get("/backfills/{backfill_id}")
def backfill(
    request: Request,
    session: Visitor,
    context: Context,
    backfill_id: BackfillId,
    before: Annotated[int | None, Query(ge=1, le=2**31)] = None,
) -> HTMLResponse:
    """One backfill: how far, what went wrong, who did what."""
    with context.transaction() as conn:
        progress = read_progress(conn, backfill_id, context.now(), context.estimates)
        errors = read_errors(conn, backfill_id, before_position=before, limit=_ERRORS_A_PAGE)
        audit = read_audit(conn, action="backfill.", subject=str(backfill_id))
    return show(
        request,
        "backfill.html",
        session,
        progress=progress,
        errors=errors,
        audit=audit,
        before=before,
    )


@router.get("/backfills/{backfill_id}/errors.xlsx")
def workbook(_: Visitor, context: Context, backfill_id: BackfillId) -> Response:
    """What went wrong in a backfill, all of it, as a workbook."""
    with tempfile.NamedTemporaryFile(suffix=".xlsx", delete=False) as file:
        path = Path(file.name)
    try:
        with context.transaction() as conn:
            progress = read_progress(conn, backfill_id, context.now(), context.estimates)
            zone = zone_of(context.settings, progress.backfill.feed)
            write_error_report(conn, path, zone, progress)
    except BaseException:
        path.unlink()
        raise
    return FileResponse(
        path,
        media_type=_WORKBOOK,
        filename=f"backfill-{backfill_id}-errors.xlsx",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
        background=BackgroundTask(path.unlink),
    )
