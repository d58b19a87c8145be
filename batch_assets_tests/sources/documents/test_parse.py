import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from batch_assets.sources.documents.chunks import ChunkSettings
from batch_assets.sources.documents.limits import ParseLimits
from batch_assets.sources.documents.outcome import DocumentOutcome, DocumentRefused
from batch_assets.sources.documents.parse import (
    ParseRequest,
    parse_bytes,
    parse_document,
    parse_task,
)
from batch_assets.sources.documents.readers import (
    READERS,
    Reader,
    processing_fingerprints,
    worker_modules,
)
from batch_assets_tests.sources.documents.sample_files import docx, pdf


def test_a_reply_tells_what_was_parsed_with_what_and_moves_between_processes(
    tmp_path: Path,
) -> None:
    data = pdf("First page", "Second page")
    path = tmp_path / "a.pdf"
    path.write_bytes(data)
    settings = ChunkSettings(500, 50)

    reply = pickle.loads(pickle.dumps(parse_task(ParseRequest(str(path), chunks=settings))))

    assert reply.outcome is DocumentOutcome.OK
    assert reply.sha256 == hashlib.sha256(data).hexdigest()
    assert reply.size_bytes == len(data)
    assert reply.document.text == "First page\n\nSecond page"
    assert [(c.segment_from, c.segment_to, c.text) for c in reply.chunks] == [
        (1, 2, "First page\n\nSecond page")
    ]
    assert reply.fingerprint == processing_fingerprints(settings)[reply.document.media_type]


def test_chunks_are_left_out_when_not_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    path.write_bytes(docx("text"))

    reply = parse_task(ParseRequest(str(path), chunks=None))

    assert reply.chunks == ()
    assert reply.document is not None


def test_the_name_at_the_source_decides_not_that_of_the_copy(tmp_path: Path) -> None:
    copy = tmp_path / "0001"
    copy.write_bytes(b"# Title\ntext")

    assert parse_document(copy, ParseLimits(), name="readme.md").media_type == "text/markdown"


def test_a_file_that_is_gone_is_not_an_outcome(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        parse_task(ParseRequest(str(tmp_path / "gone.pdf")))


def test_running_out_of_memory_is_its_own_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhaust(data: bytes, context: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Reader, "load", lambda _: exhaust)
    path = tmp_path / "a.txt"
    path.write_text("text")

    reply = parse_task(ParseRequest(str(path)))

    assert reply.outcome is DocumentOutcome.MEMORY
    assert "memory limit" in reply.reason


def test_an_error_nobody_thought_of_is_that_files_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes, context: object) -> None:
        raise ZeroDivisionError("odd\n thing")

    monkeypatch.setattr(Reader, "load", lambda _: fail)

    with pytest.raises(DocumentRefused, match="ZeroDivisionError: odd thing") as refused:
        parse_bytes(b"text", "a.txt", ParseLimits())

    assert refused.value.outcome is DocumentOutcome.CORRUPT


def test_what_postgresql_refuses_is_removed_and_counted() -> None:
    parsed = parse_bytes(b"one\x00two\x01 " + b"word " * 100, "a.txt", ParseLimits())

    assert parsed.text.startswith("onetwo word")
    assert parsed.removed_characters == 2


def test_too_much_text_is_refused_not_cut() -> None:
    with pytest.raises(DocumentRefused, match="max_text_characters is 10") as refused:
        parse_bytes(b"x" * 11, "a.txt", ParseLimits(max_text_characters=10))

    assert refused.value.outcome is DocumentOutcome.TOO_LARGE


def test_a_fingerprint_changes_for_one_format_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = processing_fingerprints(ChunkSettings())
    kind = next(iter(READERS))
    reader = READERS[kind]
    monkeypatch.setitem(
        READERS, kind, Reader(reader.module, reader.function, reader.library, revision=99)
    )

    after = processing_fingerprints(ChunkSettings())

    assert sum(before[media_type] != after[media_type] for media_type in before) == 1


def test_a_worker_imports_parsers_and_nothing_heavy() -> None:
    modules = ", ".join(worker_modules())
    heavy = "('dagster', 'pandas', 'pyarrow', 'openpyxl', 'numpy', 'psycopg')"
    script = f"import sys, {modules}; print([name for name in {heavy} if name in sys.modules])"

    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "[]"


def test_asking_for_fingerprints_loads_no_parser() -> None:
    script = (
        "import sys; from batch_assets.sources.documents.chunks import ChunkSettings; "
        "from batch_assets.sources.documents.readers import processing_fingerprints; "
        "processing_fingerprints(ChunkSettings()); "
        "print([n for n in ('pypdfium2', 'python_calamine', 'semantic_text_splitter') "
        "if n in sys.modules])"
    )

    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "[]"
