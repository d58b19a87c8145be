from pathlib import Path

import dagster as dg
import pytest

from batch_assets_tests.defs.documents.landing import (
    DAY,
    DAY_TOO,
    DAY_WITHOUT,
    Landing,
    materializations,
)
from batch_assets_tests.defs.market_files import (
    evaluations,
    failure_text,
    lines_of,
    verdict_of,
)

BROKEN_PDF = b"%PDF-1.7\nnothing that follows"


def test_day_ends_with_text_outcomes_and_a_report(landing: Landing) -> None:
    landing.settings_lines["failure_limit_ratio"] = "0.5"
    landing.drop("note.txt", "The quick brown fox. 营业收入增长。")
    landing.drop("bad.pdf", BROKEN_PDF)

    result = landing.run(DAY)

    assert result.success, failure_text(result)
    assert landing.files() == {f"{DAY}/bad.pdf": "failed:corrupt", f"{DAY}/note.txt": "done:ok"}
    found = materializations(result)
    assert set(found) == {("documents", DAY), ("chunks", DAY)}
    metadata = {name: item.value for name, item in found["documents", DAY].metadata.items()}
    assert metadata["outcome_ok"] == 1
    assert metadata["outcome_corrupt"] == 1
    assert metadata["files_found"] == metadata["files_read"] == 2
    assert "| corrupt | 1 |" in str(metadata["reasons"])
    report = Path(str(metadata["error_report"])).read_text("utf-8")
    assert f"{DAY}/bad.pdf" in report
    assert found["chunks", DAY].metadata["chunks_stored"].value == 1
    [hit] = landing.rows("SELECT path FROM documents.search('收入 foxes')")
    assert hit == (f"{DAY}/note.txt",)


def test_every_check_is_evaluated_once_for_a_range(landing: Landing) -> None:
    landing.drop("a.txt", "first day")
    landing.drop("b.txt", "second day", day=DAY_TOO)

    result = landing.run(DAY, DAY_TOO)

    assert result.success, failure_text(result)
    found = {(check.asset_key.path[-1], check.check_name): check for check in evaluations(result)}
    assert len(found) == len(evaluations(result)) == 4
    assert all(check.passed for check in found.values())
    states = found["documents", "every_file_has_ended"].metadata
    assert (states["files"].value, states["files_done"].value) == (2, 2)
    assert found["chunks", "chunk_offsets_are_right"].metadata["sampled_chunks"].value == 2


def test_range_materialises_each_day_once_and_days_without_files_as_skipped(
    landing: Landing,
) -> None:
    landing.drop("a.txt", "first day")
    landing.drop("b.txt", "second day", day=DAY_TOO)

    result = landing.run(DAY_TOO, DAY_WITHOUT)

    assert result.success, failure_text(result)
    found = materializations(result)
    assert {day for _, day in found} == {DAY_TOO, DAY_WITHOUT}
    assert found["documents", DAY_WITHOUT].metadata["state"].value == "skipped"
    assert landing.files()[f"{DAY}/a.txt"] == "waiting:"


def test_run_writes_json_lines_with_load_and_place(landing: Landing) -> None:
    landing.drop("a.txt", "first day")
    landing.drop("bad.pdf", BROKEN_PDF, day=DAY_TOO)

    result = landing.run(DAY, DAY_TOO)

    lines = lines_of(landing.settings.state_dir, result.run_id)
    assert {(line["run"], line["source"]) for line in lines} == {(result.run_id, "inbox")}
    assert (lines[0]["event"], lines[-1]["event"]) == ("run_started", "run_ended")
    days = {line["partition"]: line for line in lines if line["event"] == "partition"}
    good, bad = days[DAY], days[DAY_TOO]
    assert (good["state"], good["files"], good["rows"]["inserted"]) == ("success", {"ok": 1}, 1)
    assert good["message"].startswith(f"[{good['i']}/{good['n']}] {DAY} success: 1 files: 1 ok")
    assert (bad["level"], bad["state"], bad["rows"]["rejected"]) == ("WARNING", "partial", 1)
    assert (good["i"], bad["i"], bad["n"]) == (1, 4, 4)
    ids = dict(landing.rows("SELECT window_key, load_id FROM ops.loads"))
    assert {day: days[day]["load"] for day in (DAY, DAY_TOO)} == {
        day: ids[day] for day in (DAY, DAY_TOO)
    }


@pytest.mark.long
def test_second_run_of_a_range_recognises_everything(landing: Landing) -> None:
    landing.drop("a.txt", "first day")
    landing.drop("b.txt", "second day", day=DAY_TOO)
    landing.run(DAY, DAY_TOO)
    versions = landing.rows("SELECT document_id, load_id FROM documents.documents ORDER BY 1")

    result = landing.run(DAY, DAY_TOO)

    found = materializations(result)
    assert found["documents", DAY].metadata["files_unchanged"].value == 1
    assert found["documents", DAY].metadata["files_read"].value == 0
    again = landing.rows("SELECT document_id, load_id FROM documents.documents ORDER BY 1")
    assert again == versions


def test_failures_over_the_budget_fail_their_check_and_stop_nothing(landing: Landing) -> None:
    landing.drop("good.txt", "text")
    landing.drop("bad.pdf", BROKEN_PDF)

    result = landing.run(DAY)

    assert result.success
    verdict = verdict_of(result, "failure_rate_within_budget")
    assert not verdict.passed
    assert verdict.severity is dg.AssetCheckSeverity.ERROR
    assert f"1 of 2 documents failed (50.0%); over the budget: {DAY}" in (verdict.description or "")
    letters = verdict_of(result, "no_open_dead_letters")
    assert not letters.passed
    assert letters.severity is dg.AssetCheckSeverity.WARN
    assert landing.files()[f"{DAY}/good.txt"] == "done:ok"


def test_report_goes_when_nothing_fails_any_more(landing: Landing) -> None:
    landing.drop("a.txt", "text")
    bad = landing.drop("bad.pdf", BROKEN_PDF)
    first = materializations(landing.run(DAY))["documents", DAY]
    report = Path(str(first.metadata["error_report"].value))
    assert report.is_file()
    bad.unlink()

    second = materializations(landing.run(DAY))["documents", DAY]

    assert "error_report" not in second.metadata
    assert not report.exists()


@pytest.mark.long
def test_retry_failed_reads_failed_documents_again(landing: Landing) -> None:
    landing.drop("bad.pdf", BROKEN_PDF)
    landing.drop("good.txt", "text")
    landing.run(DAY)

    result = landing.run(DAY, config={"retry_failed": True})

    metadata = materializations(result)["documents", DAY].metadata
    assert (metadata["files_read"].value, metadata["files_unchanged"].value) == (1, 1)
    [(attempts,)] = landing.rows("SELECT attempts FROM documents.files WHERE state = 'failed'")
    assert attempts == 2


def test_misplaced_chunk_fails_a_check_that_gates(landing: Landing) -> None:
    landing.drop("a.txt", "some text of a document")
    landing.run(DAY)
    with landing.open() as conn:
        conn.execute("UPDATE documents.texts SET text = 'x' || text")
        conn.commit()

    result = landing.run(DAY)

    assert not result.success
    verdict = verdict_of(result, "chunk_offsets_are_right")
    assert not verdict.passed
    assert f"{DAY}/a.txt, piece 0" in (verdict.description or "")


def test_file_called_done_without_its_document_fails_a_check_that_gates(landing: Landing) -> None:
    landing.drop("a.txt", "some text of a document")
    landing.run(DAY)
    with landing.open() as conn:
        conn.execute("DELETE FROM documents.documents")
        conn.commit()

    result = landing.run(DAY)

    assert not result.success
    verdict = verdict_of(result, "every_file_has_ended")
    assert "1 called done without a document" in (verdict.description or "")


def test_asking_for_one_of_the_two_assets_writes_and_reports_both(landing: Landing) -> None:
    landing.drop("a.txt", "some text")
    definitions = landing.definitions()

    result = definitions.resolve_job_def("document_ingest").execute_in_process(
        instance=landing.instance,
        partition_key=DAY,
        asset_selection=[dg.AssetKey(["documents", "inbox", "documents"])],
    )

    assert result.success
    assert set(materializations(result)) == {("documents", DAY), ("chunks", DAY)}
    assert {check.asset_key.path[-1] for check in evaluations(result)} == {"documents"}
