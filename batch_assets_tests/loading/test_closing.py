"""The end of several loads that are published together."""

import psycopg
import pytest

from batch_assets.errors import LeaseLost
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.loads import Closing, LoadContext, PublishedWindow, close_published
from batch_assets.loading.opening import open_windows
from batch_assets.loading.prepare import RejectLimit
from batch_assets.loading.report import LoadState, PublishPath
from batch_assets_tests.loading.synthetic import (
    CONTRACT,
    SCOPE,
    connector,
    create_table,
    days,
    load,
    source_of,
)

LENIENT = RejectLimit(rows=10_000, ratio=1.0)


@pytest.fixture
def database(postgres: str) -> str:
    create_table(postgres)
    return postgres


def _query(conn: psycopg.Connection, statement: str) -> list[tuple[object, ...]]:
    return conn.execute(statement).fetchall()  # type: ignore[call-overload, no-any-return]
    # reason: psycopg wants literal queries, and these are literals of this module


def _open(conn: psycopg.Connection, count: int) -> list[PublishedWindow]:
    """Loads of so many windows, each about to be closed with as many rows as its number."""
    sources = [source_of([("A", "1", None)], day, source_hash=f"s{day}") for day in days(count)]
    _, load_ids = open_windows(conn, LoadContext(CONTRACT, SCOPE), sources, lease_seconds=60)
    return [
        PublishedWindow(
            source.window,
            source.source_hash,
            Closing(
                load_id=load_ids[source.window.key],
                state=LoadState.SUCCESS,
                ledger=Ledger(read=number, inserted=number),
                publish_path=PublishPath.DIRECT,
                rows_before=0,
                rows_after=number,
                content_hash=f"c{number}",
                metrics={"size_bytes": number},
            ),
        )
        for number, source in enumerate(sources, 1)
    ]


def test_each_load_and_window_gets_its_own_figures(database: str) -> None:
    with connector(database)() as conn:
        close_published(conn, LoadContext(CONTRACT, SCOPE), _open(conn, 3))
        stored = _query(
            conn,
            "SELECT l.rows_inserted, l.rows_after, l.metrics ->> 'size_bytes', k.row_count, "
            "k.content_hash, k.source_hash = 's' || k.window_key, "
            "k.starts_at = (k.window_key || ' 00:00+00')::timestamptz, "
            "k.ends_at - k.starts_at = interval '1 day', l.recognised_by "
            "FROM ops.loads AS l JOIN ops.windows AS k USING (load_id) "
            "WHERE l.state = 'success' ORDER BY k.window_key",
        )
    assert stored == [(n, n, str(n), n, f"c{n}", True, True, True, None) for n in (1, 2, 3)]


def test_one_load_that_was_taken_over_is_named_and_nothing_of_the_others_stays(
    database: str,
) -> None:
    with connector(database)() as conn:
        ends = _open(conn, 3)
        lost = ends[1].closing.load_id
        conn.execute("UPDATE ops.loads SET state = 'failed' WHERE load_id = %s", (lost,))
        conn.commit()
        with pytest.raises(LeaseLost, match=rf"load {lost} is no longer running"):
            close_published(conn, LoadContext(CONTRACT, SCOPE), ends)
        conn.rollback()
        assert _query(conn, "SELECT count(*) FROM ops.windows") == [(0,)]
        assert _query(conn, "SELECT count(*) FROM ops.loads WHERE state = 'running'") == [(2,)]


def test_a_group_supersedes_the_dead_letters_of_its_own_windows_alone(database: str) -> None:
    wrong = [("A", "1", None), ("B", "?", None)]
    load(database, *(source_of(wrong, day) for day in days(3)), reject_limit=LENIENT)

    right = [("A", "1", None), ("B", "2", None)]
    load(database, *(source_of(right, day) for day in days(2)), reject_limit=LENIENT)

    with connector(database)() as conn:
        states = _query(conn, "SELECT state FROM ops.dead_letters ORDER BY window_key")
    assert states == [("superseded",), ("superseded",), ("open",)]
