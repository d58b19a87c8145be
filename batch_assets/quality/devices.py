"""Verdicts about devices: what was rejected, the order of each device, and rollups."""

from collections.abc import Sequence

import psycopg

from batch_assets.postgres.sql_files import read_query
from batch_assets.quality.verdict import Level, Verdict

# Devices that are looked at: with so many, a fault that one in a hundred has is seen by 99 of 100
# checks.
SAMPLED_DEVICES = 500

# One query each.
_SAMPLED_FOR_WEEKS = 20

# Rejected rows beyond so many times the budget are an error.
_CRITICAL = 2


def judge_reject_ratio(read: int, rejected: int, ratio_max: float) -> Verdict:
    """Rejected rows stay within the budget of `[devices]`."""
    ratio = rejected / read if read else 0.0
    level = Level.OK
    if ratio > ratio_max:
        level = Level.ERROR if ratio > _CRITICAL * ratio_max else Level.WARN
    return Verdict(
        level=level,
        observed=f"{rejected} of {read} rows rejected ({ratio:.2%})",
        expected=f"at most {ratio_max:.0%}; above {_CRITICAL * ratio_max:.0%} is an error",
        figures={"rows_read": read, "rows_rejected": rejected, "reject_ratio": ratio},
    )


def judge_files(failed: Sequence[str], waiting: int) -> Verdict:
    """Every file was loaded to its end."""
    level = Level.ERROR if waiting else Level.WARN if failed else Level.OK
    return Verdict(
        level=level,
        observed=f"{len(failed)} files failed, {waiting} are left"
        + "".join(f"; {reason}" for reason in failed[:5]),
        expected="every file is done; those that failed are in devices.files with their reason",
        figures={"files_failed": len(failed), "files_waiting": waiting},
    )


def judge_device_order(conn: psycopg.Connection, load_ids: Sequence[int], seed: str) -> Verdict:
    """The latest state of each sampled device is its newest record.

    Args:
        load_ids: Devices that these loads have written last are sampled.
        seed: Chooses among them.
    """
    devices, behind, example = _ask(conn, "check_device_order", load_ids, seed)
    return Verdict(
        level=Level.ERROR if behind else Level.OK,
        observed=f"{behind} of {devices} sampled devices have a latest state that is not their "
        "newest record" + (f", such as {example}" if example else ""),
        expected="a late record never moves a device backwards, and none overtakes another",
        figures={"devices_sampled": devices, "devices_behind": behind},
    )


def judge_device_rollups(conn: psycopg.Connection, load_ids: Sequence[int], seed: str) -> Verdict:
    """Rollups of sampled devices are what their records add up to now."""
    days, differing, example = _ask(conn, "check_device_rollups", load_ids, seed)
    return Verdict(
        level=Level.ERROR if differing else Level.OK,
        observed=f"{differing} of {days} days of sampled devices differ"
        + (f", such as {example}" if example else ""),
        expected="devices.daily_rollups equals what devices.records add up to",
        figures={"days_sampled": days, "days_differing": differing},
    )


def judge_device_weeks(conn: psycopg.Connection, load_ids: Sequence[int], seed: str) -> Verdict:
    """Weeks of sampled devices count the records there are."""
    devices = conn.execute(
        "SELECT device_sn FROM devices.latest WHERE load_id = ANY (%s) "
        "ORDER BY hashtext(device_sn || %s) LIMIT %s",
        (list(load_ids), seed, _SAMPLED_FOR_WEEKS),
    ).fetchall()
    weeks, differing, example = 0, 0, ""
    for (device_sn,) in devices:
        row = conn.execute(read_query("check_device_weeks"), {"device_sn": device_sn}).fetchone()
        seen, wrong = row or (0, 0)
        weeks, differing = weeks + seen, differing + wrong
        example = device_sn if wrong else example
    return Verdict(
        level=Level.ERROR if differing else Level.OK,
        observed=f"{differing} of {weeks} weeks of sampled devices differ"
        + (f", such as {example}" if example else ""),
        expected="devices.weekly counts the records of devices.records",
        figures={"weeks_sampled": weeks, "weeks_differing": differing},
    )


def _ask(
    conn: psycopg.Connection, query: str, load_ids: Sequence[int], seed: str
) -> tuple[int, int, str]:
    values = {"load_ids": list(load_ids), "seed": seed, "devices": SAMPLED_DEVICES}
    row = conn.execute(read_query(query), values).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always answers
    return row[0], row[1], row[2]
