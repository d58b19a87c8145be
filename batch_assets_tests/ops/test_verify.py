from collections.abc import Iterable, Iterator
from pathlib import Path

import psycopg
import pytest

from batch_assets.ops.service import repair_runs
from batch_assets.ops.verify import (
    Finding,
    find_broken_promises,
    find_changed_days,
    find_orphan_staging,
)
from batch_assets.runs import repair
from batch_assets.runs.diagnosis import Action
from batch_assets.runs.repair import Repaired


@pytest.fixture
def conn(postgres: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres) as connection:
        yield connection


def one(findings: Iterable[Finding]) -> Finding:
    [found] = findings
    assert not found.is_repaired
    return found


def test_an_untouched_database_has_nothing_wrong(conn: psycopg.Connection) -> None:
    assert list(find_broken_promises(conn)) == []
    assert find_orphan_staging(conn) == []


def test_a_load_that_does_not_balance_is_found(conn: psycopg.Connection) -> None:
    conn.execute("ALTER TABLE ops.loads DROP CONSTRAINT loads_ledger_balances")
    conn.execute(
        "INSERT INTO ops.loads (target, window_key, resource, state, rows_read, rows_inserted)"
        " VALUES ('public.sales', '2024-09-30', 'public.sales//2024-09-30', 'success', 10, 9)"
    )

    found = one(find_broken_promises(conn))

    assert found.kind == "ledger"
    assert "public.sales//2024-09-30 read 10 rows" in found.message


def test_a_target_that_was_dropped_is_found(conn: psycopg.Connection) -> None:
    conn.execute(
        "INSERT INTO ops.windows (target, window_key, row_count, contract_version, load_id)"
        " VALUES ('public.sales', '2024-09-30', 7, '1', 1), ('public.sales', '2024-10-01', 5,"
        " '1', 2), ('market.daily_bars', '2024-10-01', 5, '1', 3)"
    )

    found = one(find_broken_promises(conn))

    assert found.kind == "table"
    assert "public.sales is not there, expected 12 rows of 2 windows" in found.message


def test_an_expired_lease_is_found_and_a_live_one_is_not(conn: psycopg.Connection) -> None:
    conn.execute(
        "INSERT INTO ops.leases (resource, holder, backend_pid, backend_start, expires_at)"
        " VALUES ('a/b/dead', 'somebody', 1, now(), now() - interval '1 minute'),"
        " ('a/b/live', 'somebody', 1, now(), now() + interval '1 hour')"
    )

    found = one(find_broken_promises(conn))

    assert found.kind == "lease"
    assert "a/b/dead is held by somebody" in found.message


def test_pieces_that_somebody_deleted_are_found(conn: psycopg.Connection) -> None:
    conn.execute(
        "INSERT INTO documents.documents (document_id, source, path, version, arrival_day,"
        " size_bytes, outcome, chunk_count, load_id)"
        " VALUES (1, 'library', 'a.pdf', 1, '2024-09-30', 10, 'ok', 3, 1)"
    )

    found = one(find_broken_promises(conn))

    assert found.kind == "document"
    assert "a.pdf of library has 0 pieces, expected 3" in found.message


def test_a_latest_state_without_its_record_is_found(conn: psycopg.Connection) -> None:
    conn.execute(
        "INSERT INTO devices.latest (device_sn, measured_at, load_id) VALUES ('d-1', now(), 1)"
    )

    found = one(find_broken_promises(conn))

    assert found.kind == "device"
    assert "first d-1" in found.message


def test_staging_that_no_window_uses_is_found(conn: psycopg.Connection) -> None:
    name = f"window_{'0' * 32}"
    conn.execute(f"CREATE TABLE staging.{name} (a int)")
    conn.commit()

    found = one(find_orphan_staging(conn))

    assert found.kind == "staging"
    assert name in found.message


def test_findings_are_told_as_they_are_found_however_many_there_are(
    conn: psycopg.Connection,
) -> None:
    conn.execute(
        "INSERT INTO ops.windows (target, scope, window_key, row_count, contract_version, load_id)"
        " SELECT 'market.daily_bars', 'cn', (date '1990-01-01' + n)::text, 1, '1', 1"
        " FROM generate_series(1, 5000) AS n"
    )
    findings = find_changed_days(conn)
    assert next(findings).message.startswith("1990-01-02 of cn has 0 rows, expected the 1 that")

    # Those that were not looked at are still with the server.
    held = conn.execute("SELECT count(*) FROM pg_cursors WHERE NOT is_holdable").fetchone()
    assert held == (1,)
    assert sum(1 for _ in findings) == 4999


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_repair_that_somebody_asked_for_is_audited(
    conn: psycopg.Connection,
    postgres: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dry_run: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    monkeypatch.delenv("BATCH_ASSETS_CONFIG", raising=False)
    dead = Repaired("run-1", "market_sync", Action.FAIL, "seen", "its process is gone")
    monkeypatch.setattr(repair, "repair_home", lambda *_, **__: [dead])

    assert repair_runs(dry_run=dry_run) == [dead]

    rows = conn.execute("SELECT action, subject, detail ->> 'seen' FROM ops.audit").fetchall()
    assert rows == ([] if dry_run else [("runs.repair", "run-1", "seen")])
