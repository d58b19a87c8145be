"""A lock that somebody else holds on the table: who waits says so, and tries again."""

import psycopg
import pytest

from batch_assets.errors import DatabaseUnavailable
from batch_assets_tests.loading.synthetic import create_table, load, many_rows, rows_of, source_of


def test_a_lock_that_somebody_holds_is_named_and_tried_again(postgres: str) -> None:
    create_table(postgres)
    rows = [*many_rows(300), ("BAD", "x", None)]
    # A URL's own settings win; the default waits for half a minute.
    impatient = f"{postgres}{'&' if '?' in postgres else '?'}options=-c%20lock_timeout%3D200ms"
    with psycopg.connect(postgres) as other:
        other.execute("LOCK TABLE public.prices IN SHARE MODE")
        with pytest.raises(DatabaseUnavailable) as failure:
            load(impatient, source_of(rows), lease_seconds=1.0)

    message = str(failure.value)
    assert failure.value.retryable
    assert failure.value.sqlstate == "55P03"
    assert "another session holds a lock" in message
    assert "pg_stat_activity" in message
    assert "lock_timeout_seconds" in message
    with psycopg.connect(postgres) as conn:
        kept = conn.execute("SELECT count(*) FROM ops.dead_letters").fetchone()
    assert kept == (0,)

    [report] = load(postgres, source_of(rows), lease_seconds=1.0)

    assert (report.ledger.inserted, report.ledger.rejected) == (300, 1)
    assert len(rows_of(postgres)) == 300
