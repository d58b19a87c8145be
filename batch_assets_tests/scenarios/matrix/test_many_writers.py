"""Eight writers of the same days at once: one publishes each day, the others find it there."""

import json
from contextlib import ExitStack

import pytest

from batch_assets_tests.loading.synthetic import create_table
from batch_assets_tests.scenarios import test_crash_load as load
from batch_assets_tests.scenarios.writer import Plan, run, start

WRITERS = 8


@pytest.mark.crash
def test_eight_writers_of_the_same_days_lose_and_double_nothing(postgres: str) -> None:
    create_table(postgres)
    run(Plan(postgres, day_count=2, row_count=load.OLD_ROWS, price=load.OLD))
    plan = Plan(postgres, 4, load.NEW_ROWS, load.NEW, publish_connections=1, lease_seconds=30.0)

    with load.reading(postgres) as seen, ExitStack() as writing:
        writers = [writing.enter_context(start(plan)) for _ in range(WRITERS)]
        said = [writer.communicate(timeout=240)[0] for writer in writers]

    errors = {json.loads(line)["error"] for text in said for line in text.splitlines()}
    assert errors == {None}
    load.assert_whole_days_only(seen)
    load.assert_target_is_new(postgres, 4)
    load.assert_nothing_is_left_over(postgres)
    written = load.query(
        postgres,
        "SELECT count(*) FROM ops.loads WHERE state = 'success' "
        "AND rows_inserted + rows_updated > 0 GROUP BY window_key ORDER BY window_key",
    )
    # The two old days were written once before.
    assert sorted(written) == [(1,), (1,), (2,), (2,)]
    load.assert_second_run_changes_nothing(plan)
