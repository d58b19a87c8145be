"""The views of adjusted bars against hand-computed prices and a plain model."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MONDAY = date(2024, 9, 23)
Bars = dict[date, Decimal]


@pytest.fixture
def conn(postgres: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres, autocommit=True) as conn:
        yield conn


def store(
    conn: psycopg.Connection,
    bars: Bars,
    factors: dict[date, Decimal],
    *,
    symbol: str = "A",
    source: str = "cn",
    adjustment: str = "raw",
) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO market.daily_bars (source, symbol, trade_date, open, high, low, close,"
            " pre_close, volume, amount, adjustment, load_id)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 100, 1000, %s, 1)",
            [(source, symbol, day, p, p + 1, p - 1, p, p, adjustment) for day, p in bars.items()],
        )
        cursor.executemany(
            "INSERT INTO market.adjustment_factors (source, symbol, ex_date, factor, load_id)"
            " VALUES (%s, %s, %s, %s, 1)",
            [(source, symbol, day, factor) for day, factor in factors.items()],
        )


def closes(conn: psycopg.Connection, view: str, symbol: str = "A") -> list[Decimal]:
    rows = conn.execute(
        f"SELECT close FROM market.{view} WHERE source = 'cn' AND symbol = %s ORDER BY trade_date",
        (symbol,),
    )
    return [close for [close] in rows]


def at(number: int) -> date:
    return MONDAY + timedelta(days=number)


def test_dividend_and_split_by_hand(conn: psycopg.Connection) -> None:
    # 0.50 is paid on a close of 10.50, which makes it 10: factor 1.05. Then each share becomes two.
    bars = {at(0): Decimal("10.5"), at(1): Decimal(10), at(2): Decimal("10.2"), at(3): Decimal(5)}
    store(conn, bars, {at(1): Decimal("1.05"), at(3): Decimal("2.1")})

    assert closes(conn, "daily_bars_hfq") == [
        Decimal("10.5"),
        Decimal("10.5"),
        Decimal("10.71"),
        Decimal("10.5"),
    ]
    assert closes(conn, "daily_bars_qfq") == [
        Decimal(5),
        Decimal(5),
        Decimal("5.1"),
        Decimal(5),
    ]
    [row] = conn.execute(
        "SELECT open, high, low, close, pre_close, volume, amount, adjustment, factor"
        " FROM market.daily_bars_qfq WHERE trade_date = %s",
        (at(1),),
    ).fetchall()
    assert row == (5, Decimal("5.5"), Decimal("4.5"), 5, 5, 100, 1000, "qfq", Decimal("0.5"))


def test_symbol_without_factors_is_raw_in_both_views(conn: psycopg.Connection) -> None:
    store(conn, {at(0): Decimal("10.5"), at(1): Decimal("10.123456")}, {})

    raw = [Decimal("10.5"), Decimal("10.123456")]
    assert closes(conn, "daily_bars_hfq") == raw
    assert closes(conn, "daily_bars_qfq") == raw


def test_factor_of_a_day_to_come_changes_nothing_yet(conn: psycopg.Connection) -> None:
    store(conn, {at(0): Decimal(10)}, {at(1): Decimal(2)})

    assert closes(conn, "daily_bars_qfq") == [10]

    store(conn, {at(1): Decimal(5)}, {})
    assert closes(conn, "daily_bars_qfq") == [5, 5]


def test_symbol_that_rests_is_comparable_with_the_newest_date_of_its_source(
    conn: psycopg.Connection,
) -> None:
    store(conn, {at(0): Decimal(10)}, {at(1): Decimal(2)}, symbol="A")
    store(conn, {at(0): Decimal(7), at(1): Decimal(7)}, {}, symbol="B")

    assert closes(conn, "daily_bars_qfq", "A") == [5]
    assert closes(conn, "daily_bars_qfq", "B") == [7, 7]


def test_bars_that_are_adjusted_already_are_left_out(conn: psycopg.Connection) -> None:
    store(conn, {at(0): Decimal(10)}, {at(0): Decimal(2)}, adjustment="qfq")

    assert closes(conn, "daily_bars_qfq") == closes(conn, "daily_bars_hfq") == []


def test_factors_of_another_source_do_not_count(conn: psycopg.Connection) -> None:
    store(conn, {at(0): Decimal(10)}, {})
    store(conn, {}, {at(0): Decimal(2)}, source="other")

    assert closes(conn, "daily_bars_hfq") == [10]


@pytest.mark.long
def test_any_factors_agree_with_a_plain_model(conn: psycopg.Connection) -> None:
    price = st.decimals("0.01", "9999", places=2)
    factor = st.one_of(st.just(Decimal(1)), st.decimals("0.000001", "500", places=6))
    dates = st.integers(0, 12).map(at)

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.dictionaries(dates, price, min_size=1), st.dictionaries(dates, factor))
    def check(bars: Bars, factors: dict[date, Decimal]) -> None:
        conn.execute("TRUNCATE market.daily_bars, market.adjustment_factors")
        store(conn, bars, factors)

        def factor_on(day: date) -> Decimal:
            known = [ex_date for ex_date in factors if ex_date <= day]
            return factors[max(known)] if known else Decimal(1)

        days = sorted(bars)
        base = factor_on(days[-1])
        hfq, qfq = closes(conn, "daily_bars_hfq"), closes(conn, "daily_bars_qfq")
        assert hfq == [
            (bars[day] * factor_on(day)).quantize(Decimal("1e-6"), ROUND_HALF_UP) for day in days
        ]
        assert [float(close) for close in qfq] == pytest.approx(
            [float(bars[day] * factor_on(day) / base) for day in days], abs=1e-6
        )
        assert qfq[-1] == bars[days[-1]]

    check()


def test_one_day_of_a_market_is_read_through_the_indexes(conn: psycopg.Connection) -> None:
    plan = "\n".join(
        line
        for [line] in conn.execute(
            "EXPLAIN SELECT * FROM market.daily_bars_qfq"
            " WHERE source = 'cn' AND trade_date = '2024-09-30'"
        )
    )

    assert "daily_bars_2024_pkey" in plan
    assert "adjustment_factors_pkey" in plan
    assert "Seq Scan" not in plan
