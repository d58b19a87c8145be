"""`batch-assets plan`: what a run would do, before anything is asked or written."""

import json
import sys
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Days of a feed with the reason to fetch them, calls, rows and seconds."""
    from batch_assets.ops.market import plan_market

    plan = plan_market(
        feed,
        first.date(),
        None if last is None else last.date(),
        symbols=tuple(symbols or ()),
        is_forced=force,
    )
    if as_json:
        sys.stdout.write(json.dumps(as_document(plan), indent=2, ensure_ascii=False) + "\n")
    else:
        _print(plan)
    if check and plan.needed_days:
        raise typer.Exit(1)


def as_document(plan: "Plan") -> dict[str, Any]:
    """The plan as JSON: days one by one, seconds rounded, null for what is not known."""
    return {
        "version": 1,
        "feed": plan.feed,
        "days_asked": len(plan.days),
        "days_needed": plan.needed_days,
        "reasons": plan.reasons,
        "calls": plan.calls,
        "rows": plan.rows,
        "seconds_p50": _rounded(plan.seconds),
        "seconds_p90": _rounded(plan.seconds_p90),
        "tokens_left": _rounded(plan.tokens_left),
        "groups": [
            {
                "route": group.route,
                "days_needed": group.needed_days,
                "calls": group.calls,
                "symbols": None if group.symbols is None else list(group.symbols),
            }
            for group in plan.groups
        ],
        "days": [
            {"day": day.day.isoformat(), "why": day.why, "is_needed": day.is_needed}
            for day in plan.days
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


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
