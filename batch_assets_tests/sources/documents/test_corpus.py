"""The real files beside the project: each has its outcome, its snippet, its pages."""

import csv
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from batch_assets.sources.documents.outcome import DocumentOutcome
from batch_assets.sources.documents.parse import ParseReply, ParseRequest, parse_task

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "data" / "documents"
SHEETS = ("xlsx", "xlsb", "xls", "ods")

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(
        not (CORPUS / "manifest.csv").exists(), reason="../shared/data/documents is not there"
    ),
]


@dataclass(frozen=True)
class Parsed:
    row: dict[str, str]
    reply: ParseReply

    @property
    def name(self) -> str:
        return self.row["name"]

    @property
    def text(self) -> str:
        return self.reply.document.text if self.reply.document else ""


@pytest.fixture(scope="module")
def corpus() -> list[Parsed]:
    with (CORPUS / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [
        Parsed(row, parse_task(ParseRequest(str(CORPUS / "files" / row["name"])))) for row in rows
    ]


def squeezed(text: str) -> str:
    return " ".join(text.split())


def tokens(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.lower()))


def test_every_file_has_the_outcome_of_the_manifest(corpus: list[Parsed]) -> None:
    wrong = [
        (item.name, item.reply.outcome, item.reply.reason)
        for item in corpus
        if item.row["expected"] != "ambiguous" and item.reply.outcome not in _allowed(item)
    ]

    assert len(corpus) == 150
    assert wrong == []


def _allowed(item: Parsed) -> set[DocumentOutcome]:
    expected = {DocumentOutcome(item.row["expected"])}
    # The manifest says whether a file opens; one that opens and has no text is our own state.
    if item.row["expected"] == "ok" and int(item.row["ref_tokens"] or 0) == 0:
        expected.add(DocumentOutcome.EMPTY_TEXT)
    return expected


def test_every_snippet_is_found(corpus: list[Parsed]) -> None:
    with_snippet = [item for item in corpus if item.row["snippet"]]

    missing = [
        item.name
        for item in with_snippet
        if squeezed(item.row["snippet"]) not in squeezed(item.text)
    ]

    assert len(with_snippet) == 84
    assert missing == []


def test_pages_and_sheets_are_numbered_as_in_the_file(corpus: list[Parsed]) -> None:
    wrong = [
        (item.name, item.reply.document.pages, item.row["pages_or_sheets"])
        for item in corpus
        if item.reply.document
        and item.row["type"] in ("pdf", *SHEETS)
        and item.reply.document.pages != int(item.row["pages_or_sheets"])
    ]

    assert wrong == []


def test_chunks_point_into_the_text_and_nothing_unstorable_is_in_it(corpus: list[Parsed]) -> None:
    for item in corpus:
        text = item.text
        assert all(text[c.start : c.end] == c.text for c in item.reply.chunks), item.name
        # NUL and lone surrogates: PostgreSQL takes neither.
        assert "\0" not in text
        text.encode("utf-8")


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="poppler-utils is not installed")
def test_pdf_pages_have_the_words_that_pdftotext_finds_on_them(corpus: list[Parsed]) -> None:
    found = wanted = misplaced = 0
    for item in corpus:
        if item.row["type"] != "pdf" or item.reply.document is None:
            continue
        command = ["pdftotext", "-enc", "UTF-8", str(CORPUS / "files" / item.name), "-"]
        output = subprocess.run(command, capture_output=True, check=True).stdout.decode()
        pages = output.split("\f")
        ours = [tokens(segment.text) for segment in item.reply.document.segments]
        for index, page in enumerate(pages[: len(ours)]):
            theirs = tokens(page)
            wanted += theirs.total()
            found += (theirs & ours[index]).total()
            if theirs.total() >= 20 and (theirs & ours[index]).total() < theirs.total() / 2:
                misplaced += 1

    assert wanted > 80_000
    # Measured .998 page by page; .98 is what is promised.
    assert found / wanted >= 0.98
    assert misplaced == 0
