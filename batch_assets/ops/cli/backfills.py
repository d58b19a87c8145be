"""Commands about backfills that are there: look at them, change what is wanted of them."""

import json
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from batch_assets.ops.language import Language

if TYPE_CHECKING:
    import psycopg

    from batch_assets.ops.backfills.values import Backfill

_Number = Annotated[int, typer.Argument(help="Number of the backfill.")]
_NumberOrNewest = Annotated[
    int | None, typer.Argument(help="Number of the backfill; default: the newest.")
]
_Feed = Annotated[str | None, typer.Option("--feed", help="A feed, whoever launched its runs.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Lang = Annotated[
    Language | None, typer.Option("--lang", help="Default: [display] language, else LANG.")
]

# Between two looks of `status --watch`: 2 ms of the server and 15 ms of this process each.
_WATCH_EVERY_SECONDS = 2.0


def status(
    number: Annotated[
        int | None, typer.Argument(help="Number of a backfill; default: all that have not ended.")
    ] = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Renew it until Ctrl-C.")] = False,
    lang: _Lang = None,
    as_json: _Json = False,
) -> None:
    """How far backfills are."""
    from batch_assets.ops.cli.interrupts import stop_on_signals
    from batch_assets.ops.cli.listing import StatusView
    from batch_assets.ops.service import asking
    from batch_assets.settings import load_settings

    view = StatusView(load_settings(), number, lang, as_json=as_json)
    stop = stop_on_signals() if watch else threading.Event()
    with asking() as conn:
        view.show(conn)
        if watch:
            view.watch(conn, stop, every_seconds=_WATCH_EVERY_SECONDS)


def errors(
    number: _NumberOrNewest = None,
    *,
    xlsx: Annotated[Path | None, typer.Option(help="Write a workbook.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page.")] = None,
    limit: Annotated[int, typer.Option(help="Lines to print; 0 for all.", min=0)] = 50,
    as_json: _Json = False,
) -> None:
    """Partitions that did not end well, newest first; 1 if there are any."""
    from batch_assets.ops.backfills.documents import error_document, event_document
    from batch_assets.ops.backfills.error_report import write_error_report
    from batch_assets.ops.backfills.read import read_errors, read_progress
    from batch_assets.ops.backfills.texts import error_line
    from batch_assets.ops.display import zone_of
    from batch_assets.ops.service import asking
    from batch_assets.settings import load_settings

    with asking() as conn:
        chosen = _newest(conn, number)
        zone = zone_of(load_settings(), chosen.feed)
        progress = read_progress(conn, chosen.backfill_id, datetime.now(UTC))
        for path in filter(None, (xlsx, html)):
            counts = write_error_report(conn, path, zone, progress)
            _say(f"{counts[0]} days and {counts[1]} reasons of rejected rows written to {path}")
        page = read_errors(conn, chosen.backfill_id, limit=limit)
    for error in page.errors:
        if as_json:
            document = event_document("error", **error_document(error, zone))
            sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        else:
            place = f"[{error.position}/{progress.total}]"
            sys.stdout.write(f"{place} {error.state}  {error_line(error)}\n")
    more = page.total - len(page.errors)
    _say(f"backfill {chosen.backfill_id}: {page.total} days did not end well")
    if more:
        _say(f"{more} more; --limit 0 prints all")
    if page.total:
        raise typer.Exit(1)


def retry(
    number: _NumberOrNewest = None,
    *,
    failed: Annotated[
        bool, typer.Option("--failed", help="What did not end well, and nothing else.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Do not follow it: print its number.")
    ] = False,
    lang: _Lang = None,
    as_json: _Json = False,
) -> None:
    """Load what failed of a backfill that has ended as a new one; exits as `backfill`."""
    from batch_assets.ops.backfills.changes import retry_failed
    from batch_assets.ops.cli.backfill import follow_to_end
    from batch_assets.ops.service import changing
    from batch_assets.settings import load_settings

    if not failed:
        raise typer.BadParameter("what to retry is missing: --failed")
    with changing() as (conn, actor):
        launched = retry_failed(conn, _newest(conn, number).backfill_id, actor)
    if detach:
        sys.stdout.write(f"{launched.backfill.backfill_id}\n")
        return
    follow_to_end(
        load_settings(), launched.backfill, is_new=launched.is_new, lang=lang, as_json=as_json
    )


def pause(
    number: Annotated[int | None, typer.Argument(help="Number of the backfill.")] = None,
    *,
    feed: _Feed = None,
) -> None:
    """Begin no more partitions of a backfill or a feed; those being loaded end."""
    from batch_assets.ops.backfills import changes

    if feed is not None:
        _change_feed(number, feed, changes.pause_feed, "paused", "was paused before")
    else:
        _change(number, changes.pause)


def resume(
    number: Annotated[int | None, typer.Argument(help="Number of the backfill.")] = None,
    *,
    feed: _Feed = None,
) -> None:
    """Go on with a backfill or a feed."""
    from batch_assets.ops.backfills import changes

    if feed is not None:
        _change_feed(number, feed, changes.resume_feed, "goes on", "was not paused")
    else:
        _change(number, changes.resume)


def cancel(number: _Number) -> None:
    """End a backfill; what is committed stays, and one that has ended is never changed."""
    from batch_assets.ops.backfills import changes

    _change(number, changes.cancel)


def priority(
    number: _Number,
    value: Annotated[
        int, typer.Argument(help="Larger goes first; schedules have 0.", min=-1000, max=1000)
    ],
) -> None:
    """Reorder a backfill among the runs that wait."""
    from batch_assets.ops.backfills.changes import set_priority
    from batch_assets.ops.service import changing

    with changing() as (conn, actor):
        changed = set_priority(conn, number, value, actor)
    _say(f"backfill {number} has priority {changed.priority}")


def history(
    number: Annotated[
        int | None, typer.Argument(help="Of one backfill: who did what. Default: all backfills.")
    ] = None,
    *,
    feed: Annotated[str | None, typer.Option("--feed", help="Of this feed.")] = None,
    limit: Annotated[int, typer.Option(help="Lines to print.", min=1)] = 20,
    before: Annotated[
        int | None, typer.Option(help="Only older ones: the last number printed before.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Backfills, newest first; with a number, who did what to that one."""
    from batch_assets.ops.cli.listing import print_audit, print_backfills
    from batch_assets.ops.service import asking
    from batch_assets.settings import load_settings

    settings = load_settings()
    with asking() as conn:
        if number is not None:
            print_audit(conn, settings, number, as_json=as_json)
        else:
            print_backfills(
                conn, settings, feed=feed, before_id=before, limit=limit, as_json=as_json
            )


def _change(
    number: int | None, change: "Callable[[psycopg.Connection, int, str], Backfill]"
) -> None:
    from batch_assets.ops.service import changing

    if number is None:
        raise typer.BadParameter("name a backfill by its number, or a feed with --feed")
    with changing() as (conn, actor):
        changed = change(conn, number, actor)
    _say(f"backfill {number} is {changed.phase}")


def _change_feed(
    number: int | None,
    feed: str,
    change: "Callable[[psycopg.Connection, str, str], bool]",
    done: str,
    not_done: str,
) -> None:
    from batch_assets.ops.market import choose_feed
    from batch_assets.ops.service import changing
    from batch_assets.settings import load_settings
    from batch_assets.sources.market.feed import build_feeds

    if number is not None:
        raise typer.BadParameter("a number and --feed exclude each other")
    settings = load_settings()
    choose_feed(build_feeds(settings.section("market"), settings.config_dir), feed)
    with changing() as (conn, actor):
        is_changed = change(conn, feed, actor)
    _say(f"feed {feed} {done if is_changed else not_done}")


def _newest(conn: "psycopg.Connection", number: int | None) -> "Backfill":
    from batch_assets.errors import UnknownBackfill
    from batch_assets.ops.backfills.read import list_backfills, read_backfill

    if number is not None:
        return read_backfill(conn, number)
    found = list_backfills(conn, limit=1)
    if not found:
        raise UnknownBackfill(
            "there is no backfill yet, expected one; launch it with `batch-assets backfill`"
        )
    return found[0]


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
