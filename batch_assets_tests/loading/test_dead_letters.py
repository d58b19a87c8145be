import pytest

from batch_assets.errors import UnreadableSource
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.loads import Outcome
from batch_assets.loading.prepare import RejectLimit, WindowSource
from batch_assets.loading.report import LoadState
from batch_assets_tests.loading.synthetic import (
    DAY,
    Row,
    connector,
    create_table,
    load,
    many_rows,
    source_of,
    to_batch,
)

LENIENT = RejectLimit(rows=10_000, ratio=1.0)


@pytest.fixture
def database(postgres: str) -> str:
    create_table(postgres)
    return postgres


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with connector(url)() as conn:
        return conn.execute(statement).fetchall()


def test_text_with_a_nul_is_kept_readable_and_the_rest_is_loaded(database: str) -> None:
    rows: list[Row] = [("A", "1", "a\x00b"), ("B", "2", "fine")]

    [report] = load(database, source_of(rows), reject_limit=LENIENT)

    assert report.ledger == Ledger(read=2, inserted=1, rejected=1)
    assert query(database, "SELECT rule, original ->> 'note' FROM ops.dead_letters") == [
        ("nul_character", "a␀b")
    ]


def test_a_lone_surrogate_is_kept_as_its_escape(database: str) -> None:
    rows: list[Row] = [("A", "bad\ud800", None)]

    load(database, source_of(rows), reject_limit=LENIENT)

    assert query(database, "SELECT original ->> 'price' FROM ops.dead_letters") == [("bad\\ud800",)]


def test_every_rejected_row_is_kept_however_many_there_are(database: str) -> None:
    rows: list[Row] = [(f"B{number}", "?", None) for number in range(5_000)]

    [report] = load(database, source_of(rows), reject_limit=RejectLimit(rows=10, ratio=0.1))

    assert report.state is LoadState.FAILED
    assert len(report.quoted_rejects) == 10
    assert query(database, "SELECT count(*) FROM ops.dead_letters") == [(5_000,)]


def test_a_reading_that_breaks_off_closes_no_dead_letter_it_did_not_reach(database: str) -> None:
    rows: list[Row] = [("A", "?", None), *many_rows(10), ("Z", "?", None)]
    load(database, source_of(rows), reject_limit=LENIENT)

    def read(_: object) -> object:
        yield to_batch(rows[:5], DAY)
        raise UnreadableSource("truncated; expected 12 rows; copy the file again")

    [report] = load(database, WindowSource(source_of([]).window, "f", None, read))

    assert isinstance(report.error, UnreadableSource)
    assert query(database, "SELECT state, row_number FROM ops.dead_letters ORDER BY 2") == [
        ("open", 1),
        ("open", 12),
    ]


def test_rows_of_no_window_replace_those_of_the_last_look(database: str) -> None:
    window = source_of([]).window

    def outcome(*symbols: str) -> Outcome:
        rejected = to_batch([(symbol, "?", None) for symbol in symbols], DAY).rejected
        return Outcome(window, LoadState.FAILED, reason="unparsable_date", rejected=rejected)

    load(database, outcome("A", "B"))
    load(database, outcome("A"))

    assert query(
        database, "SELECT original ->> 'symbol', state FROM ops.dead_letters ORDER BY 1"
    ) == [("A", "open"), ("B", "superseded")]
