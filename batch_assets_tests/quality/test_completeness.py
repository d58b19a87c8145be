from collections.abc import Iterator
from datetime import date

import psycopg
import pytest

from batch_assets.quality.completeness import judge_completeness, judge_copies
from batch_assets.quality.verdict import Level

DAYS = ["2024-09-26", "2024-09-27", "2024-09-30"]


@pytest.fixture
def conn(postgres: str) -> Iterator[psycopg.Connection]:
    """Three days of source `cn` with a hundred symbols each; no two days are alike."""
    with psycopg.connect(postgres, autocommit=True) as conn:
        for number, day in enumerate(DAYS, start=1):
            store(conn, day, 100, price=number)
        yield conn


def store(conn: psycopg.Connection, day: str, symbols: int, *, price: int, first: int = 1) -> None:
    conn.execute(
        "INSERT INTO market.daily_bars (source, symbol, trade_date, open, high, low, close, volume,"
        " load_id) SELECT 'cn', 'S' || n, %(day)s, %(price)s, %(price)s, %(price)s, %(price)s, n, 1"
        " FROM generate_series(%(first)s::int, %(first)s::int + %(symbols)s::int - 1) AS n",
        {"day": day, "symbols": symbols, "price": price, "first": first},
    )
    conn.execute(
        "INSERT INTO ops.windows (target, scope, window_key, starts_at, row_count,"
        " contract_version, load_id) VALUES ('market.daily_bars', 'cn', %s, %s::date, %s, 'v', 1)",
        (day, day, symbols),
    )


def remove(conn: psycopg.Connection, day: str, first: int, last: int) -> None:
    removed = conn.execute(
        "DELETE FROM market.daily_bars WHERE trade_date = %s AND volume BETWEEN %s AND %s",
        (day, first, last),
    ).rowcount
    conn.execute(
        "UPDATE ops.windows SET row_count = row_count - %s WHERE window_key = %s", (removed, day)
    )


def list_universe(conn: psycopg.Connection, symbols: int, listed_on: str = "2020-01-01") -> None:
    conn.execute(
        "INSERT INTO market.instruments (source, symbol, listed_on, load_id)"
        " SELECT 'cn', 'S' || n, %s, 1 FROM generate_series(1, %s) AS n",
        (listed_on, symbols),
    )


def suspend(conn: psycopg.Connection, day: str, first: int, last: int) -> None:
    conn.execute(
        "INSERT INTO market.suspensions (source, trade_date, symbol, load_id)"
        " SELECT 'cn', %s, 'S' || n, 1 FROM generate_series(%s::int, %s::int) AS n",
        (day, first, last),
    )


def test_days_without_a_drop_are_complete(conn: psycopg.Connection) -> None:
    verdict = judge_completeness(conn, "cn", DAYS)

    assert verdict.level is Level.OK
    assert "3 days" in verdict.observed
    assert verdict.figures["days_with_a_universe"] == 0


@pytest.mark.parametrize(("last", "level"), [(20, Level.OK), (21, Level.WARN)])
def test_twenty_symbols_may_be_missing_against_the_day_before(
    conn: psycopg.Connection, last: int, level: Level
) -> None:
    remove(conn, "2024-09-27", 1, last)

    assert judge_completeness(conn, "cn", DAYS).level is level


def test_drop_names_both_days_and_their_rows(conn: psycopg.Connection) -> None:
    remove(conn, "2024-09-27", 1, 30)

    verdict = judge_completeness(conn, "cn", DAYS)

    assert verdict.observed.startswith("2024-09-27: 70 rows after 100 on 2024-09-26")
    assert verdict.figures["days_incomplete"] == 1
    assert verdict.figures["largest_drop_rows"] == 30


def test_drop_that_suspensions_explain_is_none(conn: psycopg.Connection) -> None:
    remove(conn, "2024-09-27", 1, 30)

    suspend(conn, "2024-09-27", 1, 9)
    assert judge_completeness(conn, "cn", DAYS).level is Level.WARN
    suspend(conn, "2024-09-27", 10, 10)
    assert judge_completeness(conn, "cn", DAYS).level is Level.OK


def test_suspension_of_a_symbol_that_is_there_excuses_no_other(conn: psycopg.Connection) -> None:
    remove(conn, "2024-09-27", 1, 30)

    suspend(conn, "2024-09-27", 50, 90)

    assert judge_completeness(conn, "cn", DAYS).level is Level.WARN


def test_missing_symbols_are_counted_against_the_universe(conn: psycopg.Connection) -> None:
    list_universe(conn, 100)
    remove(conn, "2024-09-27", 1, 21)
    # Others came in their place, so the number of rows says nothing.
    conn.execute(
        "INSERT INTO market.daily_bars (source, symbol, trade_date, volume, load_id)"
        " SELECT 'cn', 'X' || n, '2024-09-27', 1, 1 FROM generate_series(1, 21) AS n"
    )
    conn.execute("UPDATE ops.windows SET row_count = 100")

    verdict = judge_completeness(conn, "cn", DAYS)

    assert verdict.level is Level.WARN
    assert "2024-09-27: 21 of 100 symbols that are listed and not suspended" in verdict.observed
    assert "S1, S10, S11" in verdict.observed
    assert verdict.figures["missing_symbols"] == 21


def test_universe_leaves_out_suspended_delisted_and_not_yet_listed_symbols(
    conn: psycopg.Connection,
) -> None:
    list_universe(conn, 100)
    remove(conn, "2024-09-27", 1, 60)
    suspend(conn, "2024-09-27", 1, 20)
    conn.execute(
        "UPDATE market.instruments SET delisted_on = '2024-09-27'"
        " WHERE symbol IN (SELECT 'S' || n FROM generate_series(21, 40) AS n)"
    )

    assert judge_completeness(conn, "cn", ["2024-09-27"]).figures["missing_symbols"] == 20
    assert judge_completeness(conn, "cn", ["2024-09-27"]).level is Level.OK
    assert judge_completeness(conn, "cn", ["2024-09-26"]).figures["missing_symbols"] == 0
    conn.execute(
        "UPDATE market.instruments SET listed_on = '2024-09-28'"
        " WHERE symbol IN (SELECT 'S' || n FROM generate_series(41, 60) AS n)"
    )
    assert judge_completeness(conn, "cn", ["2024-09-27"]).figures["missing_symbols"] == 0


def test_universe_without_listing_dates_is_no_universe(conn: psycopg.Connection) -> None:
    conn.execute("INSERT INTO market.instruments (source, symbol, load_id) VALUES ('cn', 'Z', 1)")

    assert judge_completeness(conn, "cn", DAYS).figures["days_with_a_universe"] == 0


def test_day_long_before_is_no_day_before(conn: psycopg.Connection) -> None:
    store(conn, "2024-12-02", 10, price=9)

    assert judge_completeness(conn, "cn", ["2024-12-02"]).level is Level.OK


def test_many_drops_are_counted_and_the_first_are_named(conn: psycopg.Connection) -> None:
    for number in range(1, 9):
        store(conn, f"2023-01-0{number}", 300 - 30 * number, price=number)

    verdict = judge_completeness(conn, "cn", [f"2023-01-0{number}" for number in range(1, 9)])

    assert verdict.figures["days_incomplete"] == 7
    assert verdict.observed.endswith("and 2 more")


@pytest.mark.parametrize(("copied", "level"), [(50, Level.OK), (51, Level.ERROR)])
def test_day_that_repeats_most_bars_of_its_neighbour_shows(
    conn: psycopg.Connection, copied: int, level: Level
) -> None:
    conn.execute(
        "UPDATE market.daily_bars SET open = 2, high = 2, low = 2, close = 2"
        " WHERE trade_date = '2024-09-30' AND volume <= %s",
        (copied,),
    )

    verdict = judge_copies(conn, "cn", DAYS)

    assert verdict.level is level
    if copied > 50:
        assert verdict.figures["days_copied"] == 1
        assert verdict.observed.startswith(
            "2024-09-30: 51 of 100 symbols have exactly the bar of 2024-09-27"
        )
        assert judge_copies(conn, "cn", ["2024-09-27"]).level is level


@pytest.mark.parametrize(
    ("copied", "level"),
    [(0, Level.OK), (300, Level.OK), (1000, Level.OK), (1001, Level.ERROR), (2000, Level.ERROR)],
)
def test_large_day_is_compared_as_a_whole_once_a_sample_looks_copied(
    conn: psycopg.Connection, copied: int, level: Level
) -> None:
    store(conn, "2023-05-04", 2000, price=1)
    store(conn, "2023-05-05", copied, price=1)
    conn.execute("DELETE FROM ops.windows WHERE window_key = '2023-05-05'")
    store(conn, "2023-05-05", 2000 - copied, price=2, first=copied + 1)
    conn.execute("ANALYZE market.daily_bars")

    assert judge_copies(conn, "cn", ["2023-05-05"]).level is level


def test_few_symbols_or_such_without_volume_are_no_copy(conn: psycopg.Connection) -> None:
    store(conn, "2023-05-04", 19, price=1)
    store(conn, "2023-05-05", 19, price=1)
    store(conn, "2022-05-04", 100, price=1)
    store(conn, "2022-05-05", 100, price=1)
    conn.execute("UPDATE market.daily_bars SET volume = 0 WHERE trade_date < '2023-01-01'")

    keys = ["2023-05-04", "2023-05-05", "2022-05-04", "2022-05-05"]

    assert judge_copies(conn, "cn", keys).level is Level.OK


def test_whole_exchange_that_is_missing_is_the_reason(conn: psycopg.Connection) -> None:
    conn.execute(
        "UPDATE market.daily_bars SET symbol = symbol ||"
        " CASE WHEN volume > 60 THEN '.SZ' ELSE '.SH' END"
    )
    remove(conn, "2024-09-27", 61, 100)

    verdict = judge_completeness(conn, "cn", DAYS)

    assert verdict.level is Level.WARN
    assert verdict.observed.startswith("2024-09-27: every symbol of SZ is missing")
    assert "60 rows after 100" in verdict.observed


@pytest.mark.parametrize("is_universe_known", [False, True])
def test_runs_of_neighbours_that_stay_missing_are_named(
    conn: psycopg.Connection, is_universe_known: bool
) -> None:
    conn.execute("UPDATE market.daily_bars SET symbol = (600000 + volume::int) || '.SH'")
    if is_universe_known:
        conn.execute(
            "INSERT INTO market.instruments (source, symbol, listed_on, load_id)"
            " SELECT 'cn', (600000 + n) || '.SH', '2020-01-01', 1 FROM generate_series(1, 100) AS n"
        )
        remove(conn, "2024-09-26", 31, 45)
    remove(conn, "2024-09-27", 11, 20)
    remove(conn, "2024-09-27", 31, 45)
    remove(conn, "2024-09-27", 70, 70)

    verdict = judge_completeness(conn, "cn", ["2024-09-27"])

    stays = ", missing on 2024-09-26 too" if is_universe_known else ""
    assert (
        "2024-09-27: neighbouring codes are missing together, which suspensions do not do: "
        f"600031.SH to 600045.SH (15{stays}), 600011.SH to 600020.SH (10); "
    ) in verdict.observed


def test_suspended_neighbours_are_no_run(conn: psycopg.Connection) -> None:
    conn.execute("UPDATE market.daily_bars SET symbol = (600000 + volume::int) || '.SH'")
    remove(conn, "2024-09-27", 1, 15)
    remove(conn, "2024-09-27", 40, 69)
    conn.execute(
        "INSERT INTO market.suspensions (source, trade_date, symbol, load_id)"
        " SELECT 'cn', '2024-09-27', (600000 + n) || '.SH', 1 FROM generate_series(1, 15) AS n"
    )

    verdict = judge_completeness(conn, "cn", ["2024-09-27"])

    assert "600040.SH to 600069.SH (30)" in verdict.observed
    assert "600001.SH" not in verdict.observed


def test_day_that_really_repeats_its_neighbour_is_allowed_and_said(
    conn: psycopg.Connection,
) -> None:
    conn.execute(
        "UPDATE market.daily_bars SET open = 2, high = 2, low = 2, close = 2"
        " WHERE trade_date = '2024-09-30'"
    )

    refused = judge_copies(conn, "cn", DAYS)
    allowed = judge_copies(conn, "cn", DAYS, [date(2024, 9, 30)])

    assert refused.level is Level.ERROR
    assert "add 2024-09-30 to identical_days" in refused.observed
    assert allowed.level is Level.OK
    assert "not asked of 2024-09-30, which the feed's identical_days name" in allowed.observed
    assert allowed.figures["days_that_may_repeat"] == 1
