import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from openpyxl import load_workbook

from batch_assets.ops.cli.documents import language_of
from batch_assets.ops.cli.main import run
from batch_assets.postgres.connect import connect

DAY, DAY_TOO = "2024-09-27", "2024-09-30"
BROKEN_PDF = b"%PDF-1.7\nnothing that follows"
OLD = datetime(2024, 9, 27, 8, tzinfo=UTC).timestamp()


class Project:
    """A project folder with the source `inbox`."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.configure()

    def configure(self, **lines: str) -> None:
        (self.folder / "inbox").mkdir(exist_ok=True)
        body = {"url": '"inbox"', "day": '"folder"', **lines}
        text = "\n".join(f"{name} = {value}" for name, value in body.items())
        (self.folder / "batch_assets.toml").write_text(
            f"[execution]\ncpu_workers = 1\nspare_workers = 0\n[documents.sources.inbox]\n{text}\n"
        )

    def drop(self, name: str, content: str | bytes, day: str = DAY) -> Path:
        path = self.folder / "inbox" / day / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, (OLD, OLD))
        return path

    def open(self) -> psycopg.Connection:
        return connect(self.url, application_name="test of documents")


@pytest.fixture
def project(tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BATCH_ASSETS_CONFIG", str(tmp_path / "batch_assets.toml"))
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    monkeypatch.setenv("COLUMNS", "250")
    return Project(tmp_path, postgres)


def documents(
    capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0
) -> tuple[str, str]:
    """Run a command; its output and its talk."""
    seen = run(["documents", *arguments])
    output = capsys.readouterr()
    assert seen == status, output.err
    return output.out, output.err


def documents_json(
    capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0
) -> dict[str, Any]:
    output, _ = documents(capsys, *arguments, "--json", status=status)
    document: dict[str, Any] = json.loads(output)
    return document


def test_ingest_reads_what_waits_and_says_how_each_file_ended(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.configure(failure_limit_ratio="0.5")
    project.drop("a.txt", "text")
    project.drop("bad.pdf", BROKEN_PDF)
    project.drop("c.txt", "more text", day=DAY_TOO)

    output, talk = documents(capsys, "ingest")

    first, second = output.splitlines()
    assert first.startswith(f"inbox  {DAY}  success  2 files = 1 corrupt + 1 ok; 2 read now, ")
    assert second.startswith(f"inbox  {DAY_TOO}  success  1 files = 1 ok; 1 read now, ")
    assert "inbox: 3 files looked at, 3 new, 0 changed, 0 still growing, 0 gone" in talk


def test_file_that_was_just_dropped_is_waited_for(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.configure(settle_seconds="0.5")
    os.utime(project.drop("a.txt", "text"))

    output, _ = documents(capsys, "ingest")

    assert f"inbox  {DAY}  success  1 files = 1 ok" in output


def test_second_ingest_has_nothing_to_do(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.drop("a.txt", "text")
    documents(capsys, "ingest")

    output, talk = documents(capsys, "ingest")

    assert output == ""
    assert "1 files looked at, 0 new" in talk


def test_ingest_over_the_budget_exits_with_3_and_names_the_next_command(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.drop("bad.pdf", BROKEN_PDF)

    output, talk = documents(capsys, "ingest", status=3)

    assert "partial" in output
    assert "1 of 1 documents failed" in talk
    assert "next: batch-assets documents errors" in talk


def test_day_chooses_the_day(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.drop("a.txt", "text")
    project.drop("b.txt", "text", day=DAY_TOO)

    document = documents_json(capsys, "ingest", "--day", DAY_TOO)

    assert (document["day"], document["files"], document["inserted"]) == (DAY_TOO, {"ok": 1}, 1)
    [inbox] = documents_json(capsys, "status")["sources"]
    assert (inbox["found"], inbox["waiting"], inbox["outcomes"]) == (2, 1, {"ok": 1})


def test_dry_run_counts_and_reads_nothing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.drop("a.txt", "text")
    project.drop("b.txt", "text", day=DAY_TOO)
    documents(capsys, "ingest", "--day", DAY_TOO)

    output, _ = documents(capsys, "ingest", "--dry-run")

    assert output == f"inbox  {DAY}  1 files waiting\n"
    assert documents_json(capsys, "status")["sources"][0]["waiting"] == 1


def test_missing_folder_exits_with_6(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.configure(url='"elsewhere"')

    _, talk = documents(capsys, "ingest", status=6)

    assert "elsewhere is not a folder" in talk


def test_unknown_source_exits_with_7_and_names_the_known_ones(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert project.folder.is_dir()

    _, talk = documents(capsys, "ingest", "--source", "outbox", status=7)

    assert "there is no source 'outbox'" in talk
    assert "expected inbox" in talk


def test_status_is_a_table_of_outcomes(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.drop("a.txt", "text")
    project.drop("bad.pdf", BROKEN_PDF)
    documents(capsys, "ingest", status=3)

    output, _ = documents(capsys, "status")

    assert "inbox" in output
    assert "1 ok, 1 corrupt" in output or "1 corrupt, 1 ok" in output


def test_search_marks_words_and_names_the_place(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.drop("a.md", "# One\n\nReports of 2024.\n\n# Two\n\n本年度营业收入增长了 [8]%。\n")
    documents(capsys, "ingest")

    output, _ = documents(capsys, "search", "收入")

    assert f"inbox/{DAY}/a.md" in output
    assert "section" in output
    assert "营业«收入»增长了 [8]%" in output
    [hit] = documents_json(capsys, "search", "report", "--limit", "1")["hits"]
    assert hit["path"] == f"{DAY}/a.md"
    assert "«Reports» of 2024" in hit["snippet"]


def test_search_without_hits_exits_with_1(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.drop("a.txt", "text")
    documents(capsys, "ingest")

    assert documents_json(capsys, "search", "absent", status=1)["hits"] == []


def test_errors_say_what_to_do_in_english_and_chinese(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project.drop("bad.pdf", BROKEN_PDF)
    documents(capsys, "ingest", status=3)

    [english] = documents_json(capsys, "errors")["errors"]
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    [chinese] = documents_json(capsys, "errors")["errors"]
    shown, talk = documents(capsys, "errors")

    assert (english["path"], english["outcome"]) == (f"{DAY}/bad.pdf", "corrupt")
    assert english["advice"].startswith("Open it in its own program")
    assert chinese["advice"].startswith("请用原程序打开")
    assert "处理办法" in shown
    assert "1 failed documents" in talk


def test_workbook_and_page_have_a_row_for_each_failed_document(
    project: Project, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    project.drop("=1+1.pdf", BROKEN_PDF, day=DAY)
    (project.folder / "inbox" / DAY_TOO).mkdir()
    project.drop("<script>.pdf", BROKEN_PDF, day=DAY_TOO)
    documents(capsys, "ingest", status=3)
    xlsx, page = tmp_path / "out" / "e.xlsx", tmp_path / "out" / "e.html"

    output, talk = documents(capsys, "errors", "--xlsx", str(xlsx), "--html", str(page))

    assert output == ""
    assert f"2 failed documents written to {xlsx}" in talk
    sheet = load_workbook(xlsx).active
    assert sheet is not None
    assert [cell.value for cell in sheet["A"]] == [
        "File",
        f"{DAY}/=1+1.pdf",
        f"{DAY_TOO}/<script>.pdf",
    ]
    text = page.read_text("utf-8")
    assert "&lt;script&gt;.pdf" in text
    assert "<script>" not in text


def test_retry_reads_failed_documents_again_and_no_others(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.configure(failure_limit_ratio="1")
    project.drop("bad.pdf", BROKEN_PDF)
    project.drop("a.txt", "text")
    project.drop("b.txt", "text of another day", day=DAY_TOO)
    documents(capsys, "ingest")
    planned, _ = documents(capsys, "retry", "--failed", "--dry-run")

    document = documents_json(capsys, "retry", "--failed")

    assert planned == f"inbox  {DAY}  1 files failed\n"
    assert (document["day"], document["read_now"], document["unchanged"]) == (DAY, 1, 1)


def test_reprocess_reads_what_another_setting_changes_and_no_more(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.drop("a.txt", "word " * 200)
    documents(capsys, "ingest")
    nothing, _ = documents(capsys, "reprocess", "--changed")
    project.configure(chunk_characters="400", overlap_characters="50")

    document = documents_json(capsys, "reprocess", "--changed")

    assert nothing == ""
    assert (document["read_now"], document["updated"]) == (1, 1)
    [inbox] = documents_json(capsys, "status")["sources"]
    assert inbox["chunks"] > 1
    again, _ = documents(capsys, "reprocess", "--changed")
    assert again == ""


@pytest.mark.parametrize(
    ("text", "language"),
    [("zh", "zh"), ("zh_CN.UTF-8", "zh"), ("zh-Hant", "zh"), ("C.UTF-8", "en"), ("de_DE", "en")],
)
def test_language_of_the_terminal(text: str, language: str) -> None:
    assert language_of(text) == language
