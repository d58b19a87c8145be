"""`batch-assets spreadsheets`: propose a template, check a file, load files by hand."""

import json
import re
import sys
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from batch_assets.contracts.batch import RejectedRow
    from batch_assets.ingest.spreadsheets.check import CheckReport

app = typer.Typer(help="Workbooks and CSV files by template.", no_args_is_help=True)

_OVER_BUDGET, _PARTIAL = 3, 4
_File = Annotated[Path, typer.Argument(help="Workbook or delimited text.")]
_Template = Annotated[
    str,
    typer.Option("--template", "-t", help="Name, or a .toml file; default: by the file's name."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def infer(
    file: _File,
    *,
    name: Annotated[str, typer.Option(help="Of the template; default: from the file.")] = "",
    table: Annotated[str, typer.Option(help="schema.table; default: from the file.")] = "",
) -> None:
    """Propose a template from an example file, as TOML with the evidence in comments."""
    from batch_assets.sources.spreadsheets.infer import infer_template
    from batch_assets.sources.spreadsheets.render import render_toml

    stem = re.sub(r"[^a-z0-9]+", "_", file.stem.lower()).strip("_0123456789") or "sheet"
    proposal = infer_template(file)
    name = name or stem
    sys.stdout.write(render_toml(proposal, name, table or f"sheets.{name}"))
    sys.stderr.write(
        f"{proposal.rows} rows looked at; read it, correct it, save it as {name}.toml\n"
        f"next: batch-assets spreadsheets check {file} --template {name}.toml\n"
    )


@app.command()
def check(
    file: _File,
    *,
    template: _Template = "",
    limit: Annotated[
        int, typer.Option(help="Rejected rows to print; 0 for all. --json has all.")
    ] = 50,
    as_json: _Json = False,
) -> None:
    """Validate a file without loading it; 1 if rows would be rejected, 3 if too many."""
    from batch_assets.ops.spreadsheets import check as check_file
    from batch_assets.ops.spreadsheets import choose_template
    from batch_assets.settings import load_settings

    settings = load_settings()
    chosen = choose_template(settings, template, file)
    report = check_file(settings, chosen, file)
    if as_json:
        sys.stdout.write(json.dumps(asdict(report), indent=2, default=str) + "\n")
    else:
        _print_rejects(report, limit)
    for warning in report.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    rejected = len(report.rejected)
    sys.stderr.write(
        f"{report.file}: {report.read} rows, {report.good} good, {report.duplicate} duplicate, "
        f"{report.skipped} skipped, {rejected} rejected\n"
    )
    if not rejected:
        if not report.read:
            raise typer.Exit(1)
        return
    rows = chosen.reject_limit_rows
    ratio = chosen.reject_limit_ratio
    most = settings.loading.reject_limit_rows if rows is None else rows
    share = settings.loading.reject_limit_ratio if ratio is None else ratio
    is_over = rejected > most or rejected > share * report.read
    if is_over:
        sys.stderr.write(f"a load would fail: allowed are {most} rows and {share:.1%}\n")
    raise typer.Exit(_OVER_BUDGET if is_over else 1)


def _print_rejects(report: "CheckReport", limit: int) -> None:
    if not report.rejected:
        return
    shown = report.rejected[:limit] if limit else report.rejected
    table = Table("place", "column", "rule", "value", "expected", "what to do")
    for row in shown:
        for violation in row.violations:
            table.add_row(
                _place(row, violation.cell),
                violation.column,
                violation.rule,
                violation.observed or "",
                violation.expected,
                violation.hint,
            )
    Console().print(table)
    if len(shown) < len(report.rejected):
        more = len(report.rejected) - len(shown)
        sys.stderr.write(f"{more} more rejected rows; --limit 0 prints all\n")


def _place(row: "RejectedRow", cell: str) -> str:
    place = cell or f"row {row.row}"
    return f"{row.sheet}!{place}" if row.sheet else place


@app.command()
def load(
    files: Annotated[list[Path], typer.Argument(help="All files of the day.")],
    *,
    template: _Template = "",
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Arrival; default: today, UTC.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Read known files again.")] = False,
    as_json: _Json = False,
) -> None:
    """Load files into the table of their template; 4 if some of several failed."""
    from datetime import UTC

    from batch_assets.ops.cli.failures import exit_code
    from batch_assets.ops.spreadsheets import choose_template
    from batch_assets.ops.spreadsheets import load as load_files
    from batch_assets.settings import load_settings

    settings = load_settings()
    chosen = choose_template(settings, template, files[0])
    arrival: date = day.date() if day else datetime.now(UTC).date()
    failed = done = 0
    status = 1
    for report in load_files(settings, chosen, files, arrival, force=force):
        done += 1
        ledger = report.load.ledger
        if as_json:
            line = {
                "window": report.load.window.key,
                "files": report.files,
                "state": report.load.state,
                **asdict(ledger),
                "message": report.message,
                "warnings": report.warnings,
                "error_workbook": str(report.error_workbook) if report.error_workbook else None,
            }
            sys.stdout.write(json.dumps(line) + "\n")
        else:
            sys.stdout.write(
                f"{report.load.window.key}  {report.load.state}  read {ledger.read} = "
                f"{ledger.inserted} inserted + {ledger.updated} updated + "
                f"{ledger.unchanged} unchanged + {ledger.duplicate} duplicate + "
                f"{ledger.rejected} rejected + {ledger.skipped} skipped\n"
            )
        for text in (*report.warnings, report.message):
            sys.stderr.write(f"{text}\n" if text else "")
        if report.error_workbook is not None:
            sys.stderr.write(f"rejected rows to correct: {report.error_workbook}\n")
        if report.load.error is not None:
            failed += 1
            status = exit_code(report.load.error)
    if failed:
        raise typer.Exit(_PARTIAL if failed < done else status)
