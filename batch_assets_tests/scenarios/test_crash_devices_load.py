"""Files of devices while a shard is added and a loader is killed: every row once, and in order.

Few devices and moments, so that most rows correct one that came before: a row that is lost, written
twice in the wrong place or overtaken leaves another value than the last one sent.
"""

import signal
from pathlib import Path

import psycopg
import pytest

from batch_assets.ingest.devices.shards import change_shard_count
from batch_assets_tests.ingest.devices.landing import (
    Plan,
    ask,
    drop,
    last_of,
    make_rows,
    run,
    start,
    stored,
)
from batch_assets_tests.polling import wait_until

pytestmark = [pytest.mark.crash]

_ROLLUPS_DIFFER = """
    SELECT device_sn, (measured_at AT TIME ZONE 'UTC')::date, count(*), sum(heart_rate_bpm)
    FROM devices.records GROUP BY 1, 2
    EXCEPT SELECT device_sn, day, record_count, heart_rate_sum FROM devices.daily_rollups
"""


def rows_read(url: str) -> int:
    ((found,),) = ask(url, "SELECT coalesce(sum(rows_read), 0)::int FROM ops.loads")
    assert isinstance(found, int)
    return found


def test_shards_go_from_4_to_5_while_files_are_loaded_and_a_loader_is_killed(
    postgres: str, tmp_path: Path
) -> None:
    rows, root = make_rows(6000), tmp_path / "landing"
    for number in range(6):
        drop(root, f"{number}.ndjson", rows[number * 1000 : (number + 1) * 1000])

    # It dies at its 120th part of about 15 rows; the other one waits for its shards meanwhile.
    first = start(Plan(postgres, str(root), "stream.before_commit=kill@120", batch_rows=60))
    wait_until(lambda: rows_read(postgres) > 100, "the first rows", 60)
    second = start(Plan(postgres, str(root), batch_rows=60, lease_wait_seconds=60.0))
    with psycopg.connect(postgres) as conn:
        resharded = change_shard_count(conn, 5)
    read_before = rows_read(postgres)

    assert first.wait(60) == -signal.SIGKILL
    read_by_first = rows_read(postgres)
    assert second.wait(120) == 0

    assert len(set(resharded.shards)) == 5
    assert 100 < read_before <= read_by_first < len(rows)
    assert stored(postgres) == last_of(rows)
    assert rows_read(postgres) == len(rows)
    assert ask(postgres, "SELECT sum(rows_inserted)::int FROM ops.loads") == [(len(last_of(rows)),)]
    assert ask(postgres, _ROLLUPS_DIFFER) == []
    assert ask(postgres, "SELECT path FROM devices.files WHERE state <> 'done'") == []
    assert ask(postgres, "SELECT resource FROM ops.leases") == []
    ((by_new_shard,),) = ask(
        postgres, "SELECT sum(rows_read)::int FROM ops.loads WHERE window_key = 'shard-4'"
    )
    assert isinstance(by_new_shard, int)
    assert by_new_shard > 0
    assert run(Plan(postgres, str(root))).ledger.read == 0
