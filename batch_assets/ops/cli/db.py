"""`batch-assets db`: the database's structure, and all of it in one file."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(
    help="Migrate the database, compare it with the files, back it up.", no_args_is_help=True
)


@app.command()
def migrate(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be applied, change nothing.")
    ] = False,
    show_sql: Annotated[
        bool, typer.Option("--show-sql", help="Print the statements as well (with --dry-run).")
    ] = False,
) -> None:
    """Apply the migrations the database does not have yet."""
    from batch_assets.ops.service import open_database_url
    from batch_assets.postgres.migrate import apply_pending

    if show_sql and not dry_run:
        raise typer.BadParameter("--show-sql prints what would run; add --dry-run")
    migrations = apply_pending(open_database_url(), dry_run=dry_run)
    for migration in migrations:
        sys.stdout.write(f"{migration.name}\n")
        if show_sql:
            sys.stdout.write(f"\n{migration.text.rstrip()}\n\n")
    verb = "to apply" if dry_run else "applied"
    sys.stderr.write(f"{verb}: {len(migrations)}\n" if migrations else "up to date\n")


@app.command()
def status(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Compare the ledger of applied migrations with the files; 1 if something is to be done."""
    from batch_assets.ops.service import migration_rows, open_database_url
    from batch_assets.postgres.migrate import read_status

    state = read_status(open_database_url())
    rows = migration_rows(state)
    if as_json:
        document = {"is_current": state.is_current, "migrations": rows, "problems": state.problems}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        table = Table("migration", "state", "applied at")
        for row in rows:
            table.add_row(row["migration"], row["state"], row["applied_at"])
        Console().print(table)
        for problem in state.problems:
            sys.stderr.write(f"{problem}\n")
    if not state.is_current:
        sys.stderr.write("next: batch-assets db migrate\n")
        raise typer.Exit(1)


@app.command()
def verify() -> None:
    """Compare the database with a freshly migrated one; 1 if they differ."""
    from batch_assets.ops.service import open_database_url
    from batch_assets.postgres.migrate import verify as verify_database

    differences = verify_database(open_database_url())
    for difference in differences:
        sys.stdout.write(f"{difference}\n")
    if differences:
        sys.stderr.write(f"{len(differences)} differences\nnext: batch-assets db status\n")
        raise typer.Exit(1)
    sys.stderr.write("the database is what the migrations make\n")


@app.command()
def roles(
    *,
    prefix: Annotated[
        str, typer.Option(help="Names are PREFIX_owner, PREFIX_loader, PREFIX_reader, PREFIX_api.")
    ] = "batch_assets",
    schema: Annotated[
        list[str] | None,
        typer.Option(
            help="A schema of yours that templates and transfers write to; may be repeated."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the statements, change nothing.")
    ] = False,
) -> None:
    """Make the four roles and grant each what it needs; again after every upgrade.

    Passwords come from BATCH_ASSETS_OWNER_PASSWORD, BATCH_ASSETS_LOADER_PASSWORD,
    BATCH_ASSETS_READER_PASSWORD and BATCH_ASSETS_API_PASSWORD, or from the files that the same
    names with _FILE say; a role without one keeps the one it has, and a new role has none. No
    superuser is needed: CREATEROLE and owning the database are enough.
    """
    from batch_assets.ops.service import open_database_url, role_passwords
    from batch_assets.postgres.roles import Role, RolePlan, apply_roles, role_statements

    plan = RolePlan(prefix, tuple(schema or ()), role_passwords())
    given = plan.passwords or {}
    if dry_run:
        sys.stdout.write(role_statements(plan))
        for role in given:
            sys.stdout.write(f"-- ALTER ROLE {plan.name_of(role)} PASSWORD (of the environment);\n")
        return
    new = apply_roles(open_database_url(), plan)
    for role in Role:
        name = plan.name_of(role)
        state = "created" if name in new else "was there"
        secret = "password set" if role in given else "password as it was"
        if name in new and role not in given:
            secret = f"no password: set BATCH_ASSETS_{role.upper()}_PASSWORD and run this again"
        sys.stdout.write(f"{name}  {state}, {secret}\n")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; it must not exist.")],
) -> None:
    """Write the whole database into one file with pg_dump, while loads go on."""
    from batch_assets.ops.backup import write_backup
    from batch_assets.ops.service import open_database_url

    size_bytes = write_backup(open_database_url(), file)
    sys.stdout.write(f"{file}\n")
    sys.stderr.write(f"written: {size_bytes:,} bytes\n")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `db backup` or pg_dump -Fc wrote.")],
) -> None:
    """Load a backup into an empty database, all of it or nothing."""
    from batch_assets.ops.backup import restore_backup
    from batch_assets.ops.service import open_database_url

    status = restore_backup(open_database_url(), file)
    sys.stderr.write(f"restored: {file}\n")
    for problem in status.problems:
        sys.stderr.write(f"{problem}\n")
    if not status.is_current:
        sys.stderr.write("next: batch-assets db migrate\n")
