"""`batch-assets doctor`: one line per layer."""

import sys

import typer
from rich.console import Console


def doctor() -> None:
    """Check each layer from settings to newest load; stop at the first that is broken."""
    from batch_assets.ops.doctor import examine

    console = Console(highlight=False, soft_wrap=True)
    for finding in examine():
        colour = {"ok": "green", "warn": "yellow", "broken": "red"}[finding.verdict]
        console.print(
            f"[{colour}]{finding.verdict:<6}[/] {finding.layer:<16} ", end="", markup=True
        )
        console.print(finding.text, markup=False)
        if finding.next_command:
            sys.stdout.flush()
            console.print(f"       next: {finding.next_command}", markup=False)
        if finding.verdict == "broken":
            raise typer.Exit(finding.exit_code)
