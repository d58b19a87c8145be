"""`batch-assets prune`: forget what `[retention]` lets go."""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import typer


def prune(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would go; remove nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line.")] = False,
) -> None:
    """Forget old records: loads, plans, metrics, alerts, audit, staging, Dagster's events.

    Open dead letters and the newest load of a window stay, however old.
    """
    from batch_assets.ops.access import record_audit
    from batch_assets.ops.service import changing, ready_database_url
    from batch_assets.postgres.connect import connect
    from batch_assets.runs.retention import prune as prune_all
    from batch_assets.settings import load_settings

    settings = load_settings()
    connector = partial(
        connect,
        ready_database_url(),
        application_name="batch-assets prune",
        options=settings.database,
    )
    gone: dict[str, int] = {}
    for one in prune_all(connector, settings, datetime.now(UTC), dry_run=dry_run):
        gone[one.what] = one.count
        if as_json:
            sys.stdout.write(json.dumps({**asdict(one), "dry_run": dry_run}, default=str) + "\n")
        else:
            sys.stdout.write(f"{one.count:>10}  {one.what}, older than {one.before:%Y-%m-%d}\n")
    if not dry_run:
        with changing() as (conn, actor):
            record_audit(conn, actor, "prune", "retention", **gone)
