"""Rows that the database refuses: they alone are dead letters, and every batch is measured."""

from datetime import timedelta
from pathlib import Path

import psycopg

from batch_assets.ingest.devices.inbox import append_to_inbox
from batch_assets.loading.batch_metrics import delete_batch_metrics, summarize_batches
from batch_assets_tests.ingest.devices.landing import (
    MIDNIGHT,
    Plan,
    ask,
    body_of,
    drain,
    drop,
    last_of,
    make_rows,
    run,
    stored,
)

_ALLOWS_NO_99 = """
    ALTER TABLE devices.records ADD CONSTRAINT records_heart_rate_is_not_99
    CHECK (heart_rate_bpm <> 99)
"""
_LETTERS = """
    SELECT source_file, rule, violations->0->>'observed', original->>'device_sn'
    FROM ops.dead_letters ORDER BY original->>'device_sn'
"""


def refuse_rate_99(url: str) -> None:
    with psycopg.connect(url) as conn:
        conn.execute(_ALLOWS_NO_99)


def test_refused_rows_of_a_file_cost_no_other_row(postgres: str, tmp_path: Path) -> None:
    good = make_rows(400)
    assert all(rate != 99 for _, _, rate in good[:59])
    good = [row for row in good if row[2] != 99]
    rows = [*good[:100], ("BAD1", 5, 99), *good[100:], ("BAD2", 6, 99)]
    drop(tmp_path, "a.ndjson", rows)
    refuse_rate_99(postgres)

    report = run(Plan(postgres, str(tmp_path)))

    assert report.failed_shards == {}
    assert stored(postgres) == last_of(good)
    assert (report.ledger.read, report.ledger.rejected) == (len(rows), 2)
    assert [row[0] for row in ask(postgres, "SELECT state FROM devices.files")] == ["done"]
    letters = ask(postgres, _LETTERS)
    assert [(letter[0], letter[1], letter[3]) for letter in letters] == [
        ("a.ndjson", "refused", "BAD1"),
        ("a.ndjson", "refused", "BAD2"),
    ]
    assert "records_heart_rate_is_not_99" in str(letters[0][2])
    assert run(Plan(postgres, str(tmp_path))).ledger.read == 0


def test_refused_record_of_the_inbox_costs_no_other_record(postgres: str) -> None:
    good = [row for row in make_rows(300) if row[2] != 99]
    rows = [*good[:150], ("BAD", 5, 99), *good[150:]]
    with psycopg.connect(postgres) as conn:
        append_to_inbox(conn, [body_of(*row) for row in rows])
    refuse_rate_99(postgres)

    report = drain(Plan(postgres, ""))

    assert report.failed_shards == {}
    assert stored(postgres) == last_of(good)
    assert (report.ledger.read, report.ledger.rejected) == (len(rows), 1)
    assert ask(postgres, "SELECT count(*) FROM devices.inbox") == [(0,)]
    assert [letter[3] for letter in ask(postgres, _LETTERS)] == ["BAD"]


def test_each_batch_is_measured(postgres: str, tmp_path: Path) -> None:
    rows = make_rows(500)
    drop(tmp_path, "a.ndjson", rows)
    with psycopg.connect(postgres) as conn:
        append_to_inbox(conn, [body_of("A", 1, 60), body_of("A", 1, 999)])

    run(Plan(postgres, str(tmp_path)))
    drain(Plan(postgres, ""))

    with psycopg.connect(postgres) as conn:
        *by_shard, total = summarize_batches(conn, "devices.records", timedelta(hours=1))
        assert (total.shard, total.row_count, total.rejected, total.rolled_back) == (
            None,
            502,
            1,
            0,
        )
        assert [one.shard for one in by_shard] == [0, 1, 2, 3]
        assert sum(one.row_count for one in by_shard) == 502
        assert total.seconds is not None
        assert 0 < total.seconds[0] <= total.seconds[1] <= total.seconds[2]
        assert delete_batch_metrics(conn, MIDNIGHT) == 0
    assert ask(
        postgres,
        "SELECT count(*) FROM ops.batch_metrics WHERE (origin = 'inbox') = (waited_seconds IS NULL)"
        " OR database_seconds > seconds OR seconds > 60",
    ) == [(0,)]
    assert ask(
        postgres,
        "SELECT sum(success_ratio), sum(row_count) FROM ops.batch_metrics WHERE origin = 'inbox'",
    ) == [(0.5, 2)]
    assert ask(postgres, "SELECT sum(row_count)::int FROM ops.batch_metrics_hourly") == [(502,)]
