"""Devices that sent records and then stopped.

`[devices] silent_seconds` says when a device counts as silent, `silent_forget_days` when as out of
use. Where they are told is in messages.py, where they are listed in ops/devices.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from batch_assets.monitoring.metrics import Sample
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.devices.settings import DeviceSettings

# A message has to be read on a phone; the command lists all.
_NAMED = 10


@dataclass(frozen=True, slots=True)
class SilentDevice:
    """One of them.

    Attributes:
        measured_at: Of its newest record.
        silent_seconds: Since then.
        silent_count: How many there are, this one included.
    """

    device_sn: str
    measured_at: datetime
    silent_seconds: float
    silent_count: int


def read_silent_devices(
    conn: psycopg.Connection, section: DeviceSettings, now: datetime, *, limit: int | None
) -> Sequence[SilentDevice]:
    """Devices that stopped sending, the longest silence first.

    Args:
        conn: Its transaction is left open.
        section: Says which silence is one.
        now: The present.
        limit: The most to return; None for all.
    """
    with conn.cursor(row_factory=class_row(SilentDevice)) as cursor:
        return cursor.execute(
            read_query("read_silent_devices"),
            {
                "now": now,
                "silent_seconds": section.silent_seconds,
                "forget_days": section.silent_forget_days,
                "limit": limit,
            },
        ).fetchall()


def read_silence(conn: psycopg.Connection, section: DeviceSettings, now: datetime) -> Sample:
    """How many there are; the first of them by name."""
    found = read_silent_devices(conn, section, now, limit=_NAMED)
    return Sample(
        "batch_assets_devices_silent",
        {},
        found[0].silent_count if found else 0,
        names=tuple(device.device_sn for device in found),
    )
