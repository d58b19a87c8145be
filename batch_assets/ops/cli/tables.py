"""`batch-assets tables`: list, check and run transfers between tables."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from batch_assets.loading.report import LoadReport

app = typer.Typer(help="Transfers between tables.", no_args_is_help=True)

_DAY_FORMAT = ["%Y-%m-%d"]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(*, as_json: _Json = False) -> None:
    """Transfers of batch_assets.toml."""
    from batch_assets.ops.tables import list_transfers

    shown = [
        {
            "name": transfer.name,
            "source": transfer.origin,
            "target": transfer.target,
            "mode": transfer.mode.value,
            "key": ", ".join(transfer.key),
            "schedule": transfer.schedule,
        }
        for transfer in list_transfers()
    ]
    if as_json:
        sys.stdout.write(json.dumps(shown, indent=2, ensure_ascii=False) + "\n")
        return
    table = Table("transfer", "source", "target", "mode", "key", "schedule")
    for item in shown:
        table.add_row(*item.values())
    Console().print(table)


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Which; default: all.")] = None,
    *,
    as_json: _Json = False,
) -> None:
    """Connect to both sides and compare their types; exit with 1 if a transfer could not run."""
    from batch_assets.ops.tables import check_transfers

    checked = list(check_transfers(names or []))
    if as_json:
        sys.stdout.write(json.dumps([asdict(item) for item in checked], indent=2) + "\n")
    else:
        table = Table("transfer", "rows, about", "path", "problem", "note")
        for item in checked:
            rows = "" if item.rows is None else f"{item.rows:,}"
            table.add_row(item.name, rows, item.path, item.problem or "none", item.note)
        Console().print(table)
    if any(item.problem for item in checked):
        raise typer.Exit(1)


@app.command("run")
def run_(
    name: Annotated[str, typer.Argument(help="Name of the transfer.")],
    *,
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=_DAY_FORMAT, help="Of a transfer with a window_column."),
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=_DAY_FORMAT, help="Default: --from.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Stage from the beginning, whatever is staged.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Compare both sides, transfer nothing.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Run one transfer now."""
    from batch_assets.ops.tables import run_named

    if dry_run:
        check([name], as_json=as_json)
        return
    days = _days(first, last)
    reports = list(run_named(name, days, force=force))
    print_reports(reports, as_json=as_json)
    if any(report.state.value == "unconfirmed_empty" for report in reports):
        sys.stderr.write("the source has no rows; empty_ok = true says that this is an answer\n")
        raise typer.Exit(1)


def print_reports(reports: Sequence["LoadReport"], *, as_json: bool = False) -> None:
    """Print what became of each window.

    Raises:
        BatchAssetsError: The first failure among them.
    """
    for report in reports:
        _print(report, as_json=as_json)
    errors = [report.error for report in reports if report.error is not None]
    if errors:
        raise errors[0]


def _days(first: datetime | None, last: datetime | None) -> list[date]:
    if first is None:
        return []
    span = ((last or first) - first).days
    return [first.date() + timedelta(days=number) for number in range(span + 1)]


def _print(report: "LoadReport", *, as_json: bool) -> None:
    shown = {
        "window": report.window.key,
        "state": report.state.value,
        "reason": report.reason or None,
        "message": report.message or None,
        "load_id": report.load_id,
        **asdict(report.ledger),
        "seconds": round(report.wall_seconds, 3),
        "error": str(report.error) if report.error else None,
    }
    if as_json:
        sys.stdout.write(json.dumps(shown, ensure_ascii=False) + "\n")
        return
    counts = ", ".join(f"{count} {name}" for name, count in asdict(report.ledger).items() if count)
    sys.stdout.write(f"{report.window.key}  {report.state.value}  {counts or report.reason}\n")
    if report.message:
        sys.stderr.write(f"{report.message}\n")
