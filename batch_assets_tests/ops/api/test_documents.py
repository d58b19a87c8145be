"""Documents over HTTP: files in, progress out, search; over real connections."""

import json
import threading
import time
import uuid
from datetime import UTC, date, datetime

import psycopg
import pytest

from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets_tests.ops.api.conftest import Api
from batch_assets_tests.ops.api.uploads import (
    CONFIGURATION,
    URL,
    Uploads,
    file,
)


def test_files_are_in_the_folder_and_the_answer_has_every_field(uploads: Uploads) -> None:
    with uploads.api.client(uploads.app) as client:
        answer = uploads.send(client, [file("a.txt", "alpha"), file("b.md", "# beta")])

    body = answer.json()
    assert answer.status_code == 202
    assert uuid.UUID(body["batch_id"])
    assert body["files"][0] == {
        "name": "a.txt",
        "result": "accepted",
        "path": "a.txt",
        "outcome": "",
        "reason": "",
        "sha256": "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8",
        "size_bytes": 5,
    }
    del body["files"]
    assert body == {
        "batch_id": body["batch_id"],
        "source": "inbox",
        "total_docs": 2,
        "accepted": 2,
        "known": 0,
        "refused": 0,
        "progress_url": f"/api/v1/documents/batches/{body['batch_id']}",
    }
    assert uploads.landed() == {"a.txt": b"alpha", "b.md": b"# beta"}
    assert list((uploads.root / ".uploads").iterdir()) == []


def test_upload_is_written_to_the_audit(uploads: Uploads) -> None:
    with uploads.api.client(uploads.app) as client:
        batch_id = uploads.send(client, [file("a.txt", "alpha")]).json()["batch_id"]

    assert uploads.inbox.rows("SELECT actor, action, subject, detail FROM ops.audit") == [
        (
            "tester launch",
            "documents.upload",
            f"inbox {batch_id}",
            {"accepted": 1, "known": 0, "refused": 0, "bytes": 5},
        )
    ]


def test_progress_has_every_field_from_the_first_moment_to_the_last(uploads: Uploads) -> None:
    with uploads.api.client(uploads.app) as client:
        files = [file("a.txt", "alpha"), file("bad.pdf", b"%PDF-1.7"), file("c.txt", "gamma")]
        batch_id = uploads.send(client, files).json()["batch_id"]
        before = uploads.batch(client, batch_id)
        uploads.scan()
        scanned = uploads.batch(client, batch_id)
        uploads.ingest()
        after = uploads.batch(client, batch_id)

    received_at = before.pop("received_at")
    assert datetime.fromisoformat(str(received_at)).tzinfo is not None
    assert before == {
        "batch_id": batch_id,
        "source": "inbox",
        "status": "running",
        "total_docs": 3,
        "processed_docs": [],
        "failed_docs": [],
        "current_progress": 0,
        "completed": 0,
        "failed": 0,
        "progress_percent": 0.0,
        "eta_seconds": "Unknown",
        "failures": [],
        "next_processed_after": None,
        "next_failed_after": None,
    }
    assert scanned | {"received_at": None} == before | {"received_at": None}
    [failure] = after.pop("failures")  # type: ignore[misc]
    assert after == {
        "batch_id": batch_id,
        "source": "inbox",
        "status": "partial",
        "received_at": received_at,
        "total_docs": 3,
        "processed_docs": ["a.txt", "c.txt"],
        "failed_docs": ["bad.pdf"],
        "current_progress": 3,
        "completed": 2,
        "failed": 1,
        "progress_percent": 100.0,
        "eta_seconds": 0.0,
        "next_processed_after": None,
        "next_failed_after": None,
    }
    assert (failure["number"], failure["name"], failure["path"]) == (2, "bad.pdf", "bad.pdf")
    assert failure["outcome"] == "corrupt"
    assert "damaged PDF" in failure["reason"]
    assert "drop the new copy" in failure["advice"]


def test_time_left_follows_from_what_is_done(uploads: Uploads) -> None:
    with uploads.api.client(uploads.app) as client:
        files = [file(f"{number}.txt", f"text {number}") for number in range(4)]
        batch_id = uploads.send(client, files).json()["batch_id"]
        with psycopg.connect(uploads.api.url) as conn:
            conn.execute("UPDATE documents.uploads SET received_at = received_at - interval '9 s'")
        (uploads.root / "3.txt").rename(uploads.root / "3.part")
        uploads.ingest()
        (uploads.root / "3.part").rename(uploads.root / "3.txt")
        progress = uploads.batch(client, batch_id)

    assert progress["progress_percent"] == 75.0
    # Three files took nine seconds and what the test took; one is left.
    assert 3.0 <= float(str(progress["eta_seconds"])) < 120


def test_same_bytes_again_are_known_and_finished_at_once(uploads: Uploads) -> None:
    with uploads.api.client(uploads.app) as client:
        uploads.send(client, [file("a.txt", "alpha")])
        uploads.ingest()
        before = (uploads.root / "a.txt").stat()

        again = uploads.send(client, [file("a.txt", "alpha")]).json()
        progress = uploads.batch(client, again["batch_id"])

    assert (again["accepted"], again["known"]) == (0, 1)
    assert (progress["status"], progress["processed_docs"]) == ("completed", ["a.txt"])
    after = (uploads.root / "a.txt").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_other_bytes_under_a_known_name_are_a_new_version(uploads: Uploads) -> None:
    with uploads.api.client(uploads.app) as client:
        first = uploads.send(client, [file("a.txt", "alpha")]).json()["batch_id"]
        uploads.ingest()
        second = uploads.send(client, [file("a.txt", "omega")]).json()["batch_id"]
        waiting = uploads.batch(client, second)
        uploads.ingest()
        ended = uploads.batch(client, second)
        kept = uploads.batch(client, first)

    assert (waiting["status"], ended["status"], kept["status"]) == (
        "running",
        "completed",
        "completed",
    )
    assert uploads.inbox.rows(
        "SELECT version, is_current FROM documents.documents ORDER BY version"
    ) == [(1, False), (2, True)]


def test_file_replaced_before_it_was_read_does_not_hold_its_batch_up(uploads: Uploads) -> None:
    with uploads.api.client(uploads.app) as client:
        first = uploads.send(client, [file("a.txt", "alpha")]).json()["batch_id"]
        uploads.send(client, [file("a.txt", "omega")])
        uploads.ingest()
        progress = uploads.batch(client, first)

    assert progress["status"] == "failed"
    [failure] = progress["failures"]  # type: ignore[misc]
    assert failure["outcome"] == "replaced"
    assert "under another name" in failure["advice"]


def test_file_deleted_before_any_scan_does_not_hold_its_batch_up(uploads: Uploads) -> None:
    with uploads.api.client(uploads.app) as client:
        batch_id = uploads.send(client, [file("a.txt", "a"), file("b.txt", "b")]).json()["batch_id"]
        (uploads.root / "a.txt").unlink()
        uploads.batch(client, batch_id)
        uploads.ingest()
        progress = uploads.batch(client, batch_id)

    assert progress["status"] == "partial"
    assert [f["outcome"] for f in progress["failures"]] == ["vanished"]  # type: ignore[attr-defined]


def test_two_files_of_one_name_get_names_of_their_own(uploads: Uploads) -> None:
    with uploads.api.client(uploads.app) as client:
        files = [file("a/r.txt", "one"), file("b/r.txt", "two"), file("c/r.txt", "one")]
        first = uploads.send(client, files).json()
        again = uploads.send(client, files).json()

    assert uploads.landed() == {"r.txt": b"one", "r (2).txt": b"two"}
    assert [f["result"] for f in first["files"]] == ["accepted", "accepted", "known"]
    assert again["known"] == 3


def test_thousand_small_files_are_one_batch(uploads: Uploads) -> None:
    files = [file(f"{number:04d}.txt", f"document {number}") for number in range(1_000)]
    with uploads.api.client(uploads.app) as client:
        started = time.monotonic()
        answer = uploads.send(client, files)
        seconds = time.monotonic() - started
        asked = time.monotonic()
        pages = [uploads.batch(client, answer.json()["batch_id"], limit=1000)]
        asked = time.monotonic() - asked

    assert answer.status_code == 202
    assert answer.json()["accepted"] == 1_000
    assert len(uploads.landed()) == 1_000
    assert pages[0]["total_docs"] == 1_000
    # Generous: the machine may be busy. Measured on a quiet one: 0.5 s and 0.05 s.
    assert seconds < 60
    assert asked < 30


def test_failures_come_in_pages_and_none_is_left_out(uploads: Uploads) -> None:
    files = [file(f"{number}.part", "x") for number in range(25)]
    with uploads.api.client(uploads.app) as client:
        batch_id = uploads.send(client, files).json()["batch_id"]
        names: list[str] = []
        after: object = 0
        while after is not None:
            page = uploads.batch(client, batch_id, limit=10, failed_after=int(str(after)))
            names += [f["name"] for f in page["failures"]]  # type: ignore[attr-defined]
            after = page["next_failed_after"]

    assert names == [name for _, (name, _) in files]


@pytest.mark.parametrize("by", ["folder", "mtime"])
def test_files_arrive_on_the_day_that_was_sent(api: Api, workers: IsolatedWorkers, by: str) -> None:
    uploads = Uploads(api, workers, CONFIGURATION + f'day = "{by}"\n')
    uploads.inbox.settings["day"] = by
    with api.client(uploads.app) as client:
        answer = uploads.send(client, [file("a.txt", "x")], source="inbox", day="2024-09-30").json()
        today = uploads.send(client, [file("b.txt", "x")]).json()
    uploads.inbox.settings["settle_seconds"] = 0
    waiting = uploads.inbox.scan_now(datetime.now(UTC)).waiting

    assert answer["files"][0]["path"] == ("2024-09-30/a.txt" if by == "folder" else "a.txt")
    assert waiting == {date(2024, 9, 30): 1, datetime.now(UTC).date(): 1}
    assert today["accepted"] == 1


def test_unknown_batch_is_not_found(uploads: Uploads) -> None:
    with uploads.api.client(uploads.app) as client:
        unknown = client.get(f"{URL}/batches/{uuid.uuid4()}", headers=uploads.headers)
        nonsense = client.get(f"{URL}/batches/nonsense", headers=uploads.headers)

    assert (unknown.status_code, nonsense.status_code) == (404, 422)


def test_search_finds_what_was_uploaded_field_by_field(uploads: Uploads) -> None:
    with uploads.api.client(uploads.app) as client:
        uploads.send(client, [file("年报.txt", "公司营业收入增长 and net income rose")])
        uploads.ingest()
        asked = {"q": "收入 incomes", "limit": "5", "source": "inbox"}
        answer = client.get(f"{URL}/search", params=asked, headers=uploads.headers).json()
        other = client.get(
            f"{URL}/search", params={"q": "收入", "source": "other"}, headers=uploads.headers
        )

    [hit] = answer["hits"]
    assert answer["query"] == "收入 incomes"
    assert isinstance(hit.pop("document_id"), int)
    assert hit.pop("rank") > 0
    assert hit == {
        "source": "inbox",
        "path": "年报.txt",
        "title": None,
        "ordinal": 0,
        "segment_kind": "section",
        "segment_from": 1,
        "segment_to": 1,
        "start_offset": 0,
        "end_offset": 28,
        "text": "公司营业收入增长 and net income rose",
        "snippet": "公司营业«收入»增长 and net «income» rose",
    }
    assert other.json()["hits"] == []


def test_uploads_at_the_same_time_do_not_mix(uploads: Uploads) -> None:
    answers: list[dict[str, object]] = []
    with uploads.api.client(uploads.app) as client:

        def send(number: int) -> None:
            files = [file(f"{number}-{n}.txt", f"{number} {n}") for n in range(20)]
            answers.append(uploads.send(client, [*files, file("same.txt", "equal")]).json())

        threads = [threading.Thread(target=send, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [a["total_docs"] for a in answers] == [21] * 6
    landed = uploads.landed()
    assert len(landed) == 121
    assert all(
        landed[f"{number}-{n}.txt"] == f"{number} {n}".encode()
        for number in range(6)
        for n in range(20)
    )


def test_files_that_arrive_while_the_folder_is_watched_and_read_end_once(
    uploads: Uploads,
) -> None:
    answers: list[dict[str, object]] = []
    failures: list[Exception] = []
    has_all = threading.Event()

    def watch() -> None:
        try:
            while not has_all.is_set():
                uploads.ingest()
        except Exception as error:  # noqa: BLE001 - for the assertion below
            failures.append(error)

    with uploads.api.client(uploads.app) as client:

        def send(number: int) -> None:
            for part in range(4):
                files = [file(f"{number}-{part}-{n}.txt", f"{number} {part} {n}") for n in range(3)]
                # All of them write this one, each time with other bytes.
                shared = file("shared.txt", f"of upload {number} {part}")
                answers.append(uploads.send(client, [*files, shared]).json())

        watcher = threading.Thread(target=watch)
        senders = [threading.Thread(target=send, args=(number,)) for number in range(3)]
        for thread in (watcher, *senders):
            thread.start()
        for thread in senders:
            thread.join()
        has_all.set()
        watcher.join()
        uploads.ingest()
        batches = [uploads.batch(client, str(answer["batch_id"])) for answer in answers]

    assert failures == []
    ends = {str(failure["outcome"]) for b in batches for failure in b["failures"]}  # type: ignore[attr-defined]
    assert all(batch["current_progress"] == batch["total_docs"] == 4 for batch in batches)
    assert ends <= {"replaced"}
    assert set(uploads.inbox.files().values()) == {("done", "ok")}
    landed = {name: content.decode() for name, content in uploads.landed().items()}
    assert len(landed) == 37
    stored = uploads.inbox.rows(
        "SELECT d.path, t.text FROM documents.documents AS d "
        "JOIN documents.texts AS t USING (document_id) WHERE d.is_current"
    )
    assert sorted(stored) == sorted(landed.items())
    assert uploads.inbox.rows("SELECT count(*) FROM documents.chunks") == [(37,)]
    assert uploads.inbox.rows(
        "SELECT count(*) FROM documents.documents WHERE path <> 'shared.txt'"
    ) == [(36,)]
    assert uploads.inbox.rows("SELECT * FROM ops.loads WHERE state NOT IN ('success')") == []


def test_routes_are_described(uploads: Uploads) -> None:
    with uploads.api.client(uploads.app) as client:
        paths = client.get("/openapi.json").json()["paths"]

    assert {"/api/v1/documents", "/api/v1/documents/search"} <= set(paths)
    form = json.dumps(paths["/api/v1/documents"]["post"]["requestBody"])
    assert "multipart/form-data" in form
