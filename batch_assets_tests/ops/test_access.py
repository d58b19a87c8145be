from datetime import UTC, datetime, timedelta

import pytest

from batch_assets.errors import ConfigurationError
from batch_assets.ops.access import create_token, find_token, list_tokens, revoke_token
from batch_assets.ops.scope import Scope
from batch_assets.postgres.connect import connect


def test_a_token_is_found_by_what_its_owner_sends_and_by_nothing_else(postgres: str) -> None:
    with connect(postgres, application_name="test") as conn:
        sent = create_token(conn, "reader", Scope.READ)
        other = create_token(conn, "other", Scope.ADMIN)

        found = find_token(conn, sent)
        assert found is not None
        assert (found.name, found.scope) == ("reader", Scope.READ)
        assert find_token(conn, sent[:-1] + ("A" if sent[-1] != "A" else "B")) is None
        # The number of one token with the secret of another.
        mixed = sent.split("_", 2)[:2] + other.split("_", 2)[2:]
        assert find_token(conn, "_".join(mixed)) is None
        assert find_token(conn, "") is None


def test_the_database_does_not_hold_the_secret(postgres: str) -> None:
    with connect(postgres, application_name="test") as conn:
        sent = create_token(conn, "reader", Scope.READ)
        stored = conn.execute("SELECT t::text FROM ops.api_tokens t").fetchall()

    assert sent.split("_", 2)[2] not in str(stored)


def test_a_token_that_ran_out_or_was_revoked_is_not_found(postgres: str) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with connect(postgres, application_name="test") as conn:
        old = create_token(conn, "old", Scope.READ, expires_at=yesterday)
        ended = create_token(conn, "ended", Scope.READ)
        revoke_token(conn, "ended")

        assert find_token(conn, old) is None
        assert find_token(conn, ended) is None
        assert [token.name for token in list_tokens(conn)] == ["ended", "old"]


def test_a_name_in_use_is_refused_and_free_again_once_revoked(postgres: str) -> None:
    with connect(postgres, application_name="test") as conn:
        create_token(conn, "ci", Scope.LAUNCH)
        conn.commit()
        with pytest.raises(ConfigurationError, match="already"):
            create_token(conn, "ci", Scope.READ)
        conn.rollback()
        revoke_token(conn, "ci")

        assert create_token(conn, "ci", Scope.READ)


def test_revoking_what_is_not_there_says_where_to_look(postgres: str) -> None:
    with (
        connect(postgres, application_name="test") as conn,
        pytest.raises(ConfigurationError, match="tokens list"),
    ):
        revoke_token(conn, "nobody")


def test_each_scope_includes_the_ones_before_it() -> None:
    assert Scope.ADMIN.includes(Scope.READ)
    assert Scope.LAUNCH.includes(Scope.LAUNCH)
    assert not Scope.READ.includes(Scope.LAUNCH)
