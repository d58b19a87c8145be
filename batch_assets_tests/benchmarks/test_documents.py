import json
import math
from argparse import ArgumentParser
from pathlib import Path
from typing import NoReturn

import pytest

from batch_assets.sources.documents.parse import ParseRequest, parse_task
from benchmarks import documents, documents_corpus, documents_peers
from benchmarks.documents_corpus import open_corpus, write_copies
from benchmarks.peer_environment import PeerAbsent

ASKED = (
    "pdf_pages_per_second_per_core", "ratio_vs_pypdf", "ratio_vs_markitdown", "token_recall",
    "outcomes_as_expected", "outcomes_total", "snippets_found", "snippets_total", "poison_ratio",
    "parent_memory_growth_mb",
)  # fmt: skip
TINY = documents.Scale(copies=1, poison_documents=20, tiny_files=40)


@pytest.fixture
def generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> documents_corpus.Corpus:
    monkeypatch.setattr(documents_corpus, "SHARED_FOLDER", tmp_path / "nowhere")
    return open_corpus(tmp_path / "generated")


@pytest.mark.long
def test_the_command_writes_every_figure_that_is_asked_for(
    generated: documents_corpus.Corpus,
    postgres: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(documents.SCALES, "small", TINY)

    # Nothing is installed from a registry in a test: the peers are absent.
    def refuse(*_: object) -> NoReturn:
        raise PeerAbsent("not in a test")

    monkeypatch.setattr(documents_peers, "ensure_python", refuse)
    parser = ArgumentParser()
    documents.COMMAND.add_to(parser.add_subparsers())
    written, peers = tmp_path / "figures.json", tmp_path / "peers"
    words = ["documents", "--scale", "small", "--repetitions", "1", "--json", str(written)]
    arguments = parser.parse_args([*words, "--database-url", postgres, "--peers", str(peers)])

    arguments.run(arguments)

    figures = json.loads(written.read_text(encoding="utf-8"))
    assert {name for name in ASKED if name not in figures} == set()
    assert (figures["ratio_vs_pypdf"], figures["ratio_vs_markitdown"]) == ("absent", "absent")
    assert figures["outcomes_as_expected"] == figures["outcomes_total"] == len(generated.files)
    assert figures["snippets_found"] == figures["snippets_total"] == 16
    assert figures["token_recall"] > 0.98
    assert figures["pdf_pages_per_second_per_core"] > 0
    assert figures["poison_ratio"] > 0
    assert math.isfinite(figures["parent_memory_growth_mb"])
    assert figures["parent_memory_files"] == 40


def test_copies_have_other_bytes_and_the_same_text(
    generated: documents_corpus.Corpus, tmp_path: Path
) -> None:
    first, second = write_copies(generated.pdfs[:1], tmp_path / "copies", 2)

    replies = [parse_task(ParseRequest(str(file.path))) for file in (first, second)]

    assert replies[0].sha256 != replies[1].sha256
    texts = [reply.document.text for reply in replies if reply.document]
    assert texts[0] == texts[1]
    assert len(texts) == 2
    assert "Report 0 page 19" in texts[0]
