"""Rows that the target is known to have are not sent, and nothing else is missed for it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.table import Window
from batch_assets.errors import LedgerImbalance
from batch_assets.loading import difference, known_rows
from batch_assets.loading.copy import copy_batches
from batch_assets.loading.report import LoadReport, LoadState, RecognisedBy
from batch_assets_tests.loading.synthetic import (
    CONTRACT,
    Row,
    connector,
    create_table,
    days,
    load,
    many_rows,
    rows_of,
    source_of,
)

EXACT = replace(CONTRACT, disposition=Disposition.REPLACE)
APPENDING = replace(CONTRACT, disposition=Disposition.APPEND)
KEEPING = replace(CONTRACT, history_table="public.prices_history")
ROWS = many_rows(1_000)
CHANGED = [("S0000500", "9", None), *ROWS[:500], *ROWS[501:]]


@pytest.fixture(autouse=True)
def first_loads_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """However old the days of these tests are."""
    monkeypatch.setattr(known_rows, "OLD_AFTER", timedelta(days=36_500))


@pytest.fixture
def database(postgres: str) -> str:
    create_table(postgres)
    with connector(postgres)() as conn:
        conn.execute(
            "CREATE TABLE public.prices_history (LIKE public.prices, known_from timestamptz,"
            " known_to timestamptz, superseded_by bigint)"
        )
    return postgres


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection]:
    with connector(database)() as conn:
        conn.autocommit = True
        yield conn


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each COPY into the staging table."""
    counts: list[int] = []

    def counting(*arguments: object) -> int:
        counts.append(copy_batches(*arguments))
        return counts[-1]

    monkeypatch.setattr(difference, "copy_batches", counting)
    return counts


def changes_of(report: LoadReport) -> tuple[int, int, int, int]:
    ledger = report.ledger
    assert report.state is LoadState.SUCCESS
    assert ledger.balances
    return ledger.inserted, ledger.updated, ledger.unchanged, ledger.deleted


@pytest.mark.parametrize("contract", [CONTRACT, EXACT, KEEPING], ids=["merge", "replace", "keep"])
def test_only_new_and_changed_rows_are_sent(
    database: str, sent: list[int], contract: object
) -> None:
    load(database, source_of(ROWS), contract=contract)
    [report] = load(database, source_of([*CHANGED, ("T", "1", None)]), contract=contract)
    [again] = load(database, source_of([*CHANGED, ("T", "1", "noted")]), contract=contract)

    assert changes_of(report) == (1, 1, 999, 0)
    assert report.recognised_by is RecognisedBy.DIFFERENCE
    assert changes_of(again) == (0, 1, 1_000, 0)
    assert sent == [2, 1]
    assert ("S0000500", Decimal(9), None) in rows_of(database)
    assert ("T", Decimal(1), "noted") in rows_of(database)


def test_rows_of_an_old_window_are_remembered_when_they_first_change(
    database: str, sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_rows, "OLD_AFTER", timedelta(days=90))
    load(database, source_of(ROWS))
    [report] = load(database, source_of(CHANGED))
    [again] = load(database, source_of([*CHANGED, ("T", "1", None)]))

    assert changes_of(report) == (0, 1, 999, 0)
    assert changes_of(again) == (1, 0, 1_000, 0)
    assert sent == [1_000, 1]


@pytest.mark.parametrize(
    ("ended_days_ago", "is_likely"), [(-1, True), (0, True), (88, True), (92, False)]
)
def test_a_window_is_likely_to_change_for_a_quarter(
    monkeypatch: pytest.MonkeyPatch, ended_days_ago: int, is_likely: bool
) -> None:
    monkeypatch.setattr(known_rows, "OLD_AFTER", timedelta(days=90))
    today = datetime.now(UTC).date()
    window = Window.of_day(today - timedelta(days=ended_days_ago + 1))

    assert known_rows.is_likely_to_change(window) is is_likely
    assert known_rows.is_likely_to_change(Window("all"))


def test_a_contract_that_appends_sends_rows_with_new_keys(database: str, sent: list[int]) -> None:
    load(database, source_of(ROWS), contract=APPENDING)
    [report] = load(database, source_of([*CHANGED, ("T", "1", None)]), contract=APPENDING)

    assert changes_of(report) == (1, 0, 1_000, 0)
    assert sent == [1]
    assert ("S0000500", Decimal("1.5"), None) in rows_of(database)


def test_absent_rows_are_deleted_though_nobody_sends_their_keys(
    database: str, sent: list[int]
) -> None:
    load(database, source_of(ROWS), contract=EXACT)
    [report] = load(database, source_of([*CHANGED[:-1], ("T", "1", None)]), contract=EXACT)

    assert changes_of(report) == (1, 1, 998, 1)
    assert sum(sent) == 1_000
    assert len(rows_of(database)) == 1_000


def test_each_window_of_a_group_is_compared_with_its_own_rows(
    database: str, sent: list[int]
) -> None:
    contents = {day: many_rows(600, str(n)) for n, day in enumerate(days(4))}
    load(database, *(source_of(rows, day) for day, rows in contents.items()), contract=EXACT)
    for n, rows in enumerate(contents.values()):
        rows[0] = ("S0000000", "77", None)
        del rows[len(rows) - n :]
    reports = load(
        database,
        *(source_of(rows, day) for day, rows in contents.items()),
        contract=EXACT,
        publish_connections=1,
    )

    found = {report.window.key: changes_of(report) for report in reports}
    expected = {day.isoformat(): (0, 1, 599 - n, n) for n, day in enumerate(contents)}
    assert found == expected
    assert sum(sent) < 2_400


def test_few_rows_of_a_window_newer_than_the_statistics_are_looked_up(
    database: str, conn: psycopg.Connection
) -> None:
    size, (first, second) = 5_000, days(2)
    load(database, source_of(many_rows(size), first), contract=KEEPING)
    conn.execute("ANALYZE prices")
    rows = many_rows(size)
    load(database, source_of(rows, second), contract=KEEPING)
    read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'prices'"
    [before] = conn.execute(read).fetchone()

    rows = [*((symbol, "9", None) for symbol, _, _ in rows[:200]), *rows[200:], ("T", "1", None)]
    [report] = load(database, source_of(rows, second), contract=KEEPING)
    [after] = conn.execute(read).fetchone()

    assert changes_of(report) == (1, 200, size - 200, 0)
    # Who wrote the rows is read twice. For each changed row it would be a million.
    assert after - before < 4 * size


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE prices SET note = 'edited' WHERE symbol = 'S0000007'",
        "DELETE FROM prices WHERE symbol = 'S0000007'; INSERT INTO prices SELECT source,"
        " 'S0000007', day, 8, note, 1, load_id FROM prices WHERE symbol = 'S0000008'",
        "UPDATE prices SET price = price + 1; UPDATE prices SET price = price - 1"
        " WHERE symbol <> 'S0000007'",
        "ALTER TABLE prices ALTER note SET DATA TYPE text USING 'edited'",
    ],
    ids=["update", "delete and insert", "update of all", "rewrite"],
)
def test_rows_that_somebody_edited_are_put_right(
    database: str, conn: psycopg.Connection, edit: str
) -> None:
    load(database, source_of(ROWS))
    conn.execute(edit)
    [report] = load(database, source_of(CHANGED))

    assert report.ledger.updated >= 2
    stored = {symbol: (price, note) for symbol, price, note in rows_of(database)}
    assert stored == {symbol: (Decimal(price), note) for symbol, price, note in CHANGED}


def test_an_edit_while_rows_are_published_is_seen_by_the_next_load(
    database: str, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(database, source_of(ROWS))

    def edit(name: str) -> None:
        if name == "merge.after_staging":
            conn.execute("UPDATE prices SET note = 'edited' WHERE symbol = 'S0000007'")

    with monkeypatch.context() as patched:
        patched.setattr(difference, "reach", edit)
        [report] = load(database, source_of(CHANGED))
    [second] = load(database, source_of(ROWS))

    assert changes_of(report) == (0, 1, 999, 0)
    assert changes_of(second) == (0, 2, 998, 0)
    assert {note for _, _, note in rows_of(database)} == {None}


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE prices SET note = 'edited' WHERE symbol = 'S0000500'",
        "DELETE FROM prices WHERE symbol = 'S0000500'",
        "DELETE FROM prices WHERE symbol = 'S0000007'",
    ],
    ids=["changed row", "changed row deleted", "equal row deleted"],
)
def test_a_write_between_the_statements_is_never_counted_as_ours(
    database: str, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, edit: str
) -> None:
    load(database, source_of(ROWS))
    matching = difference.Merge.match

    def match_then_edit(merge: difference.Merge) -> object:
        matched = matching(merge)
        conn.execute(edit)
        return matched

    with monkeypatch.context() as patched:
        patched.setattr(difference.Merge, "match", match_then_edit)
        [report] = load(database, source_of(CHANGED))
    [second] = load(database, source_of(CHANGED))

    if report.state is LoadState.FAILED:
        assert isinstance(report.error, LedgerImbalance)
    else:
        assert changes_of(report) == (0, 1, 999, 0)
    assert second.ledger.balances
    stored = {symbol: (price, note) for symbol, price, note in rows_of(database)}
    assert stored == {symbol: (Decimal(price), note) for symbol, price, note in CHANGED}


@pytest.mark.parametrize(
    "statements",
    [
        "CREATE FUNCTION round_up() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.price = ceil(NEW.price); RETURN NEW; END $$;"
        " CREATE TRIGGER round_up BEFORE INSERT OR UPDATE ON prices"
        " FOR EACH ROW EXECUTE FUNCTION round_up()",
        "ALTER TABLE prices ENABLE ROW LEVEL SECURITY",
        "CREATE RULE noted AS ON DELETE TO prices DO ALSO NOTIFY noted",
    ],
    ids=["trigger", "policies", "rule"],
)
def test_tables_that_may_hold_other_than_what_was_sent_get_every_row(
    database: str, conn: psycopg.Connection, sent: list[int], statements: str
) -> None:
    conn.execute(statements)
    load(database, source_of(ROWS))
    load(database, source_of(CHANGED))

    assert sent == [1_000]
    assert conn.execute("SELECT count(*) FROM ops.row_hashes").fetchone() == (0,)


@pytest.mark.parametrize(
    "forget",
    [
        "TRUNCATE ops.row_hashes",
        "UPDATE ops.row_hashes SET algorithm = algorithm + 1",
        "UPDATE ops.row_hashes SET system_identifier = system_identifier + 1",
        "UPDATE ops.row_hashes SET written_by = written_by - 2147483648",
        "UPDATE ops.row_hashes SET content_hash = 'another'",
        "UPDATE ops.windows SET version = version + 1",
        "CREATE TABLE copied AS TABLE prices; TRUNCATE prices; INSERT INTO prices TABLE copied",
    ],
)
def test_every_row_is_sent_where_the_hashes_may_not_be_those_of_the_table(
    database: str, conn: psycopg.Connection, sent: list[int], forget: str
) -> None:
    load(database, source_of(ROWS))
    conn.execute(forget)
    [report] = load(database, source_of(CHANGED))

    assert changes_of(report) == (0, 1, 999, 0)
    assert sent == [1_000]


def test_another_contract_compares_every_row(database: str, sent: list[int]) -> None:
    load(database, source_of(ROWS))
    [report] = load(database, source_of(CHANGED), contract=replace(CONTRACT, version="2"))

    assert changes_of(report) == (0, 1, 999, 0)
    assert sent == [1_000]


def test_force_compares_every_row(database: str, sent: list[int]) -> None:
    load(database, source_of(ROWS))
    [report] = load(database, source_of(CHANGED), force=True)

    assert changes_of(report) == (0, 1, 999, 0)
    assert sent == [1_000]


def test_force_writes_no_hashes_that_are_written_down_already(
    database: str, conn: psycopg.Connection, sent: list[int]
) -> None:
    load(database, source_of(ROWS))
    load(database, source_of(CHANGED))
    [report] = load(database, source_of(CHANGED), force=True)
    sizes = conn.execute("SELECT length(hashes), length(added) FROM ops.row_hashes").fetchone()

    assert changes_of(report) == (0, 0, 1_000, 0)
    assert sent == [1, 1_000]
    assert sizes == (8_000, 12)


def test_a_publish_that_fails_leaves_the_hashes_as_they_were(
    database: str, conn: psycopg.Connection, sent: list[int]
) -> None:
    load(database, source_of(ROWS))
    conn.execute("ALTER TABLE prices ADD CHECK (price < 5)")
    [failed] = load(database, source_of(CHANGED))
    [report] = load(database, source_of([*ROWS, ("T", "1", None)]))

    assert failed.state is LoadState.FAILED
    assert changes_of(report) == (1, 0, 1_000, 0)
    assert sent == [1, 1]


def test_many_writers_of_a_window_are_told_apart(
    database: str, conn: psycopg.Connection, sent: list[int]
) -> None:
    load(database, source_of(ROWS))
    rows = ROWS
    for number in range(40):
        rows = [*rows, (f"T{number:02}", "1", None)]
        load(database, source_of(rows))
    [versions] = conn.execute("SELECT row_versions FROM ops.row_hashes").fetchone()
    conn.execute("UPDATE prices SET price = 3 WHERE symbol = 'T07'")
    [report] = load(database, source_of([*rows, ("U", "1", None)]))

    assert versions.startswith("sha256:")
    assert sent == [1] * 40 + [1_041]
    assert changes_of(report) == (1, 1, 1_039, 0)


def test_loader_without_further_rights_reads_who_wrote_rows(
    database: str, conn: psycopg.Connection
) -> None:
    conn.execute("CREATE ROLE plain_loader; GRANT USAGE ON SCHEMA ops TO plain_loader")
    try:
        conn.execute("SET ROLE plain_loader")
        found = conn.execute(
            "SELECT ops.tells_row_versions('public.prices'), c.system_identifier IS NOT NULL"
            " FROM pg_control_system() AS c"
        ).fetchone()
    finally:
        conn.execute("RESET ROLE; DROP OWNED BY plain_loader; DROP ROLE plain_loader")

    assert found == (True, True)


_KEYS = st.sampled_from("ABCDEFGHIJ")
_ROWS = st.lists(
    st.tuples(_KEYS, st.sampled_from(["1", "1.0", "2.5"]), st.sampled_from([None, "", "n"])),
    max_size=12,
    unique_by=lambda row: row[0],
)
_EDITS = st.lists(st.tuples(st.sampled_from(["change", "delete", "touch"]), _KEYS), max_size=2)
_STEPS = st.lists(st.tuples(_ROWS, _EDITS, st.booleans()), min_size=2, max_size=6)

_EDIT_SQL = {
    "change": "UPDATE prices SET note = 'edited' WHERE symbol = %s",
    "delete": "DELETE FROM prices WHERE symbol = %s",
    "touch": "UPDATE prices SET note = note WHERE symbol = %s",
}

Kept = dict[str, tuple[Decimal, str | None]]


def apply(disposition: Disposition, kept: Kept, rows: list[Row]) -> tuple[Kept, tuple[int, ...]]:
    """What a load makes of a window, and its inserted, updated, unchanged and deleted rows."""
    incoming = {symbol: (Decimal(price), note) for symbol, price, note in rows}
    gone = kept.keys() - incoming.keys() if disposition is Disposition.REPLACE and rows else set()
    both = kept.keys() & incoming.keys()
    changed = {key for key in both if kept[key] != incoming[key]}
    if disposition is Disposition.APPEND:
        changed = set()
    after = {key: row for key, row in kept.items() if key not in gone}
    after |= {key: row for key, row in incoming.items() if key in changed or key not in kept}
    counts = (len(incoming) - len(both), len(changed), len(both) - len(changed), len(gone))
    return after, counts


@pytest.mark.parametrize("disposition", list(Disposition))
@pytest.mark.parametrize("history", [None, "public.prices_history"], ids=["plain", "history"])
@pytest.mark.parametrize("share", [0, 10], ids=["looked up", "joined"])
def test_loads_and_edits_in_any_order_agree_with_a_plain_model(
    database: str,
    conn: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    disposition: Disposition,
    history: str | None,
    share: int,
) -> None:
    monkeypatch.setattr(known_rows, "SMALLEST_WINDOW_ROWS", 1)
    monkeypatch.setattr(difference, "_LOOK_UP_SHARE", share)
    contract = replace(CONTRACT, disposition=disposition, history_table=history)

    @settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(_STEPS)
    def check(steps: list[tuple[list[Row], list[tuple[str, str]], bool]]) -> None:
        conn.execute(
            "TRUNCATE prices, prices_history, ops.windows, ops.loads, ops.row_hashes, ops.leases"
        )
        kept: Kept = {}
        replaced = 0
        for rows, edits, force in steps:
            [report] = load(
                database, source_of(rows), contract=contract, force=force, publish_connections=1
            )
            # An edit that leaves the number of rows as it was is not looked for where content is
            # the same again.
            if report.recognised_by is not RecognisedBy.CONTENT_HASH and rows:
                kept, counts = apply(disposition, kept, rows)
                replaced += counts[1] + counts[3]
                assert changes_of(report) == counts
            read = conn.execute("SELECT symbol, price, note FROM prices").fetchall()
            assert {symbol: (price, note) for symbol, price, note in read} == kept
            [versions] = conn.execute("SELECT count(*) FROM prices_history").fetchone()
            assert versions == (replaced if history else 0)
            for edit, key in edits:
                conn.execute(_EDIT_SQL[edit], (key,))
                if edit == "change" and key in kept:
                    kept[key] = (kept[key][0], "edited")
                elif edit == "delete":
                    kept.pop(key, None)

    check()
