from collections.abc import Iterator
from datetime import date

import psycopg
import pytest

from batch_assets.quality.daily_bars import (
    judge_days,
    judge_duplicates,
    judge_error_rate,
    judge_freshness,
    judge_ledger,
    judge_volume,
)
from batch_assets.quality.verdict import Level

DAYS = ("2024-09-26", "2024-09-27")


@pytest.fixture
def conn(postgres: str) -> Iterator[psycopg.Connection]:
    """Two days of source `cn` with three rows each, as two loads leave them."""
    with psycopg.connect(postgres, autocommit=True) as conn:
        for number, day in enumerate(DAYS, start=1):
            conn.execute(
                """INSERT INTO ops.loads (target, scope, window_key, resource, state, rows_read,
                       rows_inserted, rows_rejected, rows_before, rows_after)
                   VALUES ('market.daily_bars', 'source=cn', %s, %s, 'success', 4, 3, 1, 0, 3)""",
                (day, day),
            )
            conn.execute(
                """INSERT INTO ops.windows (target, scope, window_key, starts_at, row_count,
                       contract_version, load_id)
                   VALUES ('market.daily_bars', 'source=cn', %s, %s::date, 3, 'v', %s)""",
                (day, day, number),
            )
            conn.execute(
                """INSERT INTO market.daily_bars (source, symbol, trade_date, volume, load_id)
                   SELECT 'cn', s, %s, 1, %s FROM unnest(ARRAY['A', 'B', 'C']) AS s""",
                (day, number),
            )
        yield conn


def test_sound_ledger_balances(conn: psycopg.Connection) -> None:
    verdict = judge_ledger(conn, "cn", [1, 2])

    assert verdict.level is Level.OK
    assert verdict.observed == "0 of 2 loads do not balance (8 rows read)"
    assert verdict.figures["rows_read"] == 8


def test_nothing_loaded_balances(conn: psycopg.Connection) -> None:
    assert judge_ledger(conn, "cn", []).level is Level.OK


@pytest.mark.parametrize("count", ["rows_read", "rows_inserted", "rows_rejected"])
def test_changed_count_in_the_ledger_shows(conn: psycopg.Connection, count: str) -> None:
    # The table's own constraints refuse it; somebody has to take them away first.
    for constraint in ("loads_ledger_balances", "loads_target_balances"):
        conn.execute(f"ALTER TABLE ops.loads DROP CONSTRAINT {constraint}".encode())
    conn.execute(f"UPDATE ops.loads SET {count} = {count} + 1 WHERE load_id = 2".encode())

    verdict = judge_ledger(conn, "cn", [1, 2])

    assert verdict.level is Level.ERROR
    assert verdict.figures["unbalanced_loads"] == 1
    assert verdict.observed.startswith("1 of 2 loads do not balance")


@pytest.mark.parametrize(
    ("tampering", "seen"),
    [
        ("DELETE FROM market.daily_bars WHERE symbol = 'A' AND trade_date = '2024-09-27'", 2),
        ("DELETE FROM market.daily_bars WHERE trade_date = '2024-09-27'", 0),
        (
            "INSERT INTO market.daily_bars (source, symbol, trade_date, volume, load_id) "
            "VALUES ('cn', 'X', '2024-09-27', 1, 0)",
            4,
        ),
    ],
)
def test_rows_changed_behind_the_ledger_show(
    conn: psycopg.Connection, tampering: str, seen: int
) -> None:
    conn.execute(tampering.encode())

    verdict = judge_ledger(conn, "cn", [1, 2])

    assert verdict.level is Level.ERROR
    assert f"cn: 2024-09-27 has {seen} rows instead of 3" in verdict.observed
    assert verdict.figures["days_off_the_ledger"] == 1


def test_window_that_is_not_remembered_shows(conn: psycopg.Connection) -> None:
    conn.execute("DELETE FROM ops.windows WHERE window_key = '2024-09-26'")

    verdict = judge_ledger(conn, "cn", [1, 2])

    assert "2024-09-26 has 3 rows instead of none known" in verdict.observed


def test_rows_of_another_source_do_not_count(conn: psycopg.Connection) -> None:
    conn.execute(
        "INSERT INTO market.daily_bars (source, symbol, trade_date, volume, load_id) "
        "VALUES ('us', 'X', '2024-09-27', 1, 0)"
    )

    assert judge_ledger(conn, "cn", [1, 2]).level is Level.OK


def test_two_bars_of_one_symbol_show(conn: psycopg.Connection) -> None:
    conn.execute("ALTER TABLE market.daily_bars DROP CONSTRAINT daily_bars_pkey")
    conn.execute(
        "INSERT INTO market.daily_bars (source, symbol, trade_date, volume, load_id) "
        "VALUES ('cn', 'A', '2024-09-27', 1, 0)"
    )
    days = [date.fromisoformat(day) for day in DAYS]

    assert judge_duplicates(conn, "cn", days[:1]).level is Level.OK
    verdict = judge_duplicates(conn, "cn", days)

    assert verdict.level is Level.ERROR
    assert verdict.observed == "1 surplus rows of 1 keys in 7 rows"


@pytest.mark.parametrize(
    ("rejected", "level"),
    [(0, Level.OK), (5, Level.OK), (6, Level.WARN), (10, Level.WARN), (11, Level.ERROR)],
)
def test_error_rate_of_a_hundred_rows(rejected: int, level: Level) -> None:
    assert judge_error_rate(100, rejected).level is level


def test_error_rate_of_nothing_is_kept() -> None:
    assert judge_error_rate(0, 0).level is Level.OK


def test_days_that_failed_are_worse_than_empty_ones() -> None:
    failed = judge_days(3, failed=["a"], unconfirmed=["b"], not_ready=["c"])
    empty = judge_days(3, failed=[], unconfirmed=["b"], not_ready=["c"])
    waiting = judge_days(3, failed=[], unconfirmed=[], not_ready=["c"])

    assert [v.level for v in (failed, empty, waiting)] == [Level.ERROR, Level.WARN, Level.OK]
    assert failed.observed == (
        "1 failed (a), 1 empty without confirmation (b), 1 not ready (c) of 3 days"
    )
    assert judge_days(3, failed=[], unconfirmed=[], not_ready=[]).observed == (
        "none failed of 3 days"
    )


def test_freshness_needs_the_expected_session(conn: psycopg.Connection) -> None:
    fresh = judge_freshness(conn, "cn", date(2024, 9, 27))
    stale = judge_freshness(conn, "cn", date(2024, 9, 30))
    unknown = judge_freshness(conn, "cn", None)

    assert [v.level for v in (fresh, stale, unknown)] == [Level.OK, Level.WARN, Level.WARN]
    assert stale.figures["freshness_age_days"] == 3
    assert "the calendar does not say" in unknown.observed


def test_volume_is_held_against_the_median_of_the_sessions_before(
    conn: psycopg.Connection,
) -> None:
    volumes = {1: 100, 2: 110, 3: 9000, 4: 90, 5: 159, 8: 161, 9: 39, 10: 41}
    conn.execute("DELETE FROM market.daily_bars")
    for day, volume in volumes.items():
        conn.execute(
            "INSERT INTO market.daily_bars (source, symbol, trade_date, volume, load_id)"
            " VALUES ('cn', 'A', make_date(2024, 7, %s), %s, 1)",
            (day, volume),
        )
    days = [date(2024, 7, day) for day in volumes]

    verdict = judge_volume(conn, "cn", days)
    first = judge_volume(conn, "cn", days[:3])
    none = judge_volume(conn, "cn", [])

    assert verdict.level is Level.WARN
    assert verdict.observed == "2024-07-09 -71%; 2024-07-10 -63%"
    assert verdict.figures["days_compared"] == 5
    assert first.level is none.level is Level.OK
    assert first.figures["days_compared"] == 0
