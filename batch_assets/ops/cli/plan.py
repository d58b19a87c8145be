"""`batch-assets plan`: what a run would do, before anything is asked or written."""

import json
import sys
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from batch_assets.sources.market.plan import Plan

app = typer.Typer(help="Show what a run would do; nothing is asked or written.")

_DAY_FORMAT = ["%Y-%m-%d"]


@app.callback()
def _plan() -> None:
    """Keep `market` a command of its own name while it is the only one."""


@app.command()
def market(
    *,
    first: Annotated[
        datetime, typer.Option("--from", formats=_DAY_FORMAT, help="First trade date.")
    ],
    last: Annotated[
        datetime | None,
        typer.Option("--to", formats=_DAY_FORMAT, help="Last trade date; default: the newest due."),
    ] = None,
    feed: Annotated[
        str | None, typer.Option("--feed", help="Name of a feed; default: [market] default_feed.")
    ] = None,
    symbols: Annotated[
        list[str] | None, typer.Option("--symbol", help="Fetch this symbol alone; repeatable.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Fetch days that are there, too.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if there is anything to fetch.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the plan for `backfill --plan`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Days of a feed with the reason to fetch them, calls, rows and seconds."""
    from batch_assets.ops.backfills.plan_file import plan_document
    from batch_assets.ops.market import plan_market

    plan = plan_market(
        feed,
        first.date(),
        None if last is None else last.date(),
        symbols=tuple(symbols or ()),
        is_forced=force,
    )
    text = json.dumps(plan_document(plan), indent=2, ensure_ascii=False) + "\n"
    if out is not None:
        out.write_text(text, encoding="utf-8")
        sys.stderr.write(f"next: batch-assets backfill --plan {out}\n")
    if as_json:
        sys.stdout.write(text)
    else:
        _print(plan)
    if check and plan.needed_days:
        raise typer.Exit(1)


def _print(plan: "Plan") -> None:
    table = Table("from", "to", "days", "why", "fetched")
    for (why, is_needed), days in groupby(plan.days, key=lambda day: (day.why, day.is_needed)):
        listed = [day.day.isoformat() for day in days]
        table.add_row(
            listed[0], listed[-1], str(len(listed)), str(why), "yes" if is_needed else "no"
        )
    console = Console()
    console.print(table)
    known = Table("feed", "days to fetch", "how", "calls", "rows", "seconds", "calls left at once")
    known.add_row(
        plan.feed,
        f"{plan.needed_days} of {len(plan.days)}",
        ", ".join(dict.fromkeys(str(group.route) for group in plan.groups)) or "-",
        str(plan.calls),
        "unknown" if plan.rows is None else f"about {plan.rows}",
        seconds_text(plan),
        "no limit" if plan.tokens_left is None else f"{plan.tokens_left:.0f}",
    )
    console.print(known)


def seconds_text(plan: "Plan") -> str:
    """`12 to 30`; what only the vendor's limit tells is a lower bound."""
    if plan.seconds is None:
        return "unknown"
    if plan.seconds_p90 is None or plan.seconds_p90 == plan.seconds:
        return f"{plan.seconds:.0f} or more"
    return f"{plan.seconds:.0f} to {plan.seconds_p90:.0f}"
