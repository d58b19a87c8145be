"""Landing files of many devices, the same on every machine, and what the tables have to hold then.

Each device sends one record a minute. One in a hundred is sent instead as a correction of the
minute before, so that a record which overtakes another of its device leaves the wrong value.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

FIRST_MOMENT = datetime(2025, 1, 31, tzinfo=UTC)

# Of each device and round: `steps` says which record of the device was the last one to be stored.
_EXPECTED = """
WITH sent AS (
    SELECT d, q, q > 0 AND (d * 7 + q) %% 100 = 0 AS is_correction
    FROM generate_series(0, %(devices)s - 1) AS d, generate_series(0, %(rounds)s - 1) AS q
), expected AS (
    SELECT 'SN' || lpad(s.d::text, 6, '0') AS device_sn,
           %(first)s::timestamptz + s.q * INTERVAL '1 minute' AS measured_at,
           s.q + coalesce(c.is_correction, false)::integer AS steps
    FROM sent AS s
    LEFT JOIN sent AS c ON c.d = s.d AND c.q = s.q + 1
    WHERE NOT s.is_correction
), newest AS (
    SELECT DISTINCT ON (device_sn) * FROM expected ORDER BY device_sn, measured_at DESC
)
SELECT
    (SELECT count(*) FROM expected),
    (SELECT count(*) FROM expected AS e
     LEFT JOIN devices.records AS r USING (device_sn, measured_at) WHERE r.steps IS NULL),
    (SELECT count(*) FROM devices.records) + (SELECT sum(record_count) FROM devices.daily_rollups)
        - 2 * (SELECT count(*) FROM expected),
    (SELECT count(*) FROM expected AS e
     JOIN devices.records AS r USING (device_sn, measured_at) WHERE r.steps <> e.steps)
        + (SELECT count(*) FROM newest AS e JOIN devices.latest AS l USING (device_sn)
           WHERE (l.measured_at, l.steps) <> (e.measured_at, e.steps))
"""


@dataclass(frozen=True, slots=True)
class Truth:
    """What became of the records that were sent.

    Attributes:
        expected: Devices and moments that were sent.
        lost: Of them, those that are not stored.
        doubled: Rows, or rows counted by the rollups, beyond them; negative if some are missing.
        out_of_order: Rows and latest states that hold another value than the last one sent.
    """

    expected: int
    lost: int
    doubled: int
    out_of_order: int

    def require(self, what: str) -> None:
        """Refuse a measurement of work that was not done.

        Raises:
            RuntimeError: Something is lost, doubled or out of order.
        """
        if self.lost or self.doubled or self.out_of_order:
            raise RuntimeError(f"{what}: {self}; the figures would be of a load that went wrong")


@dataclass(frozen=True, slots=True)
class Fleet:
    """Devices, and how many records each of them sends."""

    devices: int
    rounds: int

    @property
    def records(self) -> int:
        """Records sent, corrections included."""
        return self.devices * self.rounds

    def bodies(self, first_round: int, last_round: int) -> Iterator[dict[str, object]]:
        """Bodies as clients post them, round after round, the last one left out."""
        for q in range(first_round, last_round):
            for d in range(self.devices):
                is_correction = q > 0 and (d * 7 + q) % 100 == 0
                moment = FIRST_MOMENT + timedelta(minutes=q - is_correction)
                noise = (d * 7919 + q * 104_729) % 1000
                yield {
                    "device_sn": f"SN{d:06d}",
                    "main_data": {
                        "timestamp": moment.isoformat(),
                        "heart_rate": 50 + noise % 70,
                        "blood_oxygen": 90 + noise % 10,
                        "temperature": 36 + noise % 20 / 10,
                        "pressure_high": 100 + noise % 50,
                        "pressure_low": 60 + noise % 35,
                        "step": q,
                        "sleep": noise % 600,
                    },
                    "enable_alerts": True,
                }

    def write_files(self, root: Path, count: int) -> None:
        """Write the records as NDJSON files, whose names are in the order of time."""
        root.mkdir(parents=True)
        for number in range(count):
            first, last = (self.rounds * edge // count for edge in (number, number + 1))
            with (root / f"{number:06d}.ndjson").open("w", encoding="utf-8") as file:
                file.writelines(f"{json.dumps(body)}\n" for body in self.bodies(first, last))

    def compare(self, conn: psycopg.Connection) -> Truth:
        """Compare the tables with what was sent."""
        row = conn.execute(
            _EXPECTED, {"devices": self.devices, "rounds": self.rounds, "first": FIRST_MOMENT}
        ).fetchone()
        assert row is not None
        return Truth(*map(int, row))


def empty_device_tables(conn: psycopg.Connection) -> None:
    """Forget every load of devices, and the shard map."""
    tables = conn.execute(
        "SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables "
        "WHERE schemaname = 'devices' OR (schemaname = 'ops' AND tablename IN "
        "('loads', 'windows', 'dead_letters', 'checkpoints', 'leases', 'batch_metrics'))"
    ).fetchone()
    assert tables is not None
    conn.execute(f"TRUNCATE {tables[0]} RESTART IDENTITY CASCADE")
