"""Uploads that are hostile, too large, cut off, slow or not allowed; over real connections."""

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ops.scope import Scope
from batch_assets_tests.ops.api.conftest import Api
from batch_assets_tests.ops.api.uploads import (
    CONFIGURATION,
    URL,
    Uploads,
    file,
    open_upload,
    raw_form,
    staged,
)
from batch_assets_tests.polling import wait_until

HOSTILE_NAMES = [
    (b"../../etc/passwd", "passwd"),
    (b"..\\..\\windows\\win.ini", "win.ini"),
    (b"/absolute/a.txt", "a.txt"),
    (b"nul\x00byte.txt", "nulbyte.txt"),
    (b"CON", "_CON"),
    (b"com1.txt", "_com1.txt"),
    (b"..", "document"),
    (b".hidden", "hidden"),
    ("\u202egnp.exe.txt".encode(), "gnp.exe.txt"),
    ("年报\u200f 2024.txt".encode(), "年报 2024.txt"),
    (b"a<b>:c|d?.txt", "a_b__c_d_.txt"),
    (b"x" * 300 + b".txt", "x" * 196 + ".txt"),
    ("数".encode() * 100 + b".pdf", "数" * 65 + ".pdf"),
    (b"bad\xff.txt", "bad\ufffd.txt"),
]


def test_hostile_names_become_plain_ones_inside_the_folder(uploads: Uploads) -> None:
    (uploads.root / ".uploads").mkdir()
    outside = set(uploads.root.parent.rglob("*"))
    landed: list[dict[str, bytes]] = []

    with uploads.api.client(uploads.app) as client:
        for sent, _ in HOSTILE_NAMES:
            body, headers = raw_form(sent)
            answer = client.post(URL, content=body, headers={**headers, **uploads.headers})
            assert answer.status_code == 202, answer.text
            landed.append(uploads.landed())
            for name in landed[-1]:
                (uploads.root / name).unlink()

    assert landed == [{stored: b"text"} for _, stored in HOSTILE_NAMES]
    assert set(uploads.root.parent.rglob("*")) == outside


def test_links_in_the_folder_are_not_written_through(uploads: Uploads, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("keep")
    (uploads.root / "a.txt").symlink_to(secret)
    with uploads.api.client(uploads.app) as client:
        answer = uploads.send(client, [file("a.txt", "evil")]).json()
        outside = tmp_path / "outside"
        outside.mkdir()
        (uploads.root / ".uploads").rmdir()
        (uploads.root / ".uploads").symlink_to(outside)
        refused = uploads.send(client, [file("b.txt", "evil")])

    assert secret.read_text() == "keep"
    assert answer["files"][0]["path"] == "a (2).txt"
    assert refused.status_code == 503
    assert "cannot be written" in refused.json()["detail"]
    assert list(outside.iterdir()) == []


def test_file_above_the_limit_is_refused_alone_and_counted(
    api: Api, workers: IsolatedWorkers
) -> None:
    limit = "[documents.sources.inbox.limits]\nmax_file_bytes = 1000\n"
    uploads = Uploads(api, workers, CONFIGURATION + limit)
    with api.client(uploads.app) as client:
        answer = uploads.send(client, [file("big.txt", b"x" * 5000), file("a.txt", "alpha")])
        uploads.ingest()
        progress = uploads.batch(client, answer.json()["batch_id"])
        alone = uploads.send(client, [file("big.txt", b"x" * 5000)])

    assert (answer.status_code, alone.status_code) == (202, 422)
    big, small = answer.json()["files"]
    assert (big["result"], big["outcome"], big["size_bytes"]) == ("refused", "too_large", 5000)
    assert "max_file_bytes is 1,000" in big["reason"]
    assert small["result"] == "accepted"
    assert (progress["status"], progress["failed_docs"]) == ("partial", ["big.txt"])
    assert progress["processed_docs"] == ["a.txt"]


def test_name_that_the_source_does_not_read_is_refused_with_the_reason(uploads: Uploads) -> None:
    with uploads.api.client(uploads.app) as client:
        answer = uploads.send(client, [file("half.part", "x"), file("~$lock.docx", "x")])

    assert answer.status_code == 422
    assert [f["outcome"] for f in answer.json()["files"]] == ["refused", "refused"]
    assert "includes and does not exclude" in answer.json()["files"][0]["reason"]
    assert uploads.landed() == {}


def test_too_many_files_are_refused_as_a_whole(api: Api, workers: IsolatedWorkers) -> None:
    uploads = Uploads(api, workers, CONFIGURATION + "[api]\nmax_upload_files = 3\n")
    with api.client(uploads.app) as client:
        answer = uploads.send(client, [file(f"{n}.txt", "x") for n in range(5)])
        three = uploads.send(client, [file(f"{n}.txt", "x") for n in range(3)])

    assert (answer.status_code, three.status_code) == (413, 202)
    assert "max_upload_files" in answer.json()["detail"]
    assert len(uploads.landed()) == 3


def test_body_above_the_limit_leaves_nothing(api: Api, workers: IsolatedWorkers) -> None:
    uploads = Uploads(api, workers, CONFIGURATION + "[api]\nmax_body_bytes = 100000\n")
    body, headers = raw_form(b"a.txt", b"x" * 300_000)

    def parts() -> Iterator[bytes]:
        for start in range(0, len(body), 20_000):
            yield body[start : start + 20_000]

    with api.client(uploads.app) as client:
        answer = client.post(URL, content=parts(), headers={**headers, **uploads.headers})

    assert answer.status_code == 413
    assert uploads.landed() == {}


def test_upload_that_is_cut_off_leaves_nothing(uploads: Uploads) -> None:
    body, _ = raw_form(b"a.txt", b"x" * 100_000)
    with uploads.api.client(uploads.app) as client:
        connection = open_upload(uploads, client, len(body))
        connection.sendall(body[:60_000])
        wait_until(lambda: staged(uploads), "the file to be written")
        connection.close()
        wait_until(lambda: not staged(uploads), "the rest to be removed")

        assert uploads.landed() == {}
        assert uploads.inbox.rows("SELECT * FROM documents.uploads") == []
        assert uploads.send(client, [file("a.txt", "alpha")]).status_code == 202


def test_slow_client_is_waited_for_and_holds_nobody_up(uploads: Uploads) -> None:
    body, _ = raw_form(b"slow.txt", b"slow text")
    with uploads.api.client(uploads.app) as client:
        connections = [open_upload(uploads, client, len(body)) for _ in range(60)]
        for connection in connections:
            connection.sendall(body[:90])
        others = uploads.send(client, [file("a.txt", "alpha")])
        for byte in body[90:]:
            connections[0].sendall(bytes([byte]))
        answer = connections[0].recv(65_536)
        for connection in connections:
            connection.close()

    assert others.status_code == 202
    assert answer.startswith(b"HTTP/1.1 202")
    assert uploads.landed()["slow.txt"] == b"slow text"


def test_client_that_sends_nothing_is_told_so(api: Api, workers: IsolatedWorkers) -> None:
    uploads = Uploads(api, workers, CONFIGURATION + "[api]\nupload_idle_seconds = 0.2\n")
    body, _ = raw_form(b"a.txt", b"x" * 1000)
    with api.client(uploads.app) as client:
        connection = open_upload(uploads, client, len(body))
        connection.sendall(body[:500])
        connection.settimeout(20)
        answer = connection.recv(65_536)
        connection.close()

    assert answer.startswith(b"HTTP/1.1 408")
    assert uploads.landed() == {}


NO_FORMS = [
    (b"{}", "application/json", "expected multipart/form-data"),
    (b"nonsense", "multipart/form-data; boundary=frontier", "the form cannot be read"),
    (b"--frontier--\r\n", "multipart/form-data; boundary=frontier", "no file"),
    (b"", "multipart/form-data; boundary=frontier", "ended before the last boundary"),
    (b"x", "multipart/form-data", "a boundary"),
]


def test_what_is_no_form_of_files_is_refused(uploads: Uploads) -> None:
    with uploads.api.client(uploads.app) as client:
        answers = [
            client.post(URL, content=content, headers={"Content-Type": kind, **uploads.headers})
            for content, kind, _ in NO_FORMS
        ]

    assert [answer.status_code for answer in answers] == [422] * len(NO_FORMS)
    for answer, (_, _, said) in zip(answers, NO_FORMS, strict=True):
        assert said in answer.json()["detail"]


WRONG_FIELDS = [
    ({"source": "nowhere"}, "expected one of those that are configured (inbox)"),
    ({"day": "30.09.2024"}, "expected YYYY-MM-DD"),
    ({"day": "2999-01-01"}, "expected one from"),
    ({"colour": "red"}, "expected source, day and files"),
]


def test_wrong_fields_are_refused(uploads: Uploads) -> None:
    with uploads.api.client(uploads.app) as client:
        answers = [
            uploads.send(client, [file("a.txt", "alpha")], **fields) for fields, _ in WRONG_FIELDS
        ]

    assert [answer.status_code for answer in answers] == [422] * len(WRONG_FIELDS)
    for answer, (_, said) in zip(answers, WRONG_FIELDS, strict=True):
        assert said in answer.json()["detail"]
    assert uploads.landed() == {}


def test_store_behind_a_url_takes_no_uploads(api: Api, workers: IsolatedWorkers) -> None:
    configuration = '[documents.sources.inbox]\nurl = "memory://landing"\n'
    uploads = Uploads(api, workers, configuration)
    with api.client(uploads.app) as client:
        answer = uploads.send(client, [file("a.txt", "alpha")])

    assert answer.status_code == 422
    assert "put the files into the store itself" in answer.json()["detail"]


def test_missing_folder_can_be_tried_again_later(uploads: Uploads) -> None:
    uploads.root.rmdir()
    with uploads.api.client(uploads.app) as client:
        answer = uploads.send(client, [file("a.txt", "alpha")])

    assert answer.status_code == 503
    assert "create or mount it" in answer.json()["detail"]


def test_what_a_killed_process_left_is_removed_after_a_day(uploads: Uploads) -> None:
    old, fresh = (uploads.root / ".uploads" / name for name in ("old", "fresh"))
    for folder in (old, fresh):
        folder.mkdir(parents=True)
        (folder / "0.part").write_bytes(b"x")
    os.utime(old, (time.time() - 90_000, time.time() - 90_000))

    with uploads.api.client(uploads.app) as client:
        uploads.send(client, [file("a.txt", "alpha")])

    assert [path.name for path in (uploads.root / ".uploads").iterdir()] == ["fresh"]
    uploads.ingest()
    assert set(uploads.inbox.files()) == {"a.txt"}


def test_who_may_not_upload_is_refused_before_the_body_is_read(uploads: Uploads) -> None:
    body, headers = raw_form(b"a.txt")
    reader = uploads.api.headers(Scope.READ)
    with uploads.api.client(uploads.app) as client:
        missing = client.post(URL, content=body, headers=headers)
        wrong = client.post(URL, content=body, headers={**headers, **reader})
        hidden = client.get(f"{URL}/batches/{uuid.uuid4()}")
        search = client.get(f"{URL}/search", params={"q": "alpha"})

    assert [answer.status_code for answer in (missing, wrong, hidden, search)] == [
        401,
        403,
        401,
        401,
    ]
    assert not (uploads.root / ".uploads").exists()
