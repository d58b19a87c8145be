"""`batch-assets backfill`: load a range of days, or exactly a plan, and follow it."""

import sys
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from batch_assets.ops.cli.range_options import (
    FeedName,
    FirstOrNone,
    Force,
    Last,
    Symbols,
    day_of,
)
from batch_assets.ops.language import Language

if TYPE_CHECKING:
    import threading

    from batch_assets.ops.backfills.values import Backfill, BackfillRequest
    from batch_assets.settings import Settings

_INTERRUPTED = 130
_DOMAINS = ("market",)

# A daemon beats every 30 s; one that is silent for so long does not run.
_DAEMON_SILENT_SECONDS = 120


def backfill(
    domain: Annotated[
        str | None, typer.Argument(help="What to load: market. Not with --plan.")
    ] = None,
    *,
    first: FirstOrNone = None,
    last: Last = None,
    feed: FeedName = None,
    symbols: Symbols = None,
    force: Force = False,
    priority: Annotated[
        int, typer.Option(help="Larger goes first; schedules have 0.", min=-1000, max=1000)
    ] = -10,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Load exactly what `plan market --out` wrote.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be launched, launch nothing.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Do not follow it: print its number.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit report at the end.")] = None,
    lang: Annotated[
        Language | None, typer.Option(help="Default: [display] language, else LANG.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="NDJSON on stdout, one event a line.")
    ] = False,
) -> None:
    """Launch a Dagster backfill and follow it to its end.

    0: all loaded or skipped. 1: nothing was loaded. 3: over a limit of rejected rows or a rule of
    the day. 4: some days failed. 5: somebody else loads them. 6: the source does not answer. 130:
    interrupted; the backfill goes on.
    """
    from batch_assets.ops.backfills.market import request_range
    from batch_assets.ops.backfills.plan_file import request_plan
    from batch_assets.settings import load_settings

    settings = load_settings()
    if plan is not None:
        if domain or first or last or feed or symbols or force:
            raise typer.BadParameter("--plan says what to load; leave the other options away")
        request = request_plan(settings, plan, priority=priority)
    else:
        request = request_range(
            settings,
            feed,
            *_days(domain, first, last),
            symbols=tuple(symbols or ()),
            is_forced=force,
            priority=priority,
        )
    if dry_run:
        _say(f"would launch {len(request.keys)} days, {request.keys[0]} to {request.keys[-1]}")
        return
    _launch(settings, request, detach=detach, junit=junit, lang=lang, as_json=as_json)


def _days(
    domain: str | None, first: datetime | None, last: datetime | None
) -> tuple[date, date | None]:
    if domain not in _DOMAINS:
        raise typer.BadParameter(f"what to load is {domain!r}, expected {' or '.join(_DOMAINS)}")
    if first is None:
        raise typer.BadParameter("--from is missing: the first trade date to load")
    return first.date(), day_of(last)


def _launch(
    settings: "Settings",
    request: "BackfillRequest",
    *,
    detach: bool,
    junit: Path | None,
    lang: Language | None,
    as_json: bool,
) -> None:
    from batch_assets.ops.backfills.requests import launch
    from batch_assets.ops.service import changing

    with changing() as (conn, actor):
        launched = launch(conn, request, actor)
    if detach:
        sys.stdout.write(f"{launched.backfill.backfill_id}\n")
        return
    follow_to_end(
        settings,
        launched.backfill,
        is_new=launched.is_new,
        junit=junit,
        lang=lang,
        as_json=as_json,
    )


def follow_to_end(
    settings: "Settings",
    followed: "Backfill",
    *,
    is_new: bool = True,
    junit: Path | None = None,
    lang: Language | None = None,
    as_json: bool = False,
) -> None:
    """Tell a backfill's progress until it ends; exits with its status if that is not 0."""
    from functools import partial

    from batch_assets.ops.backfills.follow import exit_status, follow
    from batch_assets.ops.backfills.read import read_errors, read_outcomes
    from batch_assets.ops.cli.interrupts import stop_on_signals
    from batch_assets.ops.cli.live import choose_teller
    from batch_assets.ops.display import language_of, zone_of
    from batch_assets.ops.service import ready_database_url
    from batch_assets.postgres.connect import connect

    teller = choose_teller(
        as_json=as_json,
        language=language_of(settings, lang),
        zone=zone_of(settings, followed.feed),
    )
    open_connection = partial(connect, ready_database_url(), application_name="batch_assets follow")
    stop = stop_on_signals()
    teller.started(followed, is_new=is_new)
    _warn_without_daemon(settings)
    for progress in follow(open_connection, followed.backfill_id, stop=stop):
        teller.moved(progress)
    with open_connection() as conn:
        errors = list(read_errors(conn, followed.backfill_id, limit=0).errors)
        outcomes = read_outcomes(conn, followed.backfill_id)
    teller.ended(progress, errors)
    _exit_if_interrupted(stop, progress.backfill)
    if junit is not None:
        from batch_assets.ops.backfills.documents import write_junit

        write_junit(junit, progress, outcomes, errors)
    if status := exit_status(progress, errors):
        raise typer.Exit(status)


def _exit_if_interrupted(stop: "threading.Event", followed: "Backfill") -> None:
    if not stop.is_set() or followed.state.is_final:
        return
    number = followed.backfill_id
    _say(
        f"interrupted: backfill {number} goes on; `batch-assets status {number} --watch` follows "
        f"it, `batch-assets cancel {number}` ends it"
    )
    raise typer.Exit(_INTERRUPTED)


def _warn_without_daemon(settings: "Settings") -> None:
    """Say so where nobody will begin: a launch is a row until a daemon reads it."""
    from batch_assets.ops.service import daemon_silence_seconds

    silence = daemon_silence_seconds(settings)
    if silence is None or silence > _DAEMON_SILENT_SECONDS:
        _say("no Dagster daemon runs on this database: it begins with `batch-assets up`")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
