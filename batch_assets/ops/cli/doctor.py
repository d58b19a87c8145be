"""`batch-assets doctor`: one line per layer."""

import typer
from rich.console import Console


def doctor() -> None:
    """Check each layer from settings to newest load; stop at the first that is broken."""
    from batch_assets.ops.cli.failures import exit_code
    from batch_assets.ops.doctor import examine

    console = Console(highlight=False, soft_wrap=True)
    for finding in examine():
        colour = {"ok": "green", "warn": "yellow", "broken": "red"}[finding.verdict]
        console.print(
            f"[{colour}]{finding.verdict:<6}[/] {finding.layer:<16} ", end="", markup=True
        )
        console.print(finding.text, markup=False)
        if finding.next_command:
            console.print(f"       next: {finding.next_command}", markup=False)
        if finding.error is not None:
            raise typer.Exit(exit_code(finding.error))
