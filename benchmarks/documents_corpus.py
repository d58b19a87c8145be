"""What is read: the real files beside the project, else generated ones; and copies of them.

A copy differs from its original by a comment behind its end, so that nothing is recognised by its
hash and all of it is read.
"""

import csv
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHARED_FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "documents"

_GENERATED_PDFS = 12
_GENERATED_PAGES = 20
_LINES = 45


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """One file and what has to come of it.

    Attributes:
        expected: Outcomes that are right; empty where tools disagree.
        snippet: Text that has to be found; empty for none.
        pages: Pages of a PDF, 0 where it has none to read.
        tokens: Words that the reference found in it.
    """

    path: Path
    kind: str
    expected: frozenset[str]
    snippet: str
    pages: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Corpus:
    """Files and where they are from (`shared` or `generated`)."""

    origin: str
    files: tuple[CorpusFile, ...]

    @property
    def pdfs(self) -> tuple[CorpusFile, ...]:
        """PDFs that have to be read."""
        return tuple(f for f in self.files if f.kind == "pdf" and f.pages and "ok" in f.expected)

    @property
    def readable(self) -> tuple[CorpusFile, ...]:
        """All files that have to be read."""
        return tuple(f for f in self.files if f.expected == {"ok"})


def open_corpus(folder: Path) -> Corpus:
    """The real files, or generated ones written to the folder."""
    if (SHARED_FOLDER / "manifest.csv").is_file():
        return _read_shared()
    return _generate(folder)


def write_copies(files: Sequence[CorpusFile], folder: Path, copies: int) -> list[CorpusFile]:
    """Each file, `copies` times, equal in all but its bytes."""
    folder.mkdir(parents=True)
    written = []
    for number in range(copies):
        for file in files:
            path = folder / f"{number:04d}-{file.path.name}"
            path.write_bytes(file.path.read_bytes() + f"\n% copy {number}\n".encode())
            written.append(CorpusFile(path, file.kind, file.expected, "", file.pages, file.tokens))
    return written


def _read_shared() -> Corpus:
    with (SHARED_FOLDER / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return Corpus("shared", tuple(_shared_file(row) for row in rows))


def _shared_file(row: dict[str, str]) -> CorpusFile:
    tokens = int(row["ref_tokens"] or 0)
    expected = set() if row["expected"] == "ambiguous" else {row["expected"]}
    # The manifest says whether a file opens; one that opens and has no text is a state of ours.
    if expected == {"ok"} and tokens == 0:
        expected.add("empty_text")
    return CorpusFile(
        SHARED_FOLDER / "files" / row["name"],
        row["type"],
        frozenset(expected),
        row["snippet"],
        int(row["pages_or_sheets"] or 0) if row["type"] == "pdf" else 0,
        tokens,
    )


def _generate(folder: Path) -> Corpus:
    folder.mkdir(parents=True)
    files = []
    for number in range(_GENERATED_PDFS):
        pages = [[_sentence(number, page, line) for line in range(_LINES)]
                 for page in range(_GENERATED_PAGES)]  # fmt: skip
        path = folder / f"report-{number:02d}.pdf"
        path.write_bytes(write_pdf(pages))
        tokens = sum(len(line.split()) for page in pages for line in page)
        ok = frozenset({"ok"})
        files.append(CorpusFile(path, "pdf", ok, pages[3][7], _GENERATED_PAGES, tokens))
    for name, content, expected, snippet in (
        ("plain.txt", "plain words 数据平台", "ok", "plain words"),
        ("page.html", "<title>t</title><p>paragraph of a page</p>", "ok", "paragraph of a page"),
        ("notes.md", "# Heading\n\nnotes of a meeting\n", "ok", "notes of a meeting"),
        ("table.csv", "name,value\nalpha,1\n", "ok", "alpha"),
        ("empty.txt", "", "empty_text", ""),
        ("cut.pdf", "%PDF-1.7 and no more", "corrupt", ""),
        ("old.rtf", "{\\rtf1\\ansi old}", "unsupported", ""),
    ):
        path = folder / name
        path.write_text(content, encoding="utf-8")
        kind = path.suffix[1:]
        files.append(CorpusFile(path, kind, frozenset({expected}), snippet, 0, 0))
    return Corpus("generated", tuple(files))


def _sentence(number: int, page: int, line: int) -> str:
    return (
        f"Report {number} page {page} line {line}: the margin of segment {line * 7} was "
        f"{page}.{line} per cent"
    )


def write_pdf(pages: Sequence[Sequence[str]]) -> bytes:
    """A PDF with lines of plain ASCII text on each page."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    kids = []
    for lines in pages:
        shown = "".join(f"({line}) Tj T* " for line in lines)
        stream = zlib.compress(f"BT /F1 9 Tf 12 TL 40 780 Td {shown}ET".encode("ascii"))
        head = f"<< /Length {len(stream)} /Filter /FlateDecode >>\nstream\n".encode()
        objects.append(head + stream + b"\nendstream")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {len(objects)} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>".encode()
    body = b"%PDF-1.7\n"
    positions = []
    for number, content in enumerate(objects, 1):
        positions.append(len(body))
        body += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    table = "".join(f"{position:010d} 00000 n \n" for position in positions)
    size = len(objects) + 1
    body += f"xref\n0 {size}\n0000000000 65535 f \n{table}".encode()
    start = body.rindex(b"xref\n0 ")
    return body + f"trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
