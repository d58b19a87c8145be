"""Which buckets run which code, and where code in shadow differed; nothing here commits.

Running the code belongs in `ingest/devices/shadow.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.types.json import Jsonb

from batch_assets.errors import ConfigurationError
from batch_assets.postgres.sql_files import read_query

_LAST_BUCKET = 255


@dataclass(frozen=True, slots=True)
class ShadowBucket:
    """The code of one bucket.

    Attributes:
        live_function: Its result is stored; None for records as they are.
        shadow_function: Its result is compared with that.
        previous_function: What was live before the last switch.
        is_switched: Whether there is a switch to roll back.
        compared_rows: Since the shadow was started.
        differing_rows: Of them.
    """

    bucket: int
    live_function: str | None
    shadow_function: str | None
    previous_function: str | None
    is_switched: bool
    compared_rows: int
    differing_rows: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between what was stored and what a shadow gave.

    Attributes:
        kind: `changed`, `missing` (the shadow left the row out) or `failed` (the whole batch).
        stored: Columns that differ, as text.
        reason: Why it failed.
    """

    bucket: int
    kind: str
    device_sn: str | None = None
    measured_at: datetime | None = None
    stored: Mapping[str, str | None] | None = None
    shadow: Mapping[str, str | None] | None = None
    reason: str | None = None
    row_count: int = 1


def read_shadow_buckets(conn: psycopg.Connection) -> list[ShadowBucket]:
    """Buckets that run, or have run, code of the user."""
    rows = conn.execute(read_query("read_shadow_buckets")).fetchall()
    return [ShadowBucket(*row) for row in rows]


def start_shadow(conn: psycopg.Connection, function: str, buckets: Sequence[int]) -> None:
    """Let a function run beside what is stored; earlier comparisons of these buckets go."""
    conn.execute("DELETE FROM devices.shadow_differences WHERE bucket = ANY (%s)", (list(buckets),))
    conn.execute(
        read_query("start_device_shadow"), {"function": function, "buckets": list(buckets)}
    )


def end_shadow(conn: psycopg.Connection, function: str, buckets: Sequence[int]) -> None:
    """Run a function in shadow no longer; what is live, and what was found, stays."""
    conn.execute(
        "UPDATE devices.shadow_buckets SET shadow_function = NULL, changed_at = clock_timestamp() "
        "WHERE bucket = ANY (%s) AND shadow_function = %s",
        (list(buckets), function),
    )


def switch_shadow(conn: psycopg.Connection, buckets: Sequence[int]) -> int:
    """Store the result of the shadow from the next part on.

    Returns:
        How many buckets have gone over.
    """
    return conn.execute(
        "UPDATE devices.shadow_buckets SET previous_function = live_function, is_switched = true, "
        "live_function = shadow_function, shadow_function = NULL, changed_at = clock_timestamp() "
        "WHERE bucket = ANY (%s) AND shadow_function IS NOT NULL",
        (list(buckets),),
    ).rowcount


def roll_back_shadow(conn: psycopg.Connection, buckets: Sequence[int]) -> int:
    """End a shadow, or store again what was stored before the last switch.

    Returns:
        How many buckets have gone back.
    """
    return conn.execute(read_query("roll_back_device_shadow"), {"buckets": list(buckets)}).rowcount


def record_comparison(
    conn: psycopg.Connection,
    load_id: int,
    compared_rows: Mapping[int, int],
    differences: Sequence[Difference],
) -> None:
    """Keep what a comparison found, with the rows that were compared.

    Args:
        compared_rows: By bucket.
    """
    differing = dict.fromkeys(compared_rows, 0)
    for one in differences:
        differing[one.bucket] += one.row_count
    conn.execute(
        read_query("count_shadow_rows"),
        {
            "buckets": sorted(compared_rows),
            "compared": [compared_rows[bucket] for bucket in sorted(compared_rows)],
            "differing": [differing[bucket] for bucket in sorted(compared_rows)],
        },
    )
    with conn.cursor() as cursor:
        cursor.executemany(
            read_query("write_shadow_difference"),
            (
                {
                    "bucket": one.bucket,
                    "kind": one.kind,
                    "device_sn": one.device_sn,
                    "measured_at": one.measured_at,
                    "stored": None if one.stored is None else Jsonb(dict(one.stored)),
                    "shadow": None if one.shadow is None else Jsonb(dict(one.shadow)),
                    "reason": one.reason,
                    "row_count": one.row_count,
                    "load_id": load_id,
                }
                for one in differences
            ),
        )


def read_differences(
    conn: psycopg.Connection, buckets: Sequence[int], limit: int
) -> list[Difference]:
    """The newest differences of some buckets."""
    rows = conn.execute(
        read_query("read_shadow_differences"), {"buckets": list(buckets), "limit": limit}
    ).fetchall()
    return [Difference(*row) for row in rows]


def parse_buckets(text: str) -> list[int]:
    """Buckets as people write them: `0-15,32`.

    Raises:
        ConfigurationError: It says no numbers between 0 and 255.
    """
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last) <= _LAST_BUCKET):
            raise ConfigurationError(
                f"buckets {text!r}, expected numbers from 0 to {_LAST_BUCKET} like 0-15,32; "
                "correct them"
            )
        found.update(range(int(first), int(last) + 1))
    return sorted(found)
