"""The continuous mode: everything that comes is written, once, in order, by whoever is there."""

from pathlib import Path

import psycopg

from batch_assets.ingest.devices.batch_aim import BatchAim
from batch_assets.ingest.devices.crew import Crew, Moves, plan_moves
from batch_assets.ingest.devices.shards import change_shard_count
from batch_assets.sources.devices.shards import bucket_of
from batch_assets_tests.ingest.devices.continuous_worker import Work, post, working
from batch_assets_tests.ingest.devices.landing import ask, drop, last_of, make_rows, stored
from batch_assets_tests.polling import wait_until

_HOLDERS = """
    SELECT split_part(holder, ':', 1), count(*)
    FROM ops.leases WHERE resource LIKE 'devices.records/%' GROUP BY 1 ORDER BY 1
"""


def count(url: str, query: str) -> int:
    ((number,),) = ask(url, query)
    assert isinstance(number, int)
    return number


def is_written(url: str, rows: int) -> bool:
    return count(url, "SELECT coalesce(sum(rows_read), 0)::int FROM ops.loads") >= rows


def assert_nothing_is_left(url: str) -> None:
    assert ask(url, "SELECT resource FROM ops.leases") == []
    assert ask(url, "SELECT count(*) FROM devices.inbox") == [(0,)]
    assert ask(url, "SELECT DISTINCT state FROM ops.loads") == [("success",)]


def test_inbox_and_folder_are_written_as_they_fill(postgres: str, tmp_path: Path) -> None:
    posted, dropped = make_rows(1000), [(f"F{d}", m, r) for d, m, r in make_rows(1500, seed=2)]

    with working(Work(postgres, str(tmp_path))) as reports:
        post(postgres, posted[:500])
        drop(tmp_path, "a.ndjson", dropped)
        wait_until(lambda: is_written(postgres, 2000), "the first rows")
        post(postgres, posted[500:])
        wait_until(lambda: is_written(postgres, 2500), "all rows")
        wait_until(
            lambda: count(postgres, "SELECT count(*) FROM devices.files WHERE state = 'done'") == 1,
            "the end of the file",
        )

    assert stored(postgres) == last_of([*posted, *dropped])
    assert (reports[0].ledger.read, reports[0].failures) == (2500, 0)
    assert_nothing_is_left(postgres)


def test_few_records_do_not_wait_for_company(postgres: str) -> None:
    with working(Work(postgres)):
        post(postgres, [("SN1", 1, 60)])
        wait_until(lambda: is_written(postgres, 1), "one record")

    assert ask(postgres, "SELECT waited_seconds < 5 FROM ops.batch_metrics") == [(True,)]


def test_two_workers_share_the_shards_and_one_takes_over(postgres: str) -> None:
    rows = make_rows(800)
    first, second = Work(postgres, name="first"), Work(postgres, name="second")

    with working(first):
        wait_until(lambda: ask(postgres, _HOLDERS) != [], "the first worker")
        with working(second) as reports:
            post(postgres, rows[:400])
            wait_until(
                lambda: (
                    count(
                        postgres,
                        "SELECT count(DISTINCT backend_pid)::int FROM ops.leases "
                        "WHERE resource LIKE 'devices.workers/%'",
                    )
                    == 2
                ),
                "both workers",
            )
            wait_until(lambda: is_written(postgres, 400), "the first half")
            # The second one has what the first one gave back.
            wait_until(lambda: _loads_closed(postgres) >= 2, "shards that changed hands")
            post(postgres, rows[400:600])
            wait_until(lambda: is_written(postgres, 600), "what both wrote")
        assert reports[0].failures == 0
        post(postgres, rows[600:])
        wait_until(lambda: is_written(postgres, 800), "the rest, by the first one alone")

    assert stored(postgres) == last_of(rows)
    assert_nothing_is_left(postgres)


def _loads_closed(url: str) -> int:
    return count(url, "SELECT count(*)::int FROM ops.loads WHERE state = 'success'")


def test_order_is_kept_while_a_shard_is_added(postgres: str, tmp_path: Path) -> None:
    rows = make_rows(4000)
    # In one order for each device, though through both doors: half of the devices each.
    by_file = [row for row in rows if row[0] < "SN020"]
    by_post = [row for row in rows if row[0] >= "SN020"]

    with working(Work(postgres, str(tmp_path)), Work(postgres, str(tmp_path), name="other")):
        drop(tmp_path, "a.ndjson", by_file)
        post(postgres, by_post[:1000])
        wait_until(lambda: is_written(postgres, 500), "some rows")
        with psycopg.connect(postgres) as conn:
            change_shard_count(conn, 5)
        post(postgres, by_post[1000:])
        wait_until(lambda: is_written(postgres, 4000), "all rows")
        wait_until(
            lambda: ask(postgres, "SELECT DISTINCT state FROM devices.files") == [("done",)],
            "the end of the file",
        )

    assert stored(postgres) == last_of(rows)
    assert count(postgres, "SELECT sum(rows_read)::int FROM ops.loads") == 4000
    assert count(postgres, "SELECT count(DISTINCT resource) FROM ops.loads") == 5
    assert ask(postgres, "SELECT resource FROM ops.leases") == []


def test_failing_shard_leaves_the_others_running_and_comes_back(postgres: str) -> None:
    rows = make_rows(400)
    with psycopg.connect(postgres) as conn:
        # No fault of a row: none of them must become a dead letter.
        conn.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF get_byte(sha256(convert_to(NEW.device_sn, 'UTF8')), 0) % 4 = 1 THEN "
            "RAISE undefined_table; END IF; RETURN NEW; END $$"
        )
        conn.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON devices.records "
            "FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    others = [row for row in rows if bucket_of(row[0]) % 4 != 1]

    with working(Work(postgres)) as reports:
        post(postgres, rows)
        wait_until(lambda: is_written(postgres, len(others)), "the other shards")
        assert stored(postgres) == last_of(others)
        with psycopg.connect(postgres) as conn:
            conn.execute("DROP TRIGGER refuse ON devices.records")
        wait_until(lambda: is_written(postgres, 400), "the shard that failed")

    assert reports[0].failures >= 1
    assert stored(postgres) == last_of(rows)
    assert count(postgres, "SELECT count(*) FROM ops.dead_letters") == 0


def test_shares_are_even_and_nobody_takes_what_is_held() -> None:
    shards = range(5)

    assert plan_moves(shards, [], Crew(1, frozenset())) == Moves((0, 1, 2, 3, 4))
    assert plan_moves(shards, [0, 1, 2, 3, 4], Crew(2, frozenset(shards))) == Moves((), (3, 4))
    assert plan_moves(shards, [], Crew(2, frozenset({0, 1, 2}))) == Moves((3, 4))
    assert plan_moves(shards, [0], Crew(3, frozenset({0, 2, 3, 4}))) == Moves((1,))


def test_aim_follows_what_waits() -> None:
    aim = BatchAim(50, 250, 2.0)
    assert (aim.is_met(49, 1.9), aim.is_met(50, 0.0), aim.is_met(1, 2.0)) == (False, True, True)
    assert not aim.is_met(0, 0.0)

    for _ in range(3):
        aim.learn(250)
    assert (aim.rows, aim.is_met(249, 0.1)) == (250, False)

    for _ in range(3):
        aim.learn(10)
    assert aim.rows == 50
