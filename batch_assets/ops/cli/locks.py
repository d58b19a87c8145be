"""`batch-assets locks` and `verify`: who writes what, and whether anything is stuck or wrong."""

import json
import sys
from typing import Annotated

import typer

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def locks(*, as_json: _Json = False) -> None:
    """Windows being written now, and by whom; dead ones are freed by `verify --repair`."""
    from rich.console import Console
    from rich.table import Table

    from batch_assets.ops.locks import list_locks
    from batch_assets.ops.service import asking

    with asking() as conn:
        found = list_locks(conn)
    if as_json:
        for lock in found:
            sys.stdout.write(json.dumps(lock.document(), ensure_ascii=False) + "\n")
        return
    table = Table("window", "holder", "held for", "last heard of", "state")
    for lock in found:
        state = "live" if lock.expires_in_seconds > 0 else "silent"
        table.add_row(
            lock.resource,
            lock.holder,
            f"{lock.held_seconds:.0f} s",
            f"{lock.silent_seconds:.0f} s ago",
            state,
        )
    if found:
        Console().print(table)
    sys.stderr.write(f"{len(found)} windows are being written\n")


def verify(
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="End dead runs and free what they held.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Look for what is stuck or wrong; 1 if there is anything left to do.

    Dead runs, leases and loads; loads that do not balance; days, documents and devices whose rows
    are not those that were published; staging that nobody uses; backfills that wait for a daemon.
    """
    from batch_assets.ops.verify import verify_all

    left = 0
    for finding in verify_all(repair=repair):
        left += not finding.is_repaired
        if as_json:
            sys.stdout.write(json.dumps(finding.document(), ensure_ascii=False) + "\n")
        else:
            mark = "repaired" if finding.is_repaired else "found"
            sys.stdout.write(f"{mark}: {finding.kind}: {finding.message}\n")
    if left:
        sys.stderr.write(f"{left} findings\n")
        raise typer.Exit(1)
    sys.stderr.write("nothing is stuck, and what was looked at has the rows that were published\n")
