"""Forms: sign in and out, launch, pause, resume, cancel, retry.

Each is answered with the address of a page, so that reloading it sends nothing twice.
"""

import re
from collections.abc import Callable
from datetime import date
from enum import StrEnum
from typing import Annotated

import psycopg
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, RedirectResponse

from batch_assets.errors import BatchAssetsError, RequestRefused
from batch_assets.ops.api.context import ApiContext, context_of
from batch_assets.ops.api.failures import status_of
from batch_assets.ops.backfills import changes
from batch_assets.ops.backfills.market import request_range
from batch_assets.ops.backfills.requests import launch
from batch_assets.ops.backfills.values import Backfill
from batch_assets.ops.sessions import Session, sign_in, sign_out
from batch_assets.ops.web.pages import PageRoute, show
from batch_assets.ops.web.signed_in import (
    FORM_COOKIE,
    SESSION_COOKIE,
    Form,
    Launching,
    PageRefused,
    Visitor,
    check_form,
    is_own_form,
    set_form_secret,
    set_session,
)
from batch_assets.sources.market.feed import build_feeds

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Context = Annotated[ApiContext, Depends(context_of)]
BackfillId = Annotated[int, InPath(ge=1, le=2**63 - 1)]

_SYMBOLS = re.compile(r"[,\s]+")


class Change(StrEnum):
    """What a button does to a backfill."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


class FeedChange(StrEnum):
    """What a button does to a feed."""

    PAUSE = "pause"
    RESUME = "resume"


_CHANGES: dict[Change, Callable[[psycopg.Connection, int, str], Backfill]] = {
    Change.PAUSE: changes.pause,
    Change.RESUME: changes.resume,
    Change.CANCEL: changes.cancel,
}
_FEED_CHANGES: dict[FeedChange, Callable[[psycopg.Connection, str, str], bool]] = {
    FeedChange.PAUSE: changes.pause_feed,
    FeedChange.RESUME: changes.resume_feed,
}


@router.get("/signin")
def sign_in_page(request: Request) -> HTMLResponse:
    """The form for a token."""
    return _sign_in_page(request, 200, "")


def _sign_in_page(request: Request, status: int, problem: str) -> HTMLResponse:
    carrier = Response()
    secret = set_form_secret(request, carrier)
    page = show(request, "signin.html", None, status=status, csrf=secret, problem=problem)
    page.raw_headers += [item for item in carrier.raw_headers if item[0] == b"set-cookie"]
    return page


@router.post("/signin")
def sign_in_form(request: Request, form: Form, context: Context) -> Response:
    """Begin a session for the token that was pasted."""
    if not is_own_form(request, form):
        return _sign_in_page(request, 403, "form_stale")
    with context.transaction() as conn:
        begun = sign_in(conn, form.get("token", "").strip())
    if begun is None:
        return _sign_in_page(request, 403, "token_refused")
    answer = _see("/")
    set_session(request, answer, *begun, now=context.now())
    answer.delete_cookie(FORM_COOKIE, httponly=True, samesite="strict")
    return answer


@router.post("/signout")
def sign_out_form(request: Request, session: Visitor, form: Form, context: Context) -> Response:
    """End the session."""
    check_form(session, form)
    with context.transaction() as conn:
        sign_out(conn, request.cookies.get(SESSION_COOKIE, ""))
    answer = _see("/signin")
    answer.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
    return answer


@router.get("/launch")
def launch_page(request: Request, session: Visitor, context: Context) -> HTMLResponse:
    """The form for a range."""
    if not session.may_launch:
        raise PageRefused("scope_short", actor=session.actor)
    return _launch_page(request, session, context, dict(request.query_params), "")


def _launch_page(
    request: Request,
    session: Session,
    context: ApiContext,
    form: dict[str, str],
    problem: str,
    status: int = 200,
) -> HTMLResponse:
    section = context.settings.section("market")
    return show(
        request,
        "launch.html",
        session,
        status=status,
        feeds=list(build_feeds(section, context.settings.config_dir)),
        today=context.now().date(),
        form=form,
        problem=problem,
    )


@router.post("/launch")
def launch_form(request: Request, session: Launching, form: Form, context: Context) -> Response:
    """Launch the range; what is wrong with it is said above the form as it was filled in."""
    try:
        return _launch(session, form, context)
    except BatchAssetsError as error:
        return _launch_page(request, session, context, form, str(error), status_of(error))


def _launch(session: Session, form: dict[str, str], context: ApiContext) -> Response:
    last = form.get("last", "").strip()
    wanted = request_range(
        context.settings,
        form.get("feed") or None,
        _day(form.get("first", "")),
        _day(last) if last else None,
        symbols=tuple(filter(None, _SYMBOLS.split(form.get("symbols", "")))),
        is_forced=form.get("force") == "yes",
        now=context.now(),
    )
    with context.transaction() as conn:
        launched = launch(conn, wanted, session.actor)
    said = "launch" if launched.is_new else "same"
    return _see_backfill(launched.backfill.backfill_id, said)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise RequestRefused(
            f"{text.strip()!r} is no day, expected one as 2024-09-30; correct it"
        ) from None


@router.post("/backfills/{backfill_id}/retry")
def retry_form(session: Launching, context: Context, backfill_id: BackfillId) -> Response:
    """Load what did not end well as a new backfill."""
    with context.transaction() as conn:
        launched = changes.retry_failed(conn, backfill_id, session.actor)
    return _see_backfill(launched.backfill.backfill_id, "retry" if launched.is_new else "same")


@router.post("/backfills/{backfill_id}/{change}")
def change_form(
    session: Launching, form: Form, context: Context, backfill_id: BackfillId, change: Change
) -> Response:
    """Pause, resume or cancel a backfill."""
    with context.transaction() as conn:
        _CHANGES[change](conn, backfill_id, session.actor)
    if form.get("from") == "status":
        return _see(f"/?done={change}&id={backfill_id}")
    return _see_backfill(backfill_id, change)


@router.post("/feeds/{feed}/{change}")
def change_feed_form(
    session: Launching, context: Context, feed: str, change: FeedChange
) -> Response:
    """Pause or resume a feed, whoever launched what is loaded of it."""
    if feed not in build_feeds(context.settings.section("market"), context.settings.config_dir):
        raise HTTPException(404, f"there is no feed {feed!r}, expected one of the status page")
    with context.transaction() as conn:
        _FEED_CHANGES[change](conn, feed, session.actor)
    return _see(f"/?done=feed_{change}")


def _see_backfill(backfill_id: int, said: str) -> RedirectResponse:
    return _see(f"/backfills/{backfill_id}?done={said}&id={backfill_id}")


def _see(address: str) -> RedirectResponse:
    # 303: whatever was sent, the page is fetched with GET.
    return RedirectResponse(address, 303, {"Cache-Control": "no-store"})
