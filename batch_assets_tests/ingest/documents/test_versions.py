"""Files that change, move, are copied or go away: which document they are afterwards."""

from datetime import date
from pathlib import Path

import pytest

from batch_assets.ingest.documents.ingest import (
    IngestOptions,
    ingest_documents,
)
from batch_assets.ingest.documents.read import Kind
from batch_assets_tests.ingest.documents.findings import LONG, found
from batch_assets_tests.ingest.documents.inbox import DAY, OLD, Inbox, Ingested


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
