"""`batch-assets init`: a project of one's own."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the project; made if absent.")],
    *,
    examples: Annotated[
        bool, typer.Option("--examples/--no-examples", help="Copy the example files as well.")
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be written, write nothing.")
    ] = False,
) -> None:
    """Write batch_assets.toml, dagster.yaml and workspace.yaml; files that are there are kept."""
    from batch_assets.ops.own_project import write_own_project

    project = write_own_project(folder, with_examples=examples, dry_run=dry_run)
    for name in project.written:
        sys.stdout.write(f"{name}\n")
    for name in project.kept:
        sys.stderr.write(f"kept: {name}\n")
    verb = "to write" if dry_run else "written"
    sys.stderr.write(f"{verb}: {len(project.written)} files in {project.folder}\n")
    if not dry_run:
        sys.stderr.write(f"next: cd {shlex.quote(str(project.folder))} && batch-assets up\n")
