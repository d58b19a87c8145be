"""The inbox of devices: what was accepted is written, once, in order, whatever happens."""

import signal
from collections.abc import Mapping, Sequence

import psycopg
import pytest

from batch_assets.errors import DataError, InboxFull
from batch_assets.ingest.devices.inbox import append_to_inbox
from batch_assets.ingest.devices.shards import change_shard_count
from batch_assets.loading.ledger import Ledger
from batch_assets_tests.ingest.devices.landing import (
    Plan,
    Row,
    ask,
    body_of,
    drain,
    last_of,
    make_rows,
    start,
    stored,
)


def append(
    url: str, bodies: Sequence[Mapping[str, object]], *, capacity_rows: int = 100_000
) -> int:
    with psycopg.connect(url) as conn:
        return append_to_inbox(conn, bodies, capacity_rows=capacity_rows)


def post(url: str, rows: Sequence[Row], size: int = 250) -> None:
    with psycopg.connect(url) as conn:
        for first in range(0, len(rows), size):
            append_to_inbox(conn, [body_of(*row) for row in rows[first : first + size]])


def test_accepted_records_are_committed_and_then_written_in_order(postgres: str) -> None:
    rows = make_rows(1000)
    post(postgres, rows)
    assert ask(postgres, "SELECT count(*) FROM devices.inbox") == [(1000,)]

    report = drain(Plan(postgres, ""))

    assert stored(postgres) == last_of(rows)
    assert (report.ledger.read, report.ledger.inserted) == (1000, len(last_of(rows)))
    assert report.failed_shards == {}
    assert ask(postgres, "SELECT count(*) FROM devices.inbox") == [(0,)]
    assert ask(postgres, "SELECT resource FROM ops.leases") == []
    assert drain(Plan(postgres, "")).ledger == Ledger()


def test_full_inbox_accepts_nothing_and_says_when_to_come_again(postgres: str) -> None:
    assert append(postgres, [body_of("A", 1, 60)] * 8, capacity_rows=10) == 8

    with pytest.raises(InboxFull, match="holds 8 records of 10, and 3 were sent") as full:
        append(postgres, [body_of("A", 1, 60)] * 3, capacity_rows=10)

    assert full.value.retry_after_seconds > 0
    assert full.value.retryable
    assert ask(postgres, "SELECT count(*) FROM devices.inbox") == [(8,)]
    assert append(postgres, [body_of("A", 1, 60)] * 2, capacity_rows=10) == 2

    drain(Plan(postgres, ""))

    assert append(postgres, [body_of("A", 2, 60)] * 10, capacity_rows=10) == 10


def test_numbers_that_were_used_up_do_not_make_the_inbox_full(postgres: str) -> None:
    append(postgres, [body_of("A", 1, 60)], capacity_rows=10)
    ask(postgres, "SELECT nextval('devices.inbox_inbox_id_seq') FROM generate_series(1, 99)")

    assert append(postgres, [body_of("A", 2, 60)], capacity_rows=10) == 1
    assert append(postgres, [body_of("A", 3, 60)] * 8, capacity_rows=10) == 8


def test_batch_that_can_never_fit_is_refused_for_good(postgres: str) -> None:
    with pytest.raises(DataError, match="11 records were sent at once, expected at most 10"):
        append(postgres, [body_of("A", 1, 60)] * 11, capacity_rows=10)


def test_body_that_is_no_json_is_refused_with_its_batch(postgres: str) -> None:
    with pytest.raises(DataError, match="cannot be written as JSON"):
        append(postgres, [body_of("A", 1, 60), {"device_sn": "A", "x": object()}])

    assert ask(postgres, "SELECT count(*) FROM devices.inbox") == [(0,)]


def test_accepted_records_that_cannot_be_written_are_dead_letters(postgres: str) -> None:
    append(
        postgres,
        [{}, body_of("A", 1, 999), {"device_sn": "A\x00"}, {"x": "\ud800"}, body_of("A", 1, 60)],
    )

    report = drain(Plan(postgres, ""))

    assert (report.ledger.read, report.ledger.inserted, report.ledger.rejected) == (5, 1, 4)
    assert ask(
        postgres,
        "SELECT source_file, rule FROM ops.dead_letters WHERE state = 'open' ORDER BY row_number",
    ) == [
        ("inbox", "no_data"),
        ("inbox", "impossible_value"),
        ("inbox", "no_data"),
        ("inbox", "not_a_json_object"),
    ]


def test_map_that_changes_before_a_drain_is_followed(postgres: str) -> None:
    rows = make_rows(600)
    post(postgres, rows[:300])
    drain(Plan(postgres, ""))
    post(postgres, rows[300:])
    with psycopg.connect(postgres) as conn:
        change_shard_count(conn, 5)

    report = drain(Plan(postgres, ""))

    assert sorted(report.ledgers) == [0, 1, 2, 3, 4]
    assert stored(postgres) == last_of(rows)


@pytest.mark.parametrize(
    "failpoint",
    [
        "stream.before_commit=kill@7",
        pytest.param("stream.after_commit=kill@7", marks=pytest.mark.crash),
    ],
)
def test_killed_drain_loses_and_doubles_nothing(postgres: str, failpoint: str) -> None:
    rows = make_rows(2000)
    post(postgres, rows)

    assert start(Plan(postgres, "", failpoint, batch_rows=400)).wait(60) == -signal.SIGKILL
    ((before,),) = ask(postgres, "SELECT sum(rows_read)::int FROM ops.loads")
    report = drain(Plan(postgres, ""))

    assert isinstance(before, int)
    assert 0 < before < 2000
    assert report.ledger.read == 2000 - before
    assert stored(postgres) == last_of(rows)
    assert ask(postgres, "SELECT count(*) FROM devices.inbox") == [(0,)]
