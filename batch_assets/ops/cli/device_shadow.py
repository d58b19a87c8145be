"""`batch-assets devices shadow`: try new code on chosen buckets beside what is stored."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="New code on chosen buckets, beside what is stored.", no_args_is_help=True)

_Buckets = Annotated[str, typer.Option("--buckets", help="Of the 256: 0-15,32.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, change nothing.")]


@app.command()
def start(
    function: Annotated[str, typer.Argument(help="package.module:function of record batches.")],
    *,
    buckets: _Buckets,
    dry_run: _DryRun = False,
) -> None:
    """Run a function on the records of some buckets, and compare; what is stored stays as it is."""
    from batch_assets.ops.device_shadows import start as begin

    count = begin(function, buckets, dry_run=dry_run)
    verb = "would run" if dry_run else "runs"
    sys.stdout.write(f"{function} {verb} in shadow in {count} buckets\n")


@app.command()
def compare(
    *,
    buckets: _Buckets = "0-255",
    limit: Annotated[int, typer.Option("--limit", min=0, help="Differences that are shown.")] = 20,
    as_json: _Json = False,
) -> None:
    """How many rows were compared, and where they differ; exit with 1 if any does."""
    from batch_assets.ops.device_shadows import compare as look

    found = look(buckets, limit=limit)
    if as_json:
        sys.stdout.write(json.dumps(asdict(found), default=str, ensure_ascii=False) + "\n")
    else:
        table = Table("bucket", "stored by", "in shadow", "compared", "differing")
        for one in found.buckets:
            table.add_row(
                str(one.bucket),
                one.live_function or "as sent",
                one.shadow_function or "",
                f"{one.compared_rows:,}",
                f"{one.differing_rows:,}",
            )
        Console().print(table)
        for other in found.differences:
            said = other.reason or f"stored {other.stored}, shadow {other.shadow}"
            sys.stdout.write(
                f"{other.kind} {other.device_sn or ''} {other.measured_at or ''}: {said}\n"
            )
    if any(one.differing_rows for one in found.buckets if one.shadow_function is not None):
        raise typer.Exit(1)


@app.command()
def switch(
    *,
    buckets: _Buckets = "0-255",
    with_differences: Annotated[
        bool, typer.Option("--with-differences", help="Also where rows differ or none came yet.")
    ] = False,
    dry_run: _DryRun = False,
) -> None:
    """Store what the function in shadow gives, from the next batch on."""
    from batch_assets.ops.device_shadows import switch as go_over

    count = go_over(buckets, with_differences=with_differences, dry_run=dry_run)
    sys.stdout.write(f"{count} buckets {'would be ' if dry_run else ''}switched\n")


@app.command()
def rollback(*, buckets: _Buckets = "0-255", dry_run: _DryRun = False) -> None:
    """End shadows; where none runs, store again what was stored before the last switch."""
    from batch_assets.ops.device_shadows import roll_back

    count = roll_back(buckets, dry_run=dry_run)
    sys.stdout.write(f"{count} buckets {'would be ' if dry_run else ''}rolled back\n")
