"""The four roles of sql/roles.sql: made and granted, by whoever is allowed to.

What each of them may is said in that file. Passwords reach the server as SCRAM verifiers alone, so
that neither its log nor pg_stat_activity ever has one.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum

import psycopg
from psycopg import sql

from batch_assets.errors import ConfigurationError
from batch_assets.postgres.connect import connect, translating_errors
from batch_assets.postgres.sql_files import read_query
from batch_assets.settings import shipped_path

DEFAULT_PREFIX = "batch_assets"
# Names are put into the file as they are, and `_loader` follows: PostgreSQL cuts at 63 bytes.
_PREFIX = re.compile(r"[a-z][a-z0-9_]{0,50}")
_WRITTEN_NAME = re.compile(rf"\b{DEFAULT_PREFIX}_(owner|loader|reader|api)\b")


class Role(StrEnum):
    """Who signs in to the database."""

    OWNER = "owner"
    LOADER = "loader"
    READER = "reader"
    API = "api"


@dataclass(frozen=True, slots=True)
class RolePlan:
    """What is to be made.

    Attributes:
        prefix: Names are `<prefix>_owner` and so on; roles belong to a whole server, so that a
            second installation on it needs a prefix of its own.
        schemas: Schemas of the user's own that templates and transfers write to.
        passwords: Of some roles, in clear.
    """

    prefix: str = DEFAULT_PREFIX
    schemas: tuple[str, ...] = ()
    passwords: Mapping[Role, str] | None = None

    def name_of(self, role: Role) -> str:
        """The role's name on the server."""
        return f"{self.prefix}_{role}"


def role_statements(plan: RolePlan) -> str:
    """The statements that make roles and grant them what they need; without passwords.

    Raises:
        ConfigurationError: The prefix cannot begin a name.
    """
    if not _PREFIX.fullmatch(plan.prefix):
        raise ConfigurationError(
            f"{plan.prefix!r} cannot begin the names of roles, expected a small letter, then small "
            "letters, digits and _, at most 51; correct --prefix"
        )
    text = (shipped_path("sql") / "roles.sql").read_text(encoding="utf-8")
    grants = [read_query("grant_schema_to_roles").format(
        schema=sql.Identifier(name),
        loader=sql.Identifier(plan.name_of(Role.LOADER)),
        reader=sql.Identifier(plan.name_of(Role.READER)),
        api=sql.Identifier(plan.name_of(Role.API)),
    ).as_string() for name in plan.schemas]  # fmt: skip
    named = _WRITTEN_NAME.sub(lambda found: plan.name_of(Role(found[1])), text)
    return "\n".join([named, *grants])


def apply_roles(url: str, plan: RolePlan) -> list[str]:
    """Make the roles, and grant them what they need, in one transaction.

    Returns:
        Names of the roles that are new.

    Raises:
        ConfigurationError: The role of the URL is not allowed to; says what it lacks.
    """
    text = role_statements(plan)
    names = [plan.name_of(role) for role in Role]
    with (
        translating_errors(),
        closing(connect(url, application_name="batch-assets db roles")) as conn,
        conn.transaction(),
    ):
        _require_rights(conn, names)
        known = _existing(conn, names)
        try:
            conn.execute(text.encode())
        except psycopg.errors.InsufficientPrivilege as error:
            raise ConfigurationError(
                f"{conn.info.user} may not make or grant the roles: {error.diag.message_primary}; "
                "expected CREATEROLE, ADMIN OPTION on roles that somebody else made, and to own "
                "the database and what is migrated in it; run this as the role that made them"
            ) from error
        for role, password in (plan.passwords or {}).items():
            _set_password(conn, plan.name_of(role), password)
    return [name for name in names if name not in known]


def _existing(conn: psycopg.Connection, names: Sequence[str]) -> set[str]:
    rows = conn.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", (list(names),))
    return {row[0] for row in rows}


def _require_rights(conn: psycopg.Connection, names: Sequence[str]) -> None:
    """Refuse before anything is done: the server only warns of grants that it leaves out.

    Raises:
        ConfigurationError: Names each right that is missing.
    """
    rows = conn.execute(read_query("missing_role_rights"), {"names": list(names)}).fetchall()
    if rows:
        listed = "".join(f"\n- {right}" for (right,) in rows)
        raise ConfigurationError(
            f"{conn.info.user} may not make the roles, expected CREATEROLE and owning the database "
            f"and what is migrated in it (no superuser is needed); missing:{listed}\n"
            "let an administrator give these, or run this as the role that migrated"
        )


def _set_password(conn: psycopg.Connection, name: str, password: str) -> None:
    verifier = conn.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
    conn.execute(
        sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), verifier.decode())
    )
