"""Tokens of the HTTP API and the record of what was changed with them.

Functions take a connection and leave the commit to their caller. How a request carries its token
belongs in api/authentication.py.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import errors
from psycopg.types.json import Jsonb

from batch_assets.errors import ConfigurationError
from batch_assets.ops.scope import Scope

_SECRET_BYTES = 32
_FORM = re.compile(r"ba_(?P<id>[0-9]{1,18})_(?P<secret>[A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}")


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is listed: never with its secret.

    Attributes:
        name: Shown in the audit; one token in use has it.
        expires_at: When it ends by itself; None for never.
        revoked_at: When somebody ended it.
    """

    token_id: int
    name: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


def create_token(
    conn: psycopg.Connection, name: str, scope: Scope, *, expires_at: datetime | None = None
) -> str:
    """Make a token.

    Returns:
        What its owner sends; it cannot be shown again, because only its hash is stored.

    Raises:
        ConfigurationError: The name is in use or not a name.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"the name of the token is {name!r}, expected 1 to 64 letters, digits, spaces and "
            "._@-, a letter or digit first; choose another one"
        )
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    try:
        row = conn.execute(
            "INSERT INTO ops.api_tokens (name, scope, secret_sha256, expires_at)"
            " VALUES (%s, %s, %s, %s) RETURNING token_id",
            (name, scope.value, _hash(secret), expires_at),
        ).fetchone()
    except errors.UniqueViolation:
        raise ConfigurationError(
            f"there is a token named {name!r} already, expected a new name; revoke that one with "
            f"`batch-assets tokens revoke {name!r}`, or choose another name"
        ) from None
    assert row is not None  # noqa: S101 - INSERT ... RETURNING gives its row
    return f"ba_{row[0]}_{secret}"


def find_token(conn: psycopg.Connection, sent: str) -> Token | None:
    """The token in force that was sent; None if there is none, whatever the reason."""
    form = _FORM.fullmatch(sent)
    if form is None:
        return None
    row = conn.execute(
        "SELECT token_id, name, scope, created_at, expires_at, revoked_at, secret_sha256"
        " FROM ops.api_tokens WHERE token_id = %s AND revoked_at IS NULL"
        " AND (expires_at IS NULL OR expires_at > clock_timestamp())",
        (int(form["id"]),),
    ).fetchone()
    if row is None or not secrets.compare_digest(bytes(row[6]), _hash(form["secret"])):
        return None
    return _token(row)


def list_tokens(conn: psycopg.Connection) -> list[Token]:
    """All tokens, newest first, ended ones included."""
    rows = conn.execute(
        "SELECT token_id, name, scope, created_at, expires_at, revoked_at"
        " FROM ops.api_tokens ORDER BY token_id DESC"
    )
    return [_token(row) for row in rows]


def revoke_token(conn: psycopg.Connection, name: str) -> None:
    """End a token at once.

    Raises:
        ConfigurationError: No token in use has that name.
    """
    revoked = conn.execute(
        "UPDATE ops.api_tokens SET revoked_at = clock_timestamp()"
        " WHERE name = %s AND revoked_at IS NULL",
        (name,),
    )
    if revoked.rowcount == 0:
        raise ConfigurationError(
            f"no token in use is named {name!r}, expected one of those that "
            "`batch-assets tokens list` shows"
        )


def record_audit(
    conn: psycopg.Connection, actor: str, action: str, subject: str, **detail: Any
) -> None:
    """Write down a change, in the transaction that makes it.

    Args:
        detail: Values that JSON has; no secrets and no data of rows.
    """
    conn.execute(
        "INSERT INTO ops.audit (actor, action, subject, detail) VALUES (%s, %s, %s, %s)",
        (actor, action, subject, Jsonb(detail)),
    )


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _token(row: tuple[Any, ...]) -> Token:
    return Token(row[0], row[1], Scope(row[2]), row[3], row[4], row[5])
