"""`batch-assets logs`: what the runs of a backfill wrote, on this machine."""

import json
import sys
from typing import Annotated

import typer


def logs(
    name: Annotated[
        str, typer.Argument(help="Number of a backfill, or the beginning of a run's id.")
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="The lines as they are.")] = False,
) -> None:
    """What runs wrote while they worked, oldest first; of all runs of a backfill in one."""
    from batch_assets.ops.run_logs import find_run_logs, read_lines
    from batch_assets.ops.service import asking
    from batch_assets.settings import load_settings

    with asking() as conn:
        paths = find_run_logs(conn, load_settings().state_dir, name)
    for line in read_lines(paths):
        text = (
            json.dumps(line, ensure_ascii=False)
            if as_json
            else f"{line['at']} {line['level']:<7} {line['run'][:8]} {line['message']}"
        )
        sys.stdout.write(f"{text}\n")
