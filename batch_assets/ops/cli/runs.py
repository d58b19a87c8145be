"""`batch-assets runs`: Dagster runs, as far as Dagster's own commands leave something out."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

# As long as the UI shows them; --json has them in full.
_SHORT_ID = 8

app = typer.Typer(help="Look after Dagster runs.", no_args_is_help=True)


@app.callback()
def _runs() -> None:
    """Keep `repair` a command of its own name while it is the only one."""


@app.command()
def repair(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be repaired, change nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """End runs whose process is gone and free their pool slots and leases.

    Whatever lives is left alone. A running daemon, `up` and every new run do the same by
    themselves.
    """
    from batch_assets.ops.service import repair_runs

    repaired = repair_runs(dry_run=dry_run)
    if as_json:
        sys.stdout.write(json.dumps([asdict(item) for item in repaired], indent=2) + "\n")
    elif repaired:
        table = Table("run", "job", "action", "leases", "loads", "what was seen")
        table.columns[0].no_wrap = True
        for item in repaired:
            run = (item.run_id or "-")[:_SHORT_ID]
            counts = ("", "") if dry_run else (str(item.ended_leases), str(item.closed_loads))
            table.add_row(run, item.job_name, item.action, *counts, item.seen)
        Console().print(table)
    verb = "to repair" if dry_run else "repaired"
    sys.stderr.write(f"{verb}: {len(repaired)}\n" if repaired else "nothing to repair\n")
