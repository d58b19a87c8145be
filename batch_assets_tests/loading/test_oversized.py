"""Windows larger than a chunk: what happens to their rejected rows, failures and chunk sizes."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal

import psycopg
import pytest

from batch_assets.contracts.batch import SourceBatch
from batch_assets.errors import RejectLimitExceeded, RowsRefused, SourceUnavailable
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.prepare import RejectLimit, WindowSource
from batch_assets.loading.report import LoadReport, LoadState
from batch_assets_tests.loading.synthetic import (
    Row,
    connector,
    create_table,
    days,
    load,
    many_rows,
    rows_of,
    source_of,
)

LENIENT = RejectLimit(rows=10_000, ratio=1.0)
STRICT = RejectLimit(rows=1, ratio=1.0)


@pytest.fixture
def database(postgres: str) -> str:
    create_table(postgres)
    return postgres


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with connector(url)() as conn:
        return conn.execute(statement).fetchall()


def load_large(
    url: str, *sources: WindowSource, limit: RejectLimit = LENIENT, chunk_rows: int = 1_000
) -> list[LoadReport]:
    return load(url, *sources, chunk_rows=chunk_rows, reject_limit=limit, publish_connections=1)


def large(rows: list[Row], source_hash: str = "h") -> WindowSource:
    return source_of(rows, source_hash=source_hash, batch_rows=500)


def dying_before(source: WindowSource, *batches: int) -> WindowSource:
    """A source whose reading ends the process before these batches, once each."""
    left = list(batches)

    def read(position: Mapping[str, int | str] | None) -> Iterator[SourceBatch]:
        done = int(position["row"]) // 500 if position else 0
        for number, batch in enumerate(source.read(position), done):
            if left and number == left[0] and number:
                left.pop(0)
                raise psycopg.OperationalError("the process died here")
            yield batch

    return replace(source, read=read)


CONFLICTS: list[Row] = [("S0000001", "9", None), ("S0000002", "9", None)]


def test_rows_found_to_disagree_stay_dead_letters_when_the_window_fails(database: str) -> None:
    source = large([*many_rows(3_000), *CONFLICTS])

    [report] = load_large(database, source, limit=STRICT)

    assert isinstance(report.error, RejectLimitExceeded)
    assert report.ledger == Ledger(read=3_002, rejected=4)
    assert report.reject_reasons == {"conflicting_duplicate_key": 4}
    assert len(report.quoted_rejects) == 4
    assert query(database, "SELECT state, count(*) FROM ops.dead_letters GROUP BY state") == [
        ("open", 4)
    ]
    assert rows_of(database) == []


def test_a_failed_window_is_published_under_a_higher_limit_without_reading(database: str) -> None:
    source = large([*many_rows(3_000), *CONFLICTS])
    load_large(database, source, limit=STRICT)
    starts: list[object] = []

    def read(position: Mapping[str, int | str] | None) -> Iterator[SourceBatch]:
        starts.append(position)
        return source.read(position)

    [report] = load_large(database, replace(source, read=read))

    assert starts == [{"row": 3_002}]
    assert report.ledger == Ledger(read=3_002, inserted=2_998, rejected=4)
    assert query(database, "SELECT state, seen_count FROM ops.dead_letters") == [("open", 2)] * 4


def test_dead_letters_survive_any_number_of_attempts(database: str) -> None:
    rows = [("BAD", "?", None), *many_rows(4_000)]
    source = large(rows)
    # The first attempt stages two chunks; the second dies before it commits any.
    for batch in (5, 5):
        with pytest.raises(Exception, match="the process died here"):
            load_large(database, dying_before(source, batch))

    [report] = load_large(database, source)

    assert report.reject_reasons == {"unparsable_number": 1}
    assert report.ledger == Ledger(read=4_001, inserted=4_000, rejected=1)
    assert query(database, "SELECT state, load_id FROM ops.dead_letters") == [
        ("open", report.load_id)
    ]


def test_rows_refused_by_a_constraint_fail_the_large_window_only(database: str) -> None:
    with connector(database)() as conn:
        conn.execute("ALTER TABLE prices ADD CONSTRAINT cheap CHECK (price < 100)")
    first, second = days(2)
    bad = source_of([*many_rows(3_000), ("X", "500", None)], first, batch_rows=500)

    reports = load_large(database, bad, source_of(many_rows(5), second))

    by_key = {report.window.key: report for report in reports}
    assert isinstance(by_key[first.isoformat()].error, RowsRefused)
    assert "cheap" in str(by_key[first.isoformat()].error)
    assert by_key[second.isoformat()].state is LoadState.SUCCESS
    assert query(database, "SELECT count(*) FROM ops.leases") == [(0,)]


def test_a_source_that_fails_half_way_fails_its_window_only(database: str) -> None:
    first, second = days(2)
    whole = source_of(many_rows(3_000), first, source_hash="h", batch_rows=500)
    opened: list[object] = []

    def read(position: Mapping[str, int | str] | None) -> Iterator[SourceBatch]:
        opened.append(position)
        for number, batch in enumerate(whole.read(position)):
            if len(opened) == 2 and number == 4:
                raise SourceUnavailable("the vendor hung up; expected 6 batches; try again")
            yield batch

    reports = load_large(database, replace(whole, read=read), source_of(many_rows(5), second))

    by_key = {report.window.key: report for report in reports}
    assert isinstance(by_key[first.isoformat()].error, SourceUnavailable)
    assert by_key[second.isoformat()].state is LoadState.SUCCESS


def test_a_window_of_rejected_rows_alone_is_staged_in_chunks_too(database: str) -> None:
    rows: list[Row] = [(f"B{number}", "?", None) for number in range(3_000)]

    [report] = load_large(database, large(rows))

    assert report.ledger == Ledger(read=3_000, rejected=3_000)
    # At most 1,000 rows each; a slow machine makes them smaller.
    [(chunks,)] = query(database, "SELECT metrics -> 'chunks' FROM ops.loads")
    assert chunks >= 3
    assert query(database, "SELECT count(*) FROM ops.dead_letters") == [(3_000,)]


def test_a_source_without_positions_is_read_from_its_beginning(database: str) -> None:
    whole = large(many_rows(4_000))

    def without_positions(position: Mapping[str, int | str] | None) -> Iterator[SourceBatch]:
        for batch in whole.read(None):
            yield replace(batch, resume_after={})

    source = replace(whole, read=without_positions)
    failing = replace(whole, read=lambda position: _cut(without_positions(position), 5))
    with pytest.raises(Exception, match="the process died here"):
        load_large(database, failing)

    [report] = load_large(database, source)

    assert report.ledger == Ledger(read=4_000, inserted=4_000)


def _cut(batches: Iterator[SourceBatch], count: int) -> Iterator[SourceBatch]:
    for _ in range(count):
        yield next(batches)
    raise psycopg.OperationalError("the process died here")


def test_the_next_large_load_begins_with_the_last_chunk_size(database: str) -> None:
    first, second = days(2)
    load(database, source_of(many_rows(60_000), first, batch_rows=500), chunk_rows=40_000)
    [(last,)] = query(database, "SELECT (metrics ->> 'last_chunk_rows')::int FROM ops.loads")

    load(database, source_of(many_rows(60_000), second, batch_rows=500), chunk_rows=40_000)

    [(course,)] = query(
        database, "SELECT metrics -> 'chunk_rows' FROM ops.loads ORDER BY load_id DESC LIMIT 1"
    )
    assert isinstance(course, list)
    assert course[0] == last != 16_384


def test_staging_finds_the_same_duplicates_as_memory(database: str) -> None:
    first, second = days(2)
    rows: list[Row] = [*many_rows(1_500), *many_rows(300), ("S0000400", "7", "x"), *CONFLICTS]

    [staged] = load_large(database, source_of(rows, first, batch_rows=500))
    [held] = load(database, source_of(rows, second), reject_limit=LENIENT)

    assert staged.ledger == held.ledger
    assert staged.reject_reasons == held.reject_reasons
    assert query(database, "SELECT DISTINCT price FROM prices") == [(Decimal("1.5"),)]
