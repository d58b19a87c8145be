"""`batch-assets devices relay`: send what waits in the outbox."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

UNAVAILABLE = 6


def relay(
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until it is interrupted or told to stop.")
    ] = False,
    retry_dead: Annotated[
        bool, typer.Option("--retry-dead", help="Send messages again that were given up.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what waits, send nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send alerts and states that wait in the outbox; exit with 6 if a destination is not there.

    The continuous mode and loads of files do this too; here it is for whoever repaired something.
    """
    from batch_assets.ops.cli.interrupts import stop_on_signals
    from batch_assets.ops.device_relay import list_backlogs, relay_devices, watch_devices

    if dry_run:
        found = list_backlogs()
        if as_json:
            sys.stdout.write(json.dumps([asdict(one) for one in found], ensure_ascii=False) + "\n")
            return
        for one in found:
            sys.stdout.write(
                f"{one.destination}: {one.waiting} waiting, {one.held_back} of them refused "
                f"before, {one.dead} dead\n"
            )
        if not found:
            sys.stdout.write("nothing waits\n")
        return
    if watch:
        watch_devices(stop_on_signals())
        return
    report = relay_devices(retry_dead=retry_dead)
    shown = {**asdict(report), "held_shards": sorted(report.held_shards)}
    if as_json:
        sys.stdout.write(json.dumps(shown, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(
            f"{report.sent} sent, {report.refused} refused, {report.dead} given up; "
            f"{len(report.held_shards)} shards are sent by another relay\n"
        )
    for reason in report.unavailable.values():
        sys.stderr.write(f"{reason}\n")
    if report.unavailable:
        raise typer.Exit(UNAVAILABLE)
