"""What must hold after every scenario, checked with nothing of the product but its tables.

I1 ledger, I2 oracle, I3 no partial partition, I4 nothing held, I6 a second run changes nothing,
I7 memory. I5, the order per device, belongs to streams: test_crash_devices_*.py.
"""

import time
from collections.abc import Callable
from decimal import Decimal

from batch_assets_tests.scenarios.matrix.planted import bad_rows, expected_rows
from batch_assets_tests.scenarios.matrix.reading import Reader, State
from batch_assets_tests.scenarios.matrix.site import Site

HELD_SECONDS = 60.0
MEMORY_CAP_BYTES = 512 * 1024 * 1024

_HELD = (
    ("leases", "SELECT count(*) FROM ops.leases"),
    ("running loads", "SELECT count(*) FROM ops.loads WHERE state = 'running'"),
    ("staged chunks", "SELECT count(*) FROM ops.checkpoints"),
    (
        "staging tables",
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'staging'::regnamespace",
    ),
    ("waiting steps", "SELECT count(*) FROM dagster.pending_steps"),
    (
        "pool slots",
        "SELECT count(*) FROM dagster.concurrency_slots WHERE run_id IS NOT NULL",
    ),
    (
        "unfinished runs",
        "SELECT count(*) FROM dagster.runs WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')",
    ),
)
_PUBLISHED = "state IN ('success', 'partial')"


class Violated(AssertionError):
    """An invariant does not hold."""


def _require(is_kept: bool, invariant: str, what: str) -> None:
    if not is_kept:
        raise Violated(f"{invariant}: {what}")


def check_ledger(site: Site) -> None:
    """I1: every row read is accounted for, and the table has what the ledger says."""
    unbalanced = site.query(
        "SELECT load_id, window_key FROM ops.loads WHERE state IN ('success', 'partial') AND "
        "rows_read <> rows_inserted + rows_updated + rows_unchanged + rows_duplicate "
        "+ rows_rejected + rows_skipped"
    )
    _require(not unbalanced, "I1", f"loads whose ledger does not balance: {unbalanced}")
    wrong = site.query(
        "SELECT window_key, inserted, stored FROM (SELECT window_key, "
        "sum(rows_inserted - rows_deleted) AS inserted, (SELECT count(*) FROM market.daily_bars "
        f"WHERE trade_date::text = window_key) AS stored FROM ops.loads WHERE {_PUBLISHED} "
        "GROUP BY window_key) AS days WHERE inserted <> stored"
    )
    _require(not wrong, "I1", f"days with other rows than were inserted: {wrong}")
    letters = site.value("SELECT count(*) FROM ops.dead_letters WHERE state = 'open'")
    _require(letters == bad_rows(), "I1", f"{letters} open dead letters, {bad_rows()} bad rows")


def check_oracle(site: Site) -> None:
    """I2: the table holds exactly what the files say; nothing lost, nothing twice."""
    stored: dict[str, list[tuple[object, ...]]] = {}
    for day, *row in site.query(
        "SELECT trade_date::text, symbol, open, high, low, close, pre_close, volume, amount "
        "FROM market.daily_bars"
    ):
        values = tuple(Decimal(v) if isinstance(v, Decimal) else v for v in row)
        stored.setdefault(str(day), []).append(values)
    expected = expected_rows(site.files)
    _require(set(stored) == set(expected), "I2", f"days {sorted(stored)}, {sorted(expected)}")
    for day, rows in expected.items():
        _require(len(stored[day]) == len(rows), "I2", f"{day}: {len(stored[day])} / {len(rows)}")
        _require(set(stored[day]) == rows, "I2", f"{day}: other values than in the file")


def check_seen(reader: Reader, before: dict[str, State], after: dict[str, State]) -> None:
    """I3: of each day only its old and its new state were ever visible."""
    allowed = set(before.items()) | set(after.items())
    _require(reader.looks > 0, "I3", "the reader never saw the table")
    _require(reader.seen <= allowed, "I3", f"partial days seen: {reader.seen - allowed}")


def held(site: Site) -> dict[str, int]:
    """What somebody may be waiting for, by kind."""
    counts = {what: site.value(statement) for what, statement in _HELD}
    return {what: count for what, count in counts.items() if count}


def check_nothing_held(site: Site, seconds: float = HELD_SECONDS) -> None:
    """I4: within a minute no lease, slot, staged chunk or unfinished run is left."""
    deadline = time.monotonic() + seconds
    while (found := held(site)) and time.monotonic() < deadline:
        time.sleep(0.2)
    _require(not found, "I4", f"still held after {seconds:.0f} s: {found}")


def check_second_run(site: Site, run: Callable[[bool], None]) -> None:
    """I6: again changes nothing; forced, it mends what somebody edited, and again nothing.

    Args:
        run: Runs all days; True forces.
    """
    before = _versions(site)
    run(False)
    _require(_versions(site) == before, "I6", "a second run rewrote rows")
    site.query(
        "UPDATE market.daily_bars SET close = close + 1 WHERE symbol IN ('000002.SZ', '000007.SZ')"
    )
    edited = _versions(site)
    run(True)
    check_oracle(site)
    touched = {row for row in _versions(site) if row not in edited}
    edits = site.value(
        "SELECT count(*) FROM market.daily_bars WHERE symbol IN ('000002.SZ', '000007.SZ')"
    )
    _require(len(touched) == edits, "I6", f"{len(touched)} rows written, {edits} were edited")


def _versions(site: Site) -> set[tuple[object, ...]]:
    return set(site.query("SELECT tableoid, ctid::text, xmin::text FROM market.daily_bars"))


def check_memory(site: Site) -> None:
    """I7: no process of a command took more than its cap."""
    peak = max(site.peak_bytes, *(command.peak_bytes for command in site.commands), 0)
    _require(peak <= MEMORY_CAP_BYTES, "I7", f"{peak / 2**20:.0f} MiB of 512")
