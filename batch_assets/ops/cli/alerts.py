"""`batch-assets alerts`: what fires, what fired, and whether channels work."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="List alerts, and test their channels.", no_args_is_help=True)


@app.command("list")
def list_(
    *,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="The most to list.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line.")] = False,
) -> None:
    """List alerts that fire or wait to fire, newest first."""
    from batch_assets.monitoring.messages import amount
    from batch_assets.ops.display import time_text, zone_of
    from batch_assets.ops.monitoring import list_alerts
    from batch_assets.ops.service import changing
    from batch_assets.settings import load_settings

    zone = zone_of(load_settings())
    with changing() as (conn, _):
        found = list_alerts(conn, is_open=not all_, limit=limit)
    if as_json:
        for alert in found:
            sys.stdout.write(json.dumps(asdict(alert), default=str) + "\n")
        return
    table = Table("rule", "about", "severity", "state", "seen", "allowed", "since", "over")
    for alert in found:
        table.add_row(
            alert.rule,
            alert.subject,
            alert.severity,
            alert.state.value,
            amount(alert.metric, alert.value),
            amount(alert.metric, alert.allowed),
            time_text(alert.broken_since, zone),
            time_text(alert.resolved_at, zone) if alert.resolved_at else "",
        )
    Console().print(table)


@app.command("test")
def try_channels(
    channels: Annotated[
        list[str] | None, typer.Argument(help="Of [alerts.channels]; default: all.")
    ] = None,
) -> None:
    """Send a test message to channels; exit status 1 if one does not take it."""
    from batch_assets.ops.monitoring import send_test
    from batch_assets.settings import load_settings

    is_good = True
    for name, problem in send_test(load_settings(), channels or ()):
        sys.stdout.write(f"{name}: {problem or 'sent'}\n")
        is_good = is_good and not problem
    if not is_good:
        raise typer.Exit(1)
