"""Publishing against a plain Python model, and what an unchanged load costs."""

import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch_assets.contracts.disposition import Disposition
from batch_assets.loading.prepare import RejectLimit
from batch_assets.loading.report import LoadReport, LoadState, PublishPath, RecognisedBy
from batch_assets_tests.loading.synthetic import (
    CONTRACT,
    DAY,
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


@pytest.fixture
def database(postgres: str) -> str:
    create_table(postgres)
    return postgres


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection]:
    with connector(database)() as conn:
        conn.autocommit = True
        yield conn


_KEYS = st.sampled_from(["A", "B", "C", "D", "E", "ä", "中", "a"])
_PRICES = st.sampled_from(["1", "2.5", "0", "99999999999999.999999", "-1", "oops", None])
_ROWS = st.lists(st.tuples(_KEYS, _PRICES, st.sampled_from([None, "", "n"])), max_size=12)

Kept = dict[str, tuple[Decimal, str | None, int]]
"""symbol -> price, note, revision"""


class Model:
    """What the table should hold and the ledger should say, in plain Python."""

    def __init__(self, disposition: Disposition) -> None:
        self.disposition = disposition
        self.kept: Kept = {}

    def load(self, rows: list[Row]) -> dict[str, int]:
        """Apply one load; returns its ledger."""
        good = [row for row in rows if row[1] not in (None, "-1", "oops")]
        by_key: dict[str, list[Row]] = {}
        for row in good:
            by_key.setdefault(row[0], []).append(row)
        counts = dict.fromkeys(
            ("inserted", "updated", "unchanged", "duplicate", "deleted", "skipped"), 0
        )
        counts |= {"read": len(rows), "rejected": len(rows) - len(good)}
        incoming: dict[str, tuple[Decimal, str | None]] = {}
        for key, copies in by_key.items():
            values = {(Decimal(str(price)), note) for _, price, note in copies}
            if len(values) > 1:
                counts["rejected"] += len(copies)
            else:
                counts["duplicate"] += len(copies) - 1
                incoming[key] = values.pop()
        if self.disposition is Disposition.REPLACE and rows:
            gone = self.kept.keys() - incoming.keys()
            counts["deleted"] = len(gone)
            self.kept = {key: row for key, row in self.kept.items() if key not in gone}
        for key, value in incoming.items():
            counts[self._store(key, value)] += 1
        return counts

    def _store(self, key: str, value: tuple[Decimal, str | None]) -> str:
        if key not in self.kept:
            self.kept[key] = (*value, 1)
            return "inserted"
        *old, revision = self.kept[key]
        if tuple(old) == value or self.disposition is Disposition.APPEND:
            return "unchanged"
        self.kept[key] = (*value, revision + 1)
        return "updated"


def counts_of(report: LoadReport) -> dict[str, int]:
    ledger = report.ledger
    return {name: getattr(ledger, name) for name in ledger.__dataclass_fields__}


@pytest.mark.parametrize("disposition", list(Disposition))
@pytest.mark.parametrize("chunk_rows", [65_536, 3], ids=["in memory", "in chunks"])
def test_any_sequence_of_loads_agrees_with_a_plain_model(
    database: str, conn: psycopg.Connection, disposition: Disposition, chunk_rows: int
) -> None:
    contract = replace(CONTRACT, disposition=disposition)

    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.tuples(_ROWS, st.booleans()), min_size=1, max_size=4))
    def check(loads: list[tuple[list[Row], bool]]) -> None:
        conn.execute("TRUNCATE prices, ops.windows, ops.loads, ops.dead_letters")
        model = Model(disposition)
        for rows, force in loads:
            [report] = load(
                database,
                source_of(rows, batch_rows=2),
                contract=contract,
                reject_limit=LENIENT,
                chunk_rows=chunk_rows,
                publish_connections=1,
                force=force,
            )

            expected = model.load(rows)
            assert report.state is (LoadState.SUCCESS if rows else LoadState.UNCONFIRMED_EMPTY)
            assert counts_of(report) == expected
            assert report.ledger.balances
            stored = conn.execute("SELECT symbol, price, note, revision FROM prices").fetchall()
            assert {row[0]: tuple(row[1:]) for row in stored} == model.kept

    check()


def test_windows_of_one_call_agree_with_a_model_of_each(database: str) -> None:
    first = {day: many_rows(5 + n, str(n)) for n, day in enumerate(days(12))}
    load(database, *(source_of(rows, day) for day, rows in first.items()))
    second = {
        day: [*rows[: -(n % 3) or None], (f"N{n}", "7", None)] if n % 2 else rows
        for n, (day, rows) in enumerate(first.items())
    }

    reports = load(database, *(source_of(rows, day) for day, rows in second.items()))

    by_key = {report.window.key: report for report in reports}
    for day, rows in second.items():
        ledger = by_key[day.isoformat()].ledger
        known = set(first[day])
        assert ledger.inserted == sum(row not in known for row in rows)
        assert ledger.unchanged == sum(row in known for row in rows)


def test_a_window_newer_than_the_statistics_is_compared_in_linear_time(
    database: str, conn: psycopg.Connection
) -> None:
    conn.execute("ALTER TABLE prices SET (autovacuum_enabled = off)")
    conn.execute(
        "INSERT INTO prices (source, symbol, day, price, load_id) "
        "SELECT 'test', 'S' || n, date '2020-01-01' + n % 1000, 1, 0 "
        "FROM generate_series(1, 50000) n"
    )
    conn.execute("ANALYZE prices")
    rows = many_rows(20_000)
    load(database, source_of(rows))
    started = time.perf_counter()

    [report] = load(database, source_of([(s, "2", n) for s, _, n in rows]))

    assert report.ledger.updated == 20_000
    # Nested loops over 20,000 x 20,000 rows took minutes; by hash it is a second.
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize("force", [False, True], ids=["content hash", "row by row"])
def test_an_unchanged_load_writes_less_than_a_byte_of_wal_a_row(
    database: str, conn: psycopg.Connection, quiet_postgres: str, force: bool
) -> None:
    rows = 60_000
    load(database, source_of(many_rows(rows), source_hash="h1"))
    # Reading sets hint bits, and a first difference elsewhere pays for the full pages that the
    # catalogue logs once after a checkpoint: both cost the same for one row as for a million.
    rows_of(database)
    load(database, source_of([("A", "1", None)], days(2)[1]))
    load(database, source_of([("A", "1", None)], days(2)[1]), force=True)
    untouched = rows_of(database, "xmin, ctid, revision, load_id")
    written: list[int] = []

    # Pages of the catalogue that are looked at for the first time are logged whole, once.
    with connector(database)() as housekeeper:
        housekeeper.autocommit = True
        housekeeper.execute("VACUUM (FREEZE)")
    # Twice: a checkpoint in the middle of one, or other databases' housekeeping, is not ours.
    for source_hash in ("h2", "h3"):
        started_at = _wal_position(conn)
        [report] = load(database, source_of(many_rows(rows), source_hash=source_hash), force=force)
        written.append(_wal_position(conn) - started_at)
        assert report.ledger.unchanged == rows
        how = RecognisedBy.DIFFERENCE if force else RecognisedBy.CONTENT_HASH
        assert report.recognised_by is how

    assert min(written) / rows < 1.0, f"{written} bytes of WAL for {rows} unchanged rows"
    assert rows_of(database, "xmin, ctid, revision, load_id") == untouched


def test_a_small_change_writes_in_proportion(database: str, conn: psycopg.Connection) -> None:
    rows = many_rows(50_000)
    load(database, source_of(rows))
    changed = [(s, "9", n) if i % 100 == 0 else (s, p, n) for i, (s, p, n) in enumerate(rows)]
    before = dict(conn.execute("SELECT symbol, xmin::text FROM prices").fetchall())

    [report] = load(database, source_of(changed))

    after = dict(conn.execute("SELECT symbol, xmin::text FROM prices").fetchall())
    assert (report.ledger.updated, report.ledger.unchanged) == (500, 49_500)
    assert sum(before[symbol] != after[symbol] for symbol in before) == 500


def test_columns_the_contract_does_not_name_survive_a_change(
    database: str, conn: psycopg.Connection
) -> None:
    conn.execute("ALTER TABLE prices ADD COLUMN remark text DEFAULT 'by hand'")
    load(database, source_of([("A", "1", None)]))
    conn.execute("UPDATE prices SET remark = 'kept'")

    load(database, source_of([("A", "2", None)]))

    assert rows_of(database, "price, remark") == [(Decimal(2), "kept")]


def test_append_leaves_a_known_key_as_it_is(database: str) -> None:
    contract = replace(CONTRACT, disposition=Disposition.APPEND)
    load(database, source_of([("A", "1", None)]), contract=contract)

    [report] = load(database, source_of([("A", "2", None), ("B", "3", None)]), contract=contract)

    assert (report.ledger.inserted, report.ledger.unchanged) == (1, 1)
    assert rows_of(database, "symbol, price") == [("A", Decimal(1)), ("B", Decimal(3))]


def test_other_scopes_and_windows_are_left_alone(database: str, conn: psycopg.Connection) -> None:
    first, second = days(2)
    conn.execute(
        "INSERT INTO prices (source, symbol, day, price, load_id) VALUES "
        "('other', 'A', %s, 1, 0), ('test', 'A', %s, 1, 0)",
        (first, second),
    )
    contract = replace(CONTRACT, disposition=Disposition.REPLACE)
    load(database, source_of([("A", "5", None), ("B", "6", None)], first), contract=contract)

    [report] = load(database, source_of([("C", "7", None)], first), contract=contract)

    assert (report.ledger.inserted, report.ledger.deleted) == (1, 2)
    assert report.publish_path is PublishPath.MERGE
    assert conn.execute("SELECT source, symbol, day FROM prices ORDER BY 1, 2").fetchall() == [
        ("other", "A", first),
        ("test", "A", second),
        ("test", "C", DAY),
    ]


def _wal_position(conn: psycopg.Connection) -> int:
    row = conn.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
    assert row is not None
    return int(row[0])
