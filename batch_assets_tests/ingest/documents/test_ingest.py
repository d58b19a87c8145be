"""From a landing folder to searchable text: every file in one state, nothing done twice."""

import csv
import os
import threading
from datetime import date
from pathlib import Path

import psycopg
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from batch_assets.errors import InfrastructureError, LeaseHeld
from batch_assets.execution import failpoints
from batch_assets.ingest.documents.ingest import (
    read_document_outcomes,
)
from batch_assets.ingest.documents.read import Kind
from batch_assets.ingest.documents.search import search_documents
from batch_assets.loading.leases import Holder, acquire_leases
from batch_assets.loading.report import LoadState
from batch_assets.loading.streams import StreamOptions
from batch_assets_tests.ingest.documents.findings import LONG, chunks_of, found
from batch_assets_tests.ingest.documents.inbox import DAY, NOW, OLD, Inbox, Ingested


def test_every_file_ends_in_one_state_and_the_ledger_balances(inbox: Inbox) -> None:
    inbox.drop("a.txt", LONG)
    inbox.drop("b.html", "<title>Report</title><p>Net income rose 净利润增长.</p>")
    inbox.drop("empty.txt", "")
    inbox.drop("broken.pdf", b"%PDF-1.7 nothing else")
    (inbox.root / "link.txt").symlink_to("a.txt")
    os.utime(inbox.root / "link.txt", (OLD, OLD), follow_symlinks=False)

    ingested = inbox.run()

    ledger = ingested.load.ledger
    assert (ledger.read, ledger.inserted, ledger.rejected) == (5, 2, 3)
    assert ingested.load.state is LoadState.SUCCESS
    assert inbox.files() == {
        "a.txt": ("done", "ok"),
        "b.html": ("done", "ok"),
        "broken.pdf": ("failed", "corrupt"),
        "empty.txt": ("failed", "empty_text"),
        "link.txt": ("failed", "refused"),
    }
    letters = inbox.rows(
        "SELECT source_file, rule, violations -> 0 ->> 'hint' <> '' FROM ops.dead_letters "
        "WHERE state = 'open' ORDER BY 1"
    )
    assert letters == [
        ("broken.pdf", "corrupt", True),
        ("empty.txt", "empty_text", True),
        ("link.txt", "refused", True),
    ]
    assert inbox.rows("SELECT rows_read, rows_inserted, rows_rejected, state FROM ops.loads") == [
        (5, 2, 3, "success")
    ]
    assert inbox.rows("SELECT * FROM ops.leases") == []
    assert inbox.rows("SELECT * FROM ops.checkpoints") == []
    assert found(inbox, "净利") == {"b.html"}


def test_offsets_of_chunks_point_exactly_into_the_text(inbox: Inbox) -> None:
    inbox.drop("a.txt", LONG)
    inbox.run()

    [(chunks, wrong)] = inbox.rows(
        "SELECT count(*), count(*) FILTER (WHERE "
        "substr(t.text, c.start_offset + 1, c.end_offset - c.start_offset) <> c.text) "
        "FROM documents.chunks c JOIN documents.texts t USING (document_id)"
    )

    assert chunks > 3  # type: ignore[operator]
    assert wrong == 0


def test_second_run_changes_nothing(inbox: Inbox) -> None:
    for number in range(5):
        inbox.drop(f"{number}.txt", f"text number {number}")
    inbox.drop("bad.pdf", b"%PDF-1.7")
    inbox.run()
    before = inbox.rows("SELECT path, xmin, ctid FROM documents.documents ORDER BY 1")

    again = inbox.run()

    ledger = again.load.ledger
    assert (ledger.read, ledger.unchanged, ledger.rejected) == (6, 5, 1)
    assert again.documents == {}
    assert inbox.rows("SELECT path, xmin, ctid FROM documents.documents ORDER BY 1") == before
    assert inbox.rows("SELECT seen_count FROM ops.dead_letters WHERE state = 'open'") == [(1,)]


def test_only_failed_documents_are_retried_on_request(inbox: Inbox) -> None:
    inbox.drop("a.txt", "fine")
    inbox.drop("long.txt", LONG)
    inbox.settings["limits"] = {"max_text_characters": 100}
    first = inbox.run()
    inbox.settings["limits"] = {}
    untouched = inbox.run()

    retried = inbox.run(retry_failed=True)

    assert {path: report.outcome for path, report in first.documents.items()} == {
        "a.txt": "ok",
        "long.txt": "too_large",
    }
    assert untouched.documents == {}
    assert {path: report.outcome for path, report in retried.documents.items()} == {
        "long.txt": "ok"
    }
    assert inbox.rows("SELECT version, outcome FROM documents.documents") == [(1, "ok"), (1, "ok")]
    assert inbox.rows("SELECT DISTINCT state FROM ops.dead_letters") == [("superseded",)]
    assert inbox.run(retry_failed=True).documents == {}


def test_other_chunk_settings_reread_only_what_they_change(inbox: Inbox) -> None:
    inbox.drop("a.txt", LONG)
    inbox.drop("bad.pdf", b"%PDF-1.7")
    inbox.run()
    [(before,)] = inbox.rows("SELECT count(*) FROM documents.chunks")
    inbox.settings["chunk_characters"] = 400

    not_asked = inbox.run()
    asked = inbox.run(reprocess=True)
    asked_again = inbox.run(reprocess=True)

    assert not_asked.documents == {}
    assert set(asked.documents) == {"a.txt"}
    assert asked.load.ledger.updated == 1
    [(after,)] = inbox.rows("SELECT count(*) FROM documents.chunks")
    assert after > before  # type: ignore[operator]
    assert asked_again.documents == {}
    assert inbox.rows("SELECT count(*) FROM documents.documents WHERE is_current") == [(2,)]


def test_force_reads_everything_again_and_keeps_numbers(inbox: Inbox) -> None:
    inbox.drop("a.txt", "text")
    inbox.run()
    before = inbox.rows("SELECT document_id, version FROM documents.documents")

    forced = inbox.run(force=True)

    assert forced.documents["a.txt"].kind is Kind.READ
    assert forced.load.ledger.updated == 1
    assert inbox.rows("SELECT document_id, version FROM documents.documents") == before


def test_day_without_files_is_skipped_and_not_a_success(inbox: Inbox) -> None:
    ingested = inbox.run(date(2020, 1, 1))

    assert (ingested.load.state, ingested.load.reason) == (LoadState.SKIPPED, "no_files")


def test_failures_over_the_budget_make_the_day_partial(inbox: Inbox) -> None:
    inbox.settings["failure_limit_ratio"] = 0.2
    inbox.drop("a.txt", "text")
    inbox.drop("bad.pdf", b"%PDF-1.7")

    ingested = inbox.run()

    assert (ingested.load.state, ingested.load.reason) == (LoadState.PARTIAL, "failure_budget")
    assert "1 of 2 documents failed" in ingested.load.message
    assert chunks_of(inbox) == {"a.txt"}


def test_one_writer_a_day(inbox: Inbox) -> None:
    inbox.drop("a.txt", "text")
    inbox.scan()
    with inbox.open() as conn:
        resource = "documents.documents/inbox/2024-09-30"
        acquire_leases(conn, [resource], holder=Holder("other"), lease_seconds=60)
        conn.commit()

        with pytest.raises(LeaseHeld, match="is being written by"):
            inbox.ingest(stream=StreamOptions(lease_wait_seconds=0))

    assert inbox.files() == {"a.txt": ("waiting", None)}


def test_files_behind_a_url_are_copied_read_and_cleaned_up(inbox: Inbox) -> None:
    store = MemoryFileSystem()
    store.store.clear()
    store.pipe("/landing/2024-09-30/a.txt", b"about elephants")
    store.pipe("/landing/2024-09-30/b.csv", b"name,value\nx,1\n")
    inbox.settings |= {"url": "memory://landing", "day": "folder", "settle_seconds": 0}

    ingested = inbox.run()

    assert {report.outcome for report in ingested.documents.values()} == {"ok"}
    assert found(inbox, "elephants") == {"2024-09-30/a.txt"}
    assert [
        path for path in inbox.workers.folder.iterdir() if path.suffix in (".txt", ".csv")
    ] == []


def test_files_behind_a_url_are_fetched_while_others_are(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryFileSystem()
    store.store.clear()
    for number in range(4):
        store.pipe(f"/landing/2024-09-30/{number}.txt", f"about {number} elephants".encode())
    inbox.settings |= {"url": "memory://landing", "day": "folder", "settle_seconds": 0}
    # Nobody passes alone: reading one file after the other breaks it.
    pair = threading.Barrier(2, timeout=20)
    open_file = MemoryFileSystem._open

    def open_in_pairs(*arguments: object, **options: object) -> object:
        pair.wait()
        return open_file(*arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "_open", open_in_pairs)
    ingested = inbox.run()

    assert {report.outcome for report in ingested.documents.values()} == {"ok"}
    assert len(ingested.documents) == 4


def test_lost_connection_is_replaced_and_the_group_is_written_once(inbox: Inbox) -> None:
    for number in range(6):
        inbox.drop(f"{number}.txt", f"text number {number}")
    with psycopg.connect(inbox.url) as conn:
        conn.execute(
            "CREATE SEQUENCE public.inserts; "
            "CREATE FUNCTION public.cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF nextval('public.inserts') = 2 THEN "
            "PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NULL; END $$; "
            "CREATE TRIGGER cut AFTER INSERT ON documents.chunks FOR EACH STATEMENT "
            "EXECUTE FUNCTION public.cut()"
        )

    ingested = inbox.run(group_documents=2)

    assert ingested.load.ledger.inserted == 6
    assert inbox.rows("SELECT count(*), count(DISTINCT path) FROM documents.documents") == [(6, 6)]
    assert inbox.rows("SELECT last_value > 3 FROM public.inserts") == [(True,)]


def test_commit_whose_answer_is_lost_is_not_repeated(inbox: Inbox) -> None:
    for number in range(4):
        inbox.drop(f"{number}.txt", f"text number {number}")
    failpoints.arm("stream.after_commit=fail@2")

    ingested = inbox.run(group_documents=2)

    assert (ingested.load.ledger.read, ingested.load.ledger.inserted) == (4, 4)
    assert inbox.rows("SELECT rows_read, rows_inserted FROM ops.loads") == [(4, 4)]


def test_database_that_fails_for_good_ends_the_load_and_gives_the_day_back(inbox: Inbox) -> None:
    inbox.drop("a.txt", "text")
    inbox.scan()
    failpoints.arm("stream.before_commit=fail@2")
    options = StreamOptions(lease_seconds=60, retries=0)

    with pytest.raises(InfrastructureError):
        inbox.ingest(stream=options)

    assert inbox.rows("SELECT state, reason FROM ops.loads") == [("failed", "interrupted")]
    assert inbox.rows("SELECT * FROM ops.leases") == []
    assert inbox.ingest().load.ledger.inserted == 1


def test_outcomes_of_a_day_are_counted(inbox: Inbox) -> None:
    inbox.drop("a.txt", "text")
    inbox.drop("bad.pdf", b"%PDF-1.7")
    inbox.run()

    with inbox.open() as conn:
        assert read_document_outcomes(conn, "inbox", DAY) == {
            ("done", "ok"): 1,
            ("failed", "corrupt"): 1,
        }


@pytest.mark.long
@pytest.mark.shared_data
def test_real_files_end_as_expected_and_every_snippet_is_found(inbox: Inbox) -> None:
    folder = Path(__file__).parents[4] / "shared" / "data" / "documents"
    if not folder.is_dir():
        pytest.skip(f"the real documents are not at {folder}")
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        manifest = {row["name"]: row for row in csv.DictReader(file)}
    inbox.root = folder / "files"
    inbox.settings |= {"first_day": "2100-01-01", "settle_seconds": 0}

    # No time of change counts before that first day, so all of them arrive today.
    ingested = inbox.run(NOW.date())

    ledger = ingested.load.ledger
    assert ledger.read == len(manifest)
    assert ledger.read == ledger.inserted + ledger.rejected
    assert_outcomes_are_expected(ingested, manifest)
    with inbox.open() as conn:
        for name, row in manifest.items():
            if row["snippet"] and row["expected"] == "ok":
                phrase = '"' + row["snippet"].replace('"', " ") + '"'
                hits = search_documents(conn, phrase, limit=1_000)
                assert name in {hit.path for hit in hits}, row["snippet"]


def assert_outcomes_are_expected(ingested: Ingested, manifest: dict[str, dict[str, str]]) -> None:
    for name, row in manifest.items():
        outcome = ingested.documents[name].outcome
        if row["expected"] == "ok" and int(row["ref_tokens"] or 0) == 0:
            # It opens and has no words: a state of its own here.
            assert outcome in ("ok", "empty_text"), name
        elif row["expected"] != "ambiguous":
            assert outcome == row["expected"], name
