from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import psycopg
import pyarrow as pa
import pytest

from batch_assets.contracts.batch import Position, SourceBatch
from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.table import Window
from batch_assets.errors import (
    LeaseHeld,
    LedgerImbalance,
    SchemaMismatch,
    UnreadableSource,
)
from batch_assets.loading import hand_over
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.prepare import RejectLimit, WindowSource
from batch_assets.loading.report import LoadState, PublishPath, RecognisedBy
from batch_assets_tests.loading.synthetic import (
    CONTRACT,
    connector,
    create_table,
    days,
    load,
    many_rows,
    query,
    rows_of,
    source_of,
)

LENIENT = RejectLimit(rows=1000, ratio=1.0)


@pytest.fixture
def database(postgres: str) -> str:
    create_table(postgres)
    return postgres


def test_first_load_copies_straight_into_an_empty_window(database: str) -> None:
    [report] = load(database, source_of([("B", "2", None), ("A", "1.5", "x")]))

    assert report.state is LoadState.SUCCESS
    assert report.publish_path is PublishPath.DIRECT
    assert report.ledger == Ledger(read=2, inserted=2)
    assert rows_of(database) == [("A", Decimal("1.5"), "x"), ("B", Decimal(2), None)]


def test_second_load_of_the_same_source_reads_nothing(database: str) -> None:
    first = source_of([("A", "1", None)], source_hash="h1")
    load(database, first)

    def refuse(_: object) -> None:
        raise AssertionError("the source was opened")

    [report] = load(database, WindowSource(first.window, first.source_file, "h1", refuse))

    assert report.recognised_by is RecognisedBy.SOURCE_HASH
    assert report.ledger == Ledger(read=1, unchanged=1)


def noted(source: WindowSource, read: list[Window]) -> WindowSource:
    """A source that writes down when it is opened."""

    def open_source(position: Position | None) -> Iterator[SourceBatch]:
        read.append(source.window)
        yield from source.read(position)

    return replace(source, read=open_source)


def test_no_window_is_read_once_no_other_may_be_begun(database: str) -> None:
    first, *others = days(5)
    known = source_of([("A", "1", None)], first, source_hash="h1")
    load(database, known)
    read: list[Window] = []
    fresh = [noted(source_of([("A", "1", None)], day), read) for day in others]

    reports = load(database, known, *fresh, may_begin=lambda: len(read) < 2)

    # What is as published is told and costs nothing; of the rest two were begun, and end.
    expected = [known.window, fresh[0].window, fresh[1].window]
    assert [report.window for report in reports] == expected
    assert read == expected[1:]


def test_large_windows_that_wait_are_not_begun_either(database: str) -> None:
    read: list[Window] = []
    large = [noted(source_of(many_rows(5), day, batch_rows=2), read) for day in days(4)]
    first = large[0].window

    # The first is opened to see that it is large, and again to be staged.
    [report] = load(
        database,
        *large,
        may_begin=lambda: read.count(first) < 2,
        chunk_rows=2,
        publish_connections=1,
    )

    assert (report.window, report.ledger) == (first, Ledger(read=5, inserted=5))
    assert query(database, "SELECT count(*) FROM public.prices") == [(5,)]


def test_equal_content_from_another_file_is_recognised_and_writes_nothing(database: str) -> None:
    load(database, source_of([("A", "1", None), ("B", "2", None)], source_hash="h1"))
    before = rows_of(database, "symbol, xmin, ctid, revision, load_id")

    [report] = load(database, source_of([("B", "2", None), ("A", "1", None)], source_hash="h2"))

    assert report.recognised_by is RecognisedBy.CONTENT_HASH
    assert report.publish_path is PublishPath.NONE
    assert report.ledger == Ledger(read=2, unchanged=2)
    assert rows_of(database, "symbol, xmin, ctid, revision, load_id") == before


def test_only_the_difference_is_written_and_revisions_rise(database: str) -> None:
    load(database, source_of([("A", "1", None), ("B", "2", None)]))
    before = rows_of(database, "symbol, xmin")

    [report] = load(database, source_of([("A", "1", None), ("B", "2.5", None), ("C", "3", None)]))

    assert report.publish_path is PublishPath.MERGE
    assert report.recognised_by is RecognisedBy.DIFFERENCE
    assert report.ledger == Ledger(read=3, inserted=1, updated=1, unchanged=1)
    assert rows_of(database, "symbol, price, revision") == [
        ("A", Decimal(1), 1),
        ("B", Decimal("2.5"), 2),
        ("C", Decimal(3), 1),
    ]
    assert rows_of(database, "symbol, xmin")[0] == before[0]


def test_a_shorter_source_never_deletes_under_merge(database: str) -> None:
    load(database, source_of([("A", "1", None), ("B", "2", None)]))

    [report] = load(database, source_of([("A", "1", None)]))

    assert report.ledger == Ledger(read=1, unchanged=1)
    assert len(rows_of(database)) == 2


def test_replace_deletes_what_the_source_no_longer_has(database: str) -> None:
    contract = replace(CONTRACT, disposition=Disposition.REPLACE)
    load(database, source_of([("A", "1", None), ("B", "2", None)]), contract=contract)

    [report] = load(database, source_of([("B", "2", None), ("C", "3", None)]), contract=contract)

    assert report.ledger == Ledger(read=2, inserted=1, unchanged=1, deleted=1)
    assert [row[0] for row in rows_of(database)] == ["B", "C"]


def test_rows_edited_by_hand_are_repaired_under_force(database: str) -> None:
    source = source_of([("A", "1", None)], source_hash="h")
    load(database, source)
    with connector(database)() as conn:
        conn.execute("UPDATE prices SET price = 9")

    [report] = load(database, source, force=True)

    assert report.ledger == Ledger(read=1, updated=1)
    assert rows_of(database)[0][1] == Decimal(1)


def test_rows_removed_by_hand_are_noticed_without_force(database: str) -> None:
    source = source_of([("A", "1", None), ("B", "2", None)], source_hash="h")
    load(database, source)
    with connector(database)() as conn:
        conn.execute("DELETE FROM prices WHERE symbol = 'A'")

    [report] = load(database, source)

    assert report.ledger == Ledger(read=2, inserted=1, unchanged=1)


def test_a_bad_window_fails_and_the_others_are_loaded(database: str) -> None:
    first, second, third = days(3)

    def unreadable(_: object) -> None:
        raise UnreadableSource("2024-10-01.csv: truncated gzip; expected a whole file; copy again")

    broken = WindowSource(source_of([], second).window, "2024-10-01.csv", None, unreadable)

    reports = load(database, source_of(many_rows(3), first), broken, source_of(many_rows(4), third))

    outcome = {report.window.key: report.state.value for report in reports}
    assert outcome == {"2024-09-30": "success", "2024-10-01": "failed", "2024-10-02": "success"}
    assert len(rows_of(database)) == 7
    assert query(
        database, "SELECT error_class, is_retryable FROM ops.loads WHERE state = 'failed'"
    ) == [("UnreadableSource", False)]


def test_a_reader_that_loses_rows_cannot_publish(database: str) -> None:
    whole = source_of([("A", "1", None), ("B", "2", None)])

    def lossy(position: object) -> object:
        for batch in whole.read(None):
            yield replace(batch, read_rows=batch.read_rows + 1)

    [report] = load(database, WindowSource(whole.window, "f", None, lossy))

    assert isinstance(report.error, LedgerImbalance)
    assert "3 rows were read but 2 are accounted for" in str(report.error)
    assert rows_of(database) == []


def test_rows_refused_by_a_constraint_fail_their_window_only(database: str) -> None:
    with connector(database)() as conn:
        conn.execute("ALTER TABLE prices ADD CONSTRAINT cheap CHECK (price < 100)")
    first, second = days(2)

    reports = load(
        database, source_of([("A", "1", None)], first), source_of([("A", "500", None)], second)
    )

    assert {r.window.key: r.state.value for r in reports} == {
        "2024-09-30": "success",
        "2024-10-01": "failed",
    }
    assert "cheap" in str(next(r.error for r in reports if r.error))
    assert query(database, "SELECT count(*) FROM ops.leases") == [(0,)]


def test_a_window_held_by_somebody_else_is_reported_with_the_holder(database: str) -> None:
    with connector(database)() as conn:
        conn.execute(
            "INSERT INTO ops.leases (resource, holder, backend_pid, backend_start, expires_at) "
            "VALUES ('public.prices/test/2024-09-30', 'elsewhere:7', 0, now(), now() + '1 hour')"
        )

    [report] = load(database, source_of([("A", "1", None)]), lease_wait_seconds=0.0)

    assert isinstance(report.error, LeaseHeld)
    assert "elsewhere:7" in str(report.error)
    assert rows_of(database) == []


def test_a_contract_the_table_does_not_keep_is_refused_before_reading(database: str) -> None:
    columns = pa.schema(
        [*[f for f in CONTRACT.columns if f.name != "price"], ("price", pa.int64())]
    )

    with pytest.raises(SchemaMismatch, match=r"'price' is int64 .* and numeric\(20,6\)"):
        load(database, source_of([("A", "1", None)]), contract=replace(CONTRACT, columns=columns))


def test_many_small_windows_share_a_transaction_and_keep_their_own_ledgers(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine thirty windows may take longer than the first of them would wait.
    monkeypatch.setattr(hand_over, "_PATIENCE_SECONDS", 60.0)

    reports = load(database, *(source_of(many_rows(2), day) for day in days(30)))

    assert [r.ledger for r in reports] == [Ledger(read=2, inserted=2)] * 30
    assert query(database, "SELECT count(DISTINCT xmin::text) FROM prices") == [(1,)]
    assert query(database, "SELECT count(*), sum(rows_inserted) FROM ops.loads") == [(30, 60)]


def test_a_window_larger_than_a_chunk_is_staged_and_published_whole(database: str) -> None:
    rows = [*many_rows(4_000), ("S0000001", "1.5", None), ("S0000002", "9", None), ("Z", "?", None)]

    [report] = load(
        database,
        source_of(rows, source_hash="h", batch_rows=500),
        chunk_rows=1_000,
        reject_limit=LENIENT,
    )

    assert report.state is LoadState.SUCCESS
    # One equal copy, two rows that disagree about S0000002, one that is no number.
    assert report.ledger == Ledger(read=4_003, inserted=3_999, duplicate=1, rejected=3)
    assert len(rows_of(database)) == 3_999
    assert query(database, "SELECT count(*) FROM ops.checkpoints") == [(0,)]
    assert query(
        database, "SELECT count(*) FROM pg_class WHERE relnamespace = 'staging'::regnamespace"
    ) == [(0,)]


def test_a_large_window_continues_after_the_last_committed_chunk(database: str) -> None:
    rows = many_rows(5_000)
    whole = source_of(rows, source_hash="h", batch_rows=500)
    starts: list[object] = []

    def dying(position: object) -> object:
        for number, batch in enumerate(whole.read(None)):
            if number == 6:
                raise psycopg.OperationalError("the process died here")
            yield batch

    def resumed(position: object) -> object:
        starts.append(position)
        return whole.read(position)

    with pytest.raises(Exception, match="the process died here"):
        load(database, WindowSource(whole.window, "f", "h", dying), chunk_rows=1_000)
    [report] = load(database, WindowSource(whole.window, "f", "h", resumed), chunk_rows=1_000)

    assert starts[-1] == {"row": 3_000}
    assert report.ledger == Ledger(read=5_000, inserted=5_000)
    assert len(rows_of(database)) == 5_000


def test_chunks_of_a_changed_source_are_not_continued(database: str) -> None:
    old = source_of(many_rows(3_000, "1"), source_hash="old", batch_rows=500)

    def dying(position: object) -> object:
        for number, batch in enumerate(old.read(None)):
            if number == 4:
                raise psycopg.OperationalError("the process died here")
            yield batch

    with pytest.raises(Exception, match="the process died here"):
        load(database, WindowSource(old.window, "f", "old", dying), chunk_rows=1_000)
    [report] = load(
        database,
        source_of(many_rows(3_000, "2"), source_hash="new", batch_rows=500),
        chunk_rows=1_000,
    )

    assert report.ledger == Ledger(read=3_000, inserted=3_000)
    assert query(database, "SELECT DISTINCT price FROM prices") == [(Decimal(2),)]


def test_stopping_early_leaves_no_thread_lease_or_half_window(database: str) -> None:
    from batch_assets.loading.load import load_windows
    from batch_assets.loading.options import LoadOptions
    from batch_assets_tests.loading.synthetic import SCOPE

    sources = (source_of(many_rows(3_000), day) for day in days(20))
    reports = load_windows(connector(database), CONTRACT, SCOPE, sources, LoadOptions())

    first = next(reports)
    reports.close()

    assert first.state is LoadState.SUCCESS
    counts = query(database, "SELECT day, count(*) FROM prices GROUP BY day")
    assert {count for _, count in counts} == {3_000}
    assert query(database, "SELECT count(*) FROM ops.leases") == [(0,)]
    assert query(database, "SELECT count(*) FROM ops.loads WHERE state = 'running'") == [(0,)]
