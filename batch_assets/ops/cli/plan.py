"""`batch-assets plan`: what a run would do, before anything is asked or written."""

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from batch_assets.ops.cli.range_options import FeedName, First, Force, Last, Symbols, day_of

if TYPE_CHECKING:
    from batch_assets.sources.market.plan import Plan

app = typer.Typer(help="Show what a run would do; nothing is asked or written.")


@app.callback()
def _plan() -> None:
    """Keep `market` a command of its own name while it is the only one."""


@app.command()
def market(
    *,
    first: First,
    last: Last = None,
    feed: FeedName = None,
    symbols: Symbols = None,
    force: Force = False,
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
        day_of(last),
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
