"""Options that say which days of which feed: shared by `plan` and `backfill`."""

from datetime import date, datetime
from typing import Annotated

import typer

_DAY_FORMAT = ["%Y-%m-%d"]
_FIRST = typer.Option("--from", formats=_DAY_FORMAT, help="First trade date.")

First = Annotated[datetime, _FIRST]
FirstOrNone = Annotated[datetime | None, _FIRST]
Last = Annotated[
    datetime | None,
    typer.Option("--to", formats=_DAY_FORMAT, help="Last trade date; default: the newest due."),
]
FeedName = Annotated[
    str | None, typer.Option("--feed", help="Name of a feed; default: [market] default_feed.")
]
Symbols = Annotated[
    list[str] | None, typer.Option("--symbol", help="Fetch this symbol alone; repeatable.")
]
Force = Annotated[bool, typer.Option("--force", help="Fetch days that are there, too.")]


def day_of(given: datetime | None) -> date | None:
    """The date of an option; None where it was left out."""
    return None if given is None else given.date()
