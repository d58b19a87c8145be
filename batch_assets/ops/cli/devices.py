"""`batch-assets devices`: run the continuous mode, load files, look at shards and change them."""

import json
import sys
from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from batch_assets.ops.cli import device_shadow
from batch_assets.ops.cli.device_relay import relay

if TYPE_CHECKING:
    from batch_assets.ops.devices import DeviceStatus

PARTIAL = 4

app = typer.Typer(help="Records of devices, in shards.", no_args_is_help=True)
app.command()(relay)
app.add_typer(device_shadow.app, name="shadow")

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("run")
def run_(
    *,
    no_files: Annotated[
        bool, typer.Option("--no-files", help="Write the inbox alone, not the landing folder.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Write records as they come, until it is interrupted or told to stop (SIGTERM).

    Any number of hosts may run it: they share the shards, and take over from one that dies.
    """
    from batch_assets.ops.cli.interrupts import stop_on_signals
    from batch_assets.ops.devices import run_devices

    stop = stop_on_signals()
    sys.stderr.write("devices run: writing what comes; Ctrl-C or SIGTERM ends it\n")
    report = run_devices(stop, with_files=not no_files)
    shown = {**asdict(report.ledger), "failures": report.failures}
    if as_json:
        sys.stdout.write(json.dumps(shown) + "\n")
    else:
        counts = ", ".join(f"{count} {name}" for name, count in shown.items() if count)
        sys.stdout.write(f"{counts or 'nothing came'}\n")


@app.command()
def load(
    folder: Annotated[
        Path | None, typer.Argument(help="Default: landing of [devices].", exists=True)
    ] = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what waits, load nothing.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Load what waits in the landing folder and in the inbox, once.

    Exits with 4 if some of it is left: a shard that another worker writes, a file that is broken.
    """
    from batch_assets.ops.devices import list_device_work, load_devices

    if dry_run:
        files, inbox_rows = list_device_work(folder)
        if as_json:
            sys.stdout.write(json.dumps({"files": files, "inbox_rows": inbox_rows}) + "\n")
        else:
            sys.stdout.write("".join(f"{path}\n" for path in files))
            sys.stdout.write(f"{inbox_rows} records in the inbox\n")
        return
    report = load_devices(folder)
    shown = {
        **asdict(report.ledger),
        "failed_shards": {str(n): str(error) for n, error in report.failed_shards.items()},
        "failed_files": dict(report.failed_files),
    }
    if as_json:
        sys.stdout.write(json.dumps(shown, ensure_ascii=False) + "\n")
    else:
        counts = asdict(report.ledger).items()
        said = ", ".join(f"{count} {name}" for name, count in counts if count)
        sys.stdout.write(f"{said or 'nothing waits'}\n")
    for shard, error in report.failed_shards.items():
        sys.stderr.write(f"shard {shard}: {error}\n")
    for path, reason in report.failed_files.items():
        sys.stderr.write(f"{path}: {reason}\n")
    if report.failed_shards or report.failed_files:
        raise typer.Exit(PARTIAL)


@app.command()
def status(*, as_json: _Json = False) -> None:
    """What waits in the inbox and how long, who writes which shard, and how fast."""
    from batch_assets.ops.devices import read_device_status

    found = read_device_status()
    if as_json:
        sys.stdout.write(json.dumps(asdict(found), indent=2, ensure_ascii=False) + "\n")
        return
    _print_status(found)


def _print_status(found: "DeviceStatus") -> None:
    table = Table(
        "shard", "waiting", "oldest s", "holder", "rows/h", "p50 s", "p95 s", "p99 s", "last error"
    )
    for one in found.shards:
        batches = one.batches
        seconds = batches.seconds if batches is not None else None
        table.add_row(
            str(one.shard),
            f"{one.waiting_rows:,}",
            "" if one.oldest_seconds is None else f"{one.oldest_seconds:.1f}",
            one.holder or "nobody",
            f"{batches.row_count:,}" if batches is not None else "",
            *([f"{value:.3f}" for value in seconds] if seconds is not None else [""] * 3),
            one.last_error or "",
        )
    Console().print(table)
    oldest = (
        "" if found.oldest_seconds is None else f", the oldest for {found.oldest_seconds:.1f} s"
    )
    sys.stdout.write(
        f"inbox {found.inbox_rows:,} of {found.inbox_rows_max:,}{oldest}; "
        f"{found.workers} workers; files {found.waiting_files} waiting, "
        f"{found.failed_files} failed\n"
    )


@app.command()
def silent(
    *,
    limit: Annotated[int, typer.Option(help="Lines to print; 0 for all.", min=0)] = 50,
    as_json: _Json = False,
) -> None:
    """Devices that sent records and then stopped; 1 if there are any."""
    from batch_assets.monitoring.messages import amount
    from batch_assets.ops.devices import list_silent_devices
    from batch_assets.settings import load_settings
    from batch_assets.sources.devices.settings import read_device_settings

    settings = load_settings()
    found = list_silent_devices(settings, limit=limit or None)
    table = Table("device", "newest record", "silent for")
    for device in found:
        newest = device.measured_at.astimezone(UTC).isoformat(timespec="seconds")
        if as_json:
            line = {
                "version": 1,
                "event": "silent_device",
                "device_sn": device.device_sn,
                "measured_at": newest,
                "silent_seconds": round(device.silent_seconds, 1),
            }
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        table.add_row(device.device_sn, newest, amount("silent_seconds", device.silent_seconds))
    allowed = amount("silent_seconds", read_device_settings(settings).silent_seconds)
    count = found[0].silent_count if found else 0
    if found and not as_json:
        Console().print(table)
    sys.stderr.write(f"{count} devices sent nothing for more than {allowed}\n")
    if found:
        raise typer.Exit(1)


@app.command()
def shards(*, as_json: _Json = False) -> None:
    """The map: how many of the 256 buckets each shard has, and who writes it."""
    from batch_assets.ops.devices import read_device_status

    found = read_device_status().shards
    if as_json:
        shown = [{"shard": s.shard, "buckets": s.buckets, "holder": s.holder} for s in found]
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
        return
    table = Table("shard", "buckets", "holder")
    for one in found:
        table.add_row(str(one.shard), str(one.buckets), one.holder or "nobody")
    Console().print(table)


@app.command()
def reshard(
    count: Annotated[int, typer.Argument(help="How many shards from now on.", min=1, max=256)],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would move, change nothing.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Change the number of shards while they are written; each device keeps its order."""
    from batch_assets.ops.devices import reshard as change

    done = change(count, dry_run=dry_run)
    if as_json:
        sys.stdout.write(json.dumps(asdict(done)) + "\n")
        return
    verb = "would move" if dry_run else "moved"
    sys.stdout.write(
        f"{done.moved_buckets} of 256 buckets {verb}: "
        f"{done.shards_before} shards -> {done.shards}\n"
    )
