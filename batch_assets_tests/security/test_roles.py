"""sql/roles.sql: each role does its work, tries more and is refused; on every server at hand."""

import secrets
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from batch_assets.loading.leases import Holder, acquire_leases
from batch_assets.ops.access import create_token, find_token, record_audit
from batch_assets.ops.scope import Scope
from batch_assets.postgres import migrate
from batch_assets.settings import shipped_path
from batch_assets_tests.conftest import PostgresServer
from batch_assets_tests.loading.synthetic import create_table, load, many_rows, source_of
from batch_assets_tests.postgres.test_other_server_versions import INSTALLED, running_server

pytestmark = pytest.mark.long

_ROLES = ("owner", "loader", "reader", "api")
_FOR_NOBODY = (
    "CREATE TABLE market.mine (n int)",
    "CREATE TABLE public.mine (n int)",
    "DROP TABLE market.daily_bars",
    "TRUNCATE market.daily_bars",
    "ALTER TABLE ops.loads ADD COLUMN n int",
    "CREATE SCHEMA mine",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "COPY market.daily_bars FROM '/etc/passwd'",
    "SELECT pg_read_file('/etc/passwd')",
    "UPDATE ops.audit SET actor = 'somebody else'",
    "DELETE FROM ops.schema_migrations",
    "SET ROLE batch_assets_owner",
)
_REFUSED = {
    "loader": ("SELECT secret_sha256 FROM ops.api_tokens", "SELECT * FROM ops.browser_sessions"),
    "reader": (
        "SELECT secret_sha256 FROM ops.api_tokens",
        "DELETE FROM market.daily_bars",
        "UPDATE ops.loads SET rows_read = 0",
        "SELECT * FROM dagster.anything",
    ),
    "api": (
        "DELETE FROM market.daily_bars",
        "UPDATE ops.loads SET rows_read = 0",
        "DELETE FROM ops.audit",
        "UPDATE ops.api_tokens SET scope = 'admin'",
        "CREATE TABLE staging.mine (n int)",
    ),
}


class Roles:
    """The four roles of one database, with passwords."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._password = secrets.token_urlsafe(16)

    def apply(self) -> None:
        text = (shipped_path("sql") / "roles.sql").read_text(encoding="utf-8")
        with closing(psycopg.connect(self.url)) as conn, conn.transaction():
            conn.execute(text)  # type: ignore[call-overload]
            for role in _ROLES:
                conn.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                        sql.Identifier(f"batch_assets_{role}"), self._password
                    )
                )

    def of(self, role: str) -> str:
        return make_conninfo(self.url, user=f"batch_assets_{role}", password=self._password)


def _dropped(url: str) -> None:
    with closing(psycopg.connect(url, autocommit=True)) as conn:
        for role in _ROLES:
            name = sql.Identifier(f"batch_assets_{role}")
            conn.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(name))
            conn.execute(sql.SQL("DROP OWNED BY {}").format(name))
        conn.execute("DROP TABLE IF EXISTS public.prices")
        conn.execute("ALTER TABLE ops.audit DROP COLUMN IF EXISTS tried")
        for role in _ROLES:
            conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(f"batch_assets_{role}")))


@pytest.fixture(scope="module", params=["embedded", *(INSTALLED or [None])], ids=str)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a migrated database: of the embedded server, and of each that is installed."""
    if request.param == "embedded":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.create_database()
        migrate.apply_pending(url)
        yield url
        server.drop_database(url)
        return
    with running_server(request.param) as url:
        migrate.apply_pending(url)
        yield url


@pytest.fixture
def roles(database: str) -> Iterator[Roles]:
    found = Roles(database)
    found.apply()
    yield found
    _dropped(database)


def test_a_second_run_of_the_file_changes_nothing_and_the_owner_may_migrate(roles: Roles) -> None:
    roles.apply()

    assert migrate.verify(roles.url) == []
    assert migrate.apply_pending(roles.of("owner")) == []
    with closing(psycopg.connect(roles.of("owner"), autocommit=True)) as conn:
        conn.execute("ALTER TABLE ops.audit ADD COLUMN tried int")


@pytest.mark.parametrize("role", ["loader", "reader", "api"])
def test_a_role_that_tries_more_is_refused(roles: Roles, role: str) -> None:
    with closing(psycopg.connect(roles.of(role), autocommit=True)) as conn:
        # A default that anybody may switch off: what counts is what was granted.
        conn.execute("SET default_transaction_read_only = off")
        for statement in (*_FOR_NOBODY, *_REFUSED[role]):
            try:
                conn.execute(statement)  # type: ignore[call-overload]
            except psycopg.errors.InsufficientPrivilege:
                continue
            pytest.fail(f"{role} was let through: {statement}")
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            row = conn.execute("SELECT current_setting(%s)", [name]).fetchone()
            assert row not in (None, ("0",)), name


def test_the_loader_loads_in_chunks_with_dead_letters_and_a_second_time(roles: Roles) -> None:
    create_table(roles.url)
    with closing(psycopg.connect(roles.url, autocommit=True)) as conn:
        # A target of the user's own, as docs/security.md grants it.
        conn.execute("GRANT USAGE ON SCHEMA public TO batch_assets_loader")
        conn.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON public.prices TO batch_assets_loader")
    rows = [*many_rows(3_000), ("BAD", "x", None)]

    [first] = load(roles.of("loader"), source_of(rows), chunk_rows=1_000)
    [second] = load(roles.of("loader"), source_of(rows), chunk_rows=1_000)

    assert (first.ledger.inserted, first.ledger.rejected) == (3_000, 1)
    assert (second.ledger.inserted, second.ledger.updated) == (0, 0)
    with closing(psycopg.connect(roles.of("reader"))) as conn:
        letters = conn.execute("SELECT count(*) FROM ops.dead_letters WHERE state = 'open'")
        assert letters.fetchone() == (1,)


def test_a_takeover_ends_the_backend_of_the_loader_before(roles: Roles) -> None:
    with closing(psycopg.connect(roles.of("loader"))) as old:
        acquire_leases(old, ["here"], holder=Holder(), lease_seconds=0.001)
        old.commit()
        with closing(psycopg.connect(roles.of("loader"))) as new:
            taken = acquire_leases(new, ["here"], holder=Holder(), lease_seconds=30)
            new.commit()

        assert list(taken) == ["here"]
        with pytest.raises(psycopg.OperationalError):
            old.execute("SELECT 1")


def test_the_api_knows_tokens_and_writes_what_was_done(roles: Roles) -> None:
    with closing(psycopg.connect(roles.of("owner"), autocommit=True)) as conn:
        sent = create_token(conn, "ann", Scope.LAUNCH)

    with closing(psycopg.connect(roles.of("api"))) as conn:
        found = find_token(conn, sent)
        record_audit(conn, "ann", "tried", "it")
        conn.commit()

    assert found is not None
    assert found.name == "ann"
