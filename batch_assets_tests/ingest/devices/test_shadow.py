"""New code on chosen buckets: compared and not stored, switched, and rolled back."""

from pathlib import Path

import psycopg
import pytest

from batch_assets.errors import ConfigurationError, DataError
from batch_assets.ingest.devices import shadow
from batch_assets.loading.device_shadows import (
    Difference,
    parse_buckets,
    read_differences,
    read_shadow_buckets,
    start_shadow,
    switch_shadow,
)
from batch_assets.loading.ledger import Ledger
from batch_assets.ops import device_shadows
from batch_assets.sources.devices.shards import bucket_of
from batch_assets_tests.ingest.devices.landing import MIDNIGHT, Plan, Row, ask, drop, run, stored
from batch_assets_tests.ingest.devices.shadow_code import LET_GO

CODE = "batch_assets_tests.ingest.devices.shadow_code:"
ROWS: list[Row] = [("A", 0, 60), ("A", 1, 120), ("B", 0, 130)]


def load(url: str, root: Path, name: str, rows: list[Row]) -> Ledger:
    drop(root, f"{name}.ndjson", rows)
    report = run(Plan(url, str(root)))
    assert not report.failed_shards
    return report.ledger


def begin(url: str, function: str, *devices: str, is_live: bool = False) -> None:
    buckets = [bucket_of(device) for device in devices]
    with psycopg.connect(url) as conn:
        start_shadow(conn, CODE + function, buckets)
        if is_live:
            assert switch_shadow(conn, buckets) == len(buckets)


def differences(url: str, device: str) -> list[Difference]:
    with psycopg.connect(url) as conn:
        return read_differences(conn, [bucket_of(device)], 100)


def counts(url: str) -> list[tuple[int, int, int]]:
    with psycopg.connect(url) as conn:
        found = read_shadow_buckets(conn)
    return [(one.bucket, one.compared_rows, one.differing_rows) for one in found]


def test_shadow_is_compared_and_not_stored(postgres: str, tmp_path: Path) -> None:
    begin(postgres, "capped", "A")

    ledger = load(postgres, tmp_path, "a", ROWS)

    assert stored(postgres) == sorted(((d, m), rate) for d, m, rate in ROWS)
    assert ledger.inserted == 3
    assert counts(postgres) == [(bucket_of("A"), 2, 1)]
    [one] = differences(postgres, "A")
    assert (one.kind, one.device_sn, one.measured_at) == (
        "changed",
        "A",
        MIDNIGHT.replace(minute=1),
    )
    assert (one.stored, one.shadow) == (
        {"heart_rate_bpm": "120.00"},
        {"heart_rate_bpm": "100.00"},
    )


@pytest.mark.parametrize(
    ("function", "kind", "differing"),
    [("same", None, 0), ("without_fast", "missing", 1), ("broken", "failed", 2),
     ("to_one_device", "failed", 2), ("absent", "failed", 2)],
)  # fmt: skip
def test_shadow_never_harms_what_is_stored(
    postgres: str, tmp_path: Path, function: str, kind: str | None, differing: int
) -> None:
    begin(postgres, function, "A")

    load(postgres, tmp_path, "a", ROWS)

    assert stored(postgres) == sorted(((d, m), rate) for d, m, rate in ROWS)
    assert counts(postgres) == [(bucket_of("A"), 2, differing)]
    assert [one.kind for one in differences(postgres, "A")] == ([kind] if kind else [])


def test_switched_code_is_stored_until_it_is_rolled_back(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    bucket = str(bucket_of("A"))

    device_shadows.start(CODE + "without_fast", bucket)
    with pytest.raises(DataError, match="1 have compared no row yet"):
        device_shadows.switch()
    load(postgres, tmp_path, "a", [("A", 0, 60)])
    assert device_shadows.switch() == 1
    live = load(postgres, tmp_path, "b", [("A", 1, 120), ("A", 2, 61), ("B", 1, 120)])
    assert device_shadows.roll_back() == 1
    load(postgres, tmp_path, "c", [("A", 3, 120)])

    assert (live.read, live.inserted, live.skipped) == (3, 2, 1)
    assert [key for key, _ in stored(postgres)] == [("A", 0), ("A", 2), ("A", 3), ("B", 1)]
    assert device_shadows.roll_back() == 0
    device_shadows.start(CODE + "capped", bucket, dry_run=True)
    changes = ask(postgres, "SELECT action, subject FROM ops.audit ORDER BY happened_at")
    assert changes == [
        ("devices.shadow.start", bucket),
        ("devices.shadow.switch", "0-255"),
        ("devices.shadow.rollback", "0-255"),
    ]


def test_shadow_that_does_not_return_is_ended_and_holds_nothing_back(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "_SHADOW_SECONDS", 0.1)
    begin(postgres, "hanging", "A")

    try:
        load(postgres, tmp_path, "a", ROWS)
        load(postgres, tmp_path, "b", [("A", 5, 61)])
    finally:
        LET_GO.set()

    assert len(stored(postgres)) == 4
    assert counts(postgres) == [(bucket_of("A"), 2, 2)]
    [one] = differences(postgres, "A")
    assert one.kind == "failed"
    assert "hanging did not return within 0.1 s" in str(one.reason)
    assert ask(postgres, "SELECT shadow_function FROM devices.shadow_buckets") == [(None,)]


def test_rows_that_live_code_fails_on_are_dead_letters_alone(postgres: str, tmp_path: Path) -> None:
    begin(postgres, "broken_by_fast", "A", is_live=True)

    ledger = load(postgres, tmp_path, "a", ROWS)

    assert (ledger.read, ledger.inserted, ledger.rejected) == (3, 2, 1)
    [(rule, observed)] = ask(
        postgres, "SELECT rule, violations -> 0 ->> 'observed' FROM ops.dead_letters"
    )
    assert rule == "refused"
    assert "broken_by_fast failed with ValueError: too fast" in str(observed)


def test_buckets_are_written_as_ranges() -> None:
    assert parse_buckets("0-2, 7") == [0, 1, 2, 7]
    for text in ("", "256", "a-b", "3-", "5-3"):
        with pytest.raises(ConfigurationError, match="0-15,32"):
            parse_buckets(text)
