"""From a landing folder to searchable text: every file in one state, nothing done twice."""

import csv
import os
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psycopg
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from batch_assets.errors import InfrastructureError, LeaseHeld
from batch_assets.execution import failpoints
from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ingest.documents.ingest import (
    PRELOAD,
    IngestOptions,
    ingest_documents,
    read_document_outcomes,
)
from batch_assets.ingest.documents.read import Kind
from batch_assets.ingest.documents.search import search_documents
from batch_assets.loading.leases import Holder, acquire_leases
from batch_assets.loading.report import LoadState
from batch_assets.loading.streams import StreamOptions
from batch_assets_tests.ingest.documents.inbox import DAY, NOW, OLD, Inbox, Ingested

LONG = "\n\n".join(f"Paragraph {n} about margins and 营业收入 in 2024." for n in range(120))


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedWorkers]:
    spool = tmp_path_factory.mktemp("spool")
    with IsolatedWorkers(workers=2, spool_dir=spool, preload=PRELOAD) as pool:
        yield pool


@pytest.fixture
def inbox(postgres: str, tmp_path: Path, workers: IsolatedWorkers) -> Iterator[Inbox]:
    root = tmp_path / "landing"
    root.mkdir()
    yield Inbox(postgres, root, workers)
    failpoints.arm("")


def chunks_of(inbox: Inbox) -> set[object]:
    rows = inbox.rows(
        "SELECT DISTINCT d.path FROM documents.chunks c JOIN documents.documents d "
        "USING (document_id)"
    )
    return {path for (path,) in rows}


def found(inbox: Inbox, query: str) -> set[str]:
    with inbox.open() as conn:
        return {hit.path for hit in search_documents(conn, query)}


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


def test_touched_file_is_recognised_by_its_hash(inbox: Inbox) -> None:
    inbox.drop("a.txt", "the same")
    inbox.run()
    inbox.drop("a.txt", "the same", changed=OLD + 60)

    again = inbox.run()

    assert again.documents["a.txt"].kind is Kind.UNCHANGED
    assert again.load.ledger.unchanged == 1


def test_new_content_is_a_new_version_and_replaces_the_chunks(inbox: Inbox) -> None:
    inbox.drop("a.txt", "about elephants")
    inbox.run()
    inbox.drop("a.txt", "about tigers", changed=OLD + 60)

    inbox.run()

    assert found(inbox, "elephants") == set()
    assert found(inbox, "tigers") == {"a.txt"}
    assert inbox.rows("SELECT version, is_current FROM documents.documents ORDER BY version") == [
        (1, False),
        (2, True),
    ]
    assert inbox.rows("SELECT count(*) FROM documents.texts") == [(1,)]


def test_new_content_that_cannot_be_read_takes_the_old_text_out(inbox: Inbox) -> None:
    inbox.drop("a.txt", "plain text")
    inbox.run()
    inbox.drop("a.txt", b"%PDF-1.7 broken", changed=OLD + 60)

    ingested = inbox.run()
    while_broken = found(inbox, "plain")
    inbox.drop("a.txt", "plain once more", changed=OLD + 120)
    inbox.run()

    assert ingested.documents["a.txt"].outcome == "corrupt"
    assert while_broken == set()
    assert found(inbox, "plain") == {"a.txt"}
    assert inbox.rows("SELECT DISTINCT state FROM ops.dead_letters") == [("superseded",)]


def test_renamed_file_keeps_its_document_and_is_not_read_again(inbox: Inbox) -> None:
    inbox.drop("old.txt", "about elephants")
    inbox.drop("other.txt", "other")
    inbox.run()
    [(number,)] = inbox.rows("SELECT document_id FROM documents.documents WHERE path = 'old.txt'")
    (inbox.root / "old.txt").rename(inbox.root / "new.txt")

    ingested = inbox.run()

    assert ingested.documents["new.txt"].kind is Kind.RENAMED
    assert found(inbox, "elephants") == {"new.txt"}
    assert inbox.rows("SELECT document_id FROM documents.documents WHERE path = 'new.txt'") == [
        (number,)
    ]
    assert inbox.files()["old.txt"] == ("deleted", "ok")


def test_file_renamed_over_another_replaces_it(inbox: Inbox) -> None:
    inbox.drop("a.txt", "about elephants")
    inbox.drop("b.txt", "about tigers")
    inbox.run()
    inbox.drop("a.txt", "about elephants", changed=OLD + 60).rename(inbox.root / "b.txt")

    ingested = inbox.run()

    assert ingested.documents["b.txt"].kind is Kind.RENAMED
    assert found(inbox, "tigers") == set()
    assert found(inbox, "elephants") == {"b.txt"}
    assert inbox.rows("SELECT count(*) FROM documents.documents WHERE is_current") == [(1,)]


def test_same_content_at_two_paths_is_two_documents_and_read_once(inbox: Inbox) -> None:
    inbox.drop("a.txt", LONG)
    inbox.run()
    inbox.drop("copy/b.txt", LONG)

    ingested = inbox.run()

    assert ingested.documents["copy/b.txt"].kind is Kind.COPIED
    assert ingested.load.ledger.inserted == 1
    assert found(inbox, "营业收入") == {"a.txt", "copy/b.txt"}
    counts = inbox.rows("SELECT count(*) FROM documents.chunks GROUP BY document_id")
    assert len(counts) == 2
    assert counts[0] == counts[1]


def test_two_new_names_of_a_renamed_file_are_a_rename_and_a_copy(inbox: Inbox) -> None:
    inbox.drop("old.txt", "about elephants")
    inbox.drop("z.txt", "other")
    inbox.run()
    (inbox.root / "old.txt").unlink()
    inbox.drop("n1.txt", "about elephants")
    inbox.drop("n2.txt", "about elephants")

    inbox.run()

    assert found(inbox, "elephants") == {"n1.txt", "n2.txt"}


@pytest.mark.parametrize("policy", ["mark", "remove"])
def test_deleted_file_is_not_found_and_comes_back(inbox: Inbox, policy: str) -> None:
    inbox.settings["deleted"] = policy
    inbox.drop("a.txt", "about elephants")
    inbox.drop("b.txt", "other")
    inbox.run()
    (inbox.root / "a.txt").unlink()
    inbox.run()
    gone = found(inbox, "elephants")
    inbox.drop("a.txt", "about elephants")

    back = inbox.run()

    assert gone == set()
    assert found(inbox, "elephants") == {"a.txt"}
    assert back.documents["a.txt"].kind is (Kind.UNCHANGED if policy == "mark" else Kind.READ)
    assert back.load.ledger.updated == 1


def test_dead_letter_of_a_deleted_file_is_closed(inbox: Inbox) -> None:
    inbox.drop("bad.pdf", b"%PDF-1.7")
    inbox.drop("b.txt", "other")
    inbox.run()
    (inbox.root / "bad.pdf").unlink()

    inbox.run()

    assert inbox.rows("SELECT state FROM ops.dead_letters") == [("superseded",)]


def test_vanished_file_is_a_failure_that_is_looked_at_again(inbox: Inbox) -> None:
    path = inbox.drop("a.txt", "text")
    inbox.drop("b.txt", "text b")
    inbox.scan()
    path.unlink()

    first = inbox.ingest()
    inbox.drop("a.txt", "text")
    second = inbox.run()

    assert first.documents["a.txt"].outcome == "vanished"
    assert first.load.ledger.rejected == 1
    assert second.documents["a.txt"].outcome == "ok"
    assert inbox.rows("SELECT state FROM ops.dead_letters") == [("superseded",)]


def test_path_that_became_a_link_is_not_followed(inbox: Inbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("password")
    path = inbox.drop("deep/a.txt", "text")
    inbox.scan()
    path.unlink()
    path.parent.rmdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.txt").write_text("password")
    (inbox.root / "deep").symlink_to(outside)

    ingested = inbox.ingest()

    assert ingested.documents["deep/a.txt"].outcome == "refused"
    assert found(inbox, "password") == set()


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


def test_growing_files_are_counted_and_left(inbox: Inbox) -> None:
    inbox.drop("a.txt", "text")
    inbox.scan()
    inbox.rows("UPDATE documents.files SET state = 'growing' RETURNING 1")

    ingested = inbox.ingest()

    assert ingested.load.ledger.skipped == 1
    assert inbox.files() == {"a.txt": ("growing", None)}


def test_file_that_changes_while_it_is_read_is_left_to_the_next_load(inbox: Inbox) -> None:
    inbox.drop("a.txt", "about elephants")
    inbox.drop("b.txt", "about elephants too")
    inbox.scan()
    options = IngestOptions(group_documents=1)
    groups = ingest_documents(inbox.open, inbox.source, DAY, workers=inbox.workers, options=options)
    first = [next(groups), next(groups)]
    [done] = first[1].documents
    other = "b.txt" if done.path == "a.txt" else "a.txt"
    inbox.drop(other, "about many more tigers")
    inbox.scan()

    ingested = Ingested([*first, *groups])
    again = inbox.ingest()

    assert ingested.documents[other].kind is Kind.SKIPPED
    assert (ingested.load.ledger.inserted, ingested.load.ledger.skipped) == (1, 1)
    assert set(again.documents) == {other}
    assert found(inbox, "tigers") == {other}
    assert found(inbox, "elephants") == {done.path}


def test_file_that_moves_to_another_day_is_dealt_with_by_one_load(inbox: Inbox) -> None:
    inbox.drop("a.txt", "about elephants")
    inbox.scan()
    groups = ingest_documents(inbox.open, inbox.source, DAY, workers=inbox.workers)
    first = [next(groups)]
    inbox.drop("a.txt", "about tigers", changed=OLD + 86_400)
    inbox.scan()

    other_day = inbox.ingest(date(2024, 10, 1))
    ingested = Ingested([*first, *groups])

    assert other_day.documents == {}
    assert (other_day.load.ledger.read, other_day.load.ledger.skipped) == (1, 1)
    assert ingested.load.ledger.inserted == 1
    assert found(inbox, "tigers") == {"a.txt"}
    assert inbox.run(date(2024, 10, 1)).load.ledger.unchanged == 1


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
