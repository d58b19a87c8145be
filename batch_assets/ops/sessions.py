"""Browsers that are signed in: a cookie stands for a token that was pasted once.

Functions take a connection and leave the commit to their caller. How the cookie travels belongs in
web/signed_in.py.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from batch_assets.ops.access import Token, find_token, record_audit
from batch_assets.ops.scope import Scope

# A working day and its evening; then the token is pasted again.
SESSION_LASTS = timedelta(hours=12)

_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in.

    Attributes:
        actor: Name of the token, for the audit.
        scope: What the token allows.
        csrf: What each form of this session carries, and nobody else can know.
    """

    actor: str
    scope: Scope
    csrf: str

    @property
    def may_launch(self) -> bool:
        """Whether buttons are for them."""
        return self.scope.includes(Scope.LAUNCH)


def sign_in(conn: psycopg.Connection, sent: str) -> tuple[str, Token] | None:
    """Begin a session for a token.

    Returns:
        The secret for the cookie, which is not stored, and the token; None where no token in force
        was sent.
    """
    token = find_token(conn, sent)
    if token is None:
        return None
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    conn.execute("DELETE FROM ops.browser_sessions WHERE expires_at < clock_timestamp()")
    conn.execute(
        "INSERT INTO ops.browser_sessions (secret_sha256, token_id, expires_at)"
        " VALUES (%s, %s, least(clock_timestamp() + %s, %s))",
        (_hash(secret), token.token_id, SESSION_LASTS, token.expires_at),
    )
    record_audit(conn, token.name, "page.sign_in", token.name)
    return secret, token


def find_session(conn: psycopg.Connection, secret: str) -> Session | None:
    """The session of a cookie, as long as it and its token are in force."""
    row = conn.execute(
        "SELECT t.name, t.scope FROM ops.browser_sessions AS s"
        " JOIN ops.api_tokens AS t USING (token_id)"
        " WHERE s.secret_sha256 = %s AND s.expires_at > clock_timestamp()"
        " AND t.revoked_at IS NULL",
        (_hash(secret),),
    ).fetchone()
    if row is None:
        return None
    # Derived from the secret, which pages of other origins cannot read: nothing more to store.
    csrf = hashlib.sha256(b"csrf:" + secret.encode()).hexdigest()
    return Session(str(row[0]), Scope(row[1]), csrf)


def sign_out(conn: psycopg.Connection, secret: str) -> None:
    """End a session; one that has ended already stays so."""
    conn.execute("DELETE FROM ops.browser_sessions WHERE secret_sha256 = %s", (_hash(secret),))


def session_end(now: datetime, token: Token) -> datetime:
    """When a session begun now ends at the latest, for the cookie."""
    end = now + SESSION_LASTS
    return end if token.expires_at is None else min(end, token.expires_at)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
