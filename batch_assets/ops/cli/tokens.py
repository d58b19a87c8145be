"""`batch-assets tokens`: who may use the HTTP API."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from batch_assets.ops.scope import Scope

app = typer.Typer(help="Make, list and end tokens of the HTTP API.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Shown in the audit.")],
    *,
    scope: Annotated[Scope, typer.Option(help="What it allows.")] = Scope.READ,
    days: Annotated[
        int | None, typer.Option(min=1, help="Ends after so many days; default: never.")
    ] = None,
) -> None:
    """Make a token and print it; it is not shown again."""
    from batch_assets.ops.access import create_token, record_audit
    from batch_assets.ops.service import changing

    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    with changing() as (conn, actor):
        sent = create_token(conn, name, scope, expires_at=expires_at)
        record_audit(conn, actor, "tokens.create", name, scope=scope.value)
    sys.stdout.write(f"{sent}\n")
    sys.stderr.write("keep it now: only its hash is stored\n")


@app.command("list")
def list_() -> None:
    """List all tokens, ended ones included, without their secrets."""
    from batch_assets.ops.access import list_tokens
    from batch_assets.ops.service import changing

    table = Table("name", "scope", "created", "expires", "state")
    with changing() as (conn, _):
        for token in list_tokens(conn):
            expires = f"{token.expires_at:%Y-%m-%d %H:%M%z}" if token.expires_at else "never"
            table.add_row(
                token.name,
                token.scope.value,
                f"{token.created_at:%Y-%m-%d %H:%M%z}",
                expires,
                _state(token.expires_at, token.revoked_at),
            )
    Console().print(table)


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="Of the token to end.")]) -> None:
    """End a token at once."""
    from batch_assets.ops.access import record_audit, revoke_token
    from batch_assets.ops.service import changing

    with changing() as (conn, actor):
        revoke_token(conn, name)
        record_audit(conn, actor, "tokens.revoke", name)
    sys.stderr.write(f"revoked: {name}\n")


def _state(expires_at: datetime | None, revoked_at: datetime | None) -> str:
    if revoked_at is not None:
        return "revoked"
    return "expired" if expires_at is not None and expires_at <= datetime.now(UTC) else "in use"
