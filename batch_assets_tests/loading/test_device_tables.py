"""Late, corrected and repeated records leave rollups and latest state as if all came in order."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from batch_assets.loading.device_tables import (
    stage_device_tables,
    write_device_periods,
    write_device_records,
)
from batch_assets.loading.ledger import Ledger

MIDNIGHT = datetime(2025, 1, 31, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        ("device_sn", pa.string()),
        ("measured_at", pa.timestamp("us", "UTC")),
        ("heart_rate_bpm", pa.decimal128(5, 2)),
        ("steps", pa.int32()),
        ("extra", pa.string()),
        ("row_number", pa.int64()),
    ]
)
DAY_SCHEMA = SCHEMA.set(1, pa.field("day", pa.date32()))
WEEK_SCHEMA = SCHEMA.set(1, pa.field("week", pa.date32()))
DAILY = sql.Identifier("devices", "daily_supplied")
WEEKLY = sql.Identifier("devices", "weekly_supplied")

Reading = tuple[str, int, int | None, int | None]
"""Device, minutes since midnight, heart rate, steps."""


@pytest.fixture
def conn(postgres: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres) as conn:
        yield conn


def write(conn: psycopg.Connection, *readings: Reading, extra: str | None = None) -> Ledger:
    rows = [
        {
            "device_sn": device,
            "measured_at": MIDNIGHT + timedelta(minutes=minutes),
            "heart_rate_bpm": None if rate is None else Decimal(rate),
            "steps": steps,
            "extra": extra,
            "row_number": number,
        }
        for number, (device, minutes, rate, steps) in enumerate(readings)
    ]
    stage_device_tables(conn)
    ledger = write_device_records(conn, 1, pa.RecordBatch.from_pylist(rows, SCHEMA))
    conn.commit()
    return ledger


def supply(
    conn: psycopg.Connection, day: date, steps: int, *, week: bool = False, rate: int | None = None
) -> Ledger:
    rows = [
        {
            "device_sn": "A",
            "week" if week else "day": day,
            "steps": steps,
            "heart_rate_bpm": None if rate is None else Decimal(rate),
            "row_number": 1,
        }
    ]
    batch = pa.RecordBatch.from_pylist(rows, WEEK_SCHEMA if week else DAY_SCHEMA)
    stage_device_tables(conn)
    ledger = write_device_periods(conn, 1, WEEKLY if week else DAILY, batch)
    conn.commit()
    return ledger


def ask(conn: psycopg.Connection, query: str) -> list[tuple[object, ...]]:
    rows = conn.execute(query).fetchall()  # type: ignore[call-overload]
    conn.rollback()
    return rows  # type: ignore[no-any-return]


def test_records_are_rolled_up_and_the_newest_is_the_state(conn: psycopg.Connection) -> None:
    ledger = write(conn, ("A", 1, 60, 10), ("A", 2, 80, 30), ("B", 1, None, 5), ("A", 1500, 90, 1))

    assert ledger == Ledger(read=4, inserted=4)
    assert ask(
        conn,
        "SELECT device_sn, day, record_count, heart_rate_bpm, heart_rate_min, heart_rate_max, "
        "steps FROM devices.daily ORDER BY 1, 2",
    ) == [
        ("A", date(2025, 1, 31), 2, 70, 60, 80, 30),
        ("A", date(2025, 2, 1), 1, 90, 90, 90, 1),
        ("B", date(2025, 1, 31), 1, None, None, None, 5),
    ]
    assert ask(conn, "SELECT device_sn, heart_rate_bpm, steps FROM devices.latest ORDER BY 1") == [
        ("A", 90, 1),
        ("B", None, 5),
    ]
    assert ask(
        conn,
        "SELECT device_sn, week, record_count, day_count, heart_rate_bpm, steps "
        "FROM devices.weekly ORDER BY 1",
    ) == [("A", date(2025, 1, 27), 3, 2, 80, 31), ("B", date(2025, 1, 27), 1, 1, None, 5)]


def test_late_record_counts_and_never_moves_the_state_back(conn: psycopg.Connection) -> None:
    write(conn, ("A", 10, 60, 100))
    write(conn, ("A", 5, 100, 50))

    assert ask(conn, "SELECT heart_rate_bpm, steps FROM devices.latest") == [(60, 100)]
    assert ask(conn, "SELECT record_count, heart_rate_bpm, steps FROM devices.daily") == [
        (2, 80, 100)
    ]


def test_corrected_record_is_taken_out_of_what_it_was_in(conn: psycopg.Connection) -> None:
    write(conn, ("A", 1, 200, 900), ("A", 2, 60, 20))

    ledger = write(conn, ("A", 1, 70, 10), ("A", 3, 80, 30))

    assert ledger == Ledger(read=2, inserted=1, updated=1)
    assert ask(
        conn,
        "SELECT record_count, heart_rate_bpm, heart_rate_max, steps FROM devices.daily",
    ) == [(3, 70, 80, 30)]


def test_correction_of_the_newest_record_corrects_the_state(conn: psycopg.Connection) -> None:
    write(conn, ("A", 1, 200, 900))
    write(conn, ("A", 1, 70, None))

    assert ask(conn, "SELECT heart_rate_bpm, steps FROM devices.latest") == [(70, None)]


def test_repeated_records_are_counted_and_written_once(conn: psycopg.Connection) -> None:
    first = write(conn, ("A", 1, 60, 1), ("A", 1, 61, 1), ("A", 1, 62, 1), extra='{"a": 1}')
    again = write(conn, ("A", 1, 62, 1), extra='{"a":1}')
    other = write(conn, ("A", 1, 62, 1), extra='{"a":2}')

    assert first == Ledger(read=3, inserted=1, duplicate=2)
    assert again == Ledger(read=1, unchanged=1)
    assert other == Ledger(read=1, updated=1)
    assert ask(conn, "SELECT heart_rate_bpm, extra FROM devices.records") == [(62, {"a": 2})]
    assert ask(conn, "SELECT record_count, heart_rate_bpm FROM devices.daily") == [(1, 62)]


def test_supplied_values_win_and_differences_are_named(conn: psycopg.Connection) -> None:
    write(conn, ("A", 1, 60, 100))
    ledger = supply(conn, date(2025, 1, 31), 120, rate=60)
    supply(conn, date(2025, 2, 1), 7)

    assert ledger == Ledger(read=1, inserted=1)
    assert ask(
        conn,
        "SELECT day, steps, heart_rate_bpm, record_count, is_supplied, differing "
        "FROM devices.daily ORDER BY 1",
    ) == [
        (date(2025, 1, 31), 120, 60, 1, True, ["steps"]),
        (date(2025, 2, 1), 7, None, 0, True, []),
    ]
    assert ask(conn, "SELECT steps, differing FROM devices.weekly") == [(127, [])]

    supply(conn, date(2025, 1, 27), 500, week=True)

    assert ask(conn, "SELECT steps, differing FROM devices.weekly") == [(500, ["steps"])]
    assert supply(conn, date(2025, 1, 31), 120, rate=60) == Ledger(read=1, unchanged=1)
    assert supply(conn, date(2025, 1, 31), 100) == Ledger(read=1, updated=1)
    assert ask(conn, "SELECT steps, differing FROM devices.daily LIMIT 1") == [(100, [])]


@pytest.mark.parametrize("seed", range(4))
def test_rollups_equal_recomputation_whatever_comes_when(
    conn: psycopg.Connection, seed: int
) -> None:
    chance = random.Random(seed)
    for _ in range(8):
        write(
            conn,
            *(
                (
                    f"D{chance.randrange(4)}",
                    chance.randrange(0, 4000, 40),
                    chance.choice([None, chance.randrange(40, 200)]),
                    chance.choice([None, chance.randrange(9000)]),
                )
                for _ in range(40)
            ),
        )

    assert ask(
        conn,
        "SELECT device_sn, (measured_at AT TIME ZONE 'UTC')::date, count(*), "
        "coalesce(sum(heart_rate_bpm), 0), count(heart_rate_bpm), min(heart_rate_bpm), "
        "max(heart_rate_bpm), max(steps) FROM devices.records GROUP BY 1, 2 ORDER BY 1, 2",
    ) == ask(
        conn,
        "SELECT device_sn, day, record_count, heart_rate_sum, heart_rate_count, heart_rate_min, "
        "heart_rate_max, steps FROM devices.daily_rollups ORDER BY 1, 2",
    )
    assert ask(
        conn,
        "SELECT DISTINCT ON (device_sn) device_sn, measured_at, heart_rate_bpm, steps "
        "FROM devices.records ORDER BY device_sn, measured_at DESC",
    ) == ask(
        conn,
        "SELECT device_sn, measured_at, heart_rate_bpm, steps FROM devices.latest ORDER BY 1",
    )
