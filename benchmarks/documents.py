"""Documents: pages a second with isolation, against pypdf and markitdown, with poison, in memory.

Processor seconds decide, of all our processes: the machine may be shared, and a wall clock then
measures its other users. Ways take turns in each repetition, so that their ratios are of the same
minute. Peers read in one plain process, without isolation, chunks or hashes.
"""

import io
import time
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ingest.documents.ingest import PRELOAD
from batch_assets.sources.documents.parse import ParseRequest, parse_task
from benchmarks.command import Command, Setting, describe_run
from benchmarks.documents_corpus import Corpus, CorpusFile, open_corpus, write_copies
from benchmarks.documents_ingest import empty_documents, ingest_folder, measure_growth
from benchmarks.documents_peers import Peer, open_peer
from benchmarks.documents_pool import (
    DEADLINE_SECONDS,
    POISON_LIMITS,
    POISON_TASK,
    REFUSED_KINDS,
    PoolMeter,
    PoolRun,
    run_pool,
    write_poison,
)
from benchmarks.documents_quality import measure_quality
from benchmarks.figures import Figures
from benchmarks.measure import server_cpu_seconds
from benchmarks.server import BenchmarkServer

_PRELOAD = (*PRELOAD, "benchmarks.documents_poison")
_BOMB_BYTES = 64 * 1024 * 1024
_POISON_RATIO = 0.05

# A peer has read a file if it found so much of its words; markitdown gives a few bytes of some
# documents instead of an error, and is done with them in no time.
_READ_RATIO = 0.5
_PEERS = ("pypdf", "markitdown")
# Ours reads the peer's files so many times, because processor time comes in steps of 10 ms.
_TURNS = 5


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    copies: int
    poison_documents: int
    tiny_files: int


SCALES = {
    "small": Scale(copies=2, poison_documents=300, tiny_files=1_500),
    "full": Scale(copies=10, poison_documents=2_000, tiny_files=10_000),
}


@dataclass(slots=True)
class DocumentsBenchmark:
    """Repetitions over one corpus.

    Attributes:
        samples: Measured values by figure, one a repetition.
    """

    corpus: Corpus
    scale: Scale
    folder: Path
    workers: IsolatedWorkers
    server: BenchmarkServer
    admin: psycopg.Connection
    peers: dict[str, Peer]
    peer_files: dict[str, list[CorpusFile]] = field(default_factory=dict)
    copies: list[CorpusFile] = field(default_factory=list)
    clean: list[Path] = field(default_factory=list)
    poisoned: list[Path] = field(default_factory=list)
    refused: list[Path] = field(default_factory=list)
    samples: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def prepare(self) -> None:
        """Write what is read, and let everybody read once what nobody counts."""
        self.copies = write_copies(self.corpus.pdfs, self.folder / "pdfs", self.scale.copies)
        clean = self.corpus.readable
        times = -(-self.scale.poison_documents // len(clean))
        self.clean = [file.path for file in clean] * times
        self.clean = self.clean[: self.scale.poison_documents]
        count = round(self.scale.poison_documents * _POISON_RATIO)
        self.poisoned = _among(self.clean, write_poison(self.folder / "poison", count, _bomb()))
        harmless = write_poison(self.folder / "refused", count, _bomb(), kinds=REFUSED_KINDS)
        self.refused = _among(self.clean, harmless)
        for name, peer in self.peers.items():
            words = peer.read([file.path for file in self.corpus.pdfs]).words
            self.peer_files[name] = [
                file
                for file in self.corpus.pdfs
                if words.get(file.path, -1) >= file.tokens * _READ_RATIO
            ]
        run_pool(self.workers, [file.path for file in self.corpus.pdfs])

    def repeat(self, repetitions: int) -> None:
        """Each way in turn, the next one first each time."""
        ways = [self._parse_alone, self._parse_isolated, self._ingest, self._poison]
        ways += [lambda name=name: self._compare(name) for name in self.peers]  # type: ignore[misc]
        for number in range(repetitions):
            for way in (*ways[number % len(ways) :], *ways[: number % len(ways)]):
                way()

    def _parse_alone(self) -> None:
        before, pages = time.process_time(), 0
        for file in self.copies:
            reply = parse_task(ParseRequest(str(file.path)))
            pages += len(reply.document.segments) if reply.document else 0
        self._add("parse_only_pages_per_cpu_second", pages / (time.process_time() - before))

    def _parse_isolated(self) -> None:
        run = run_pool(self.workers, [file.path for file in self.copies])
        self._refuse_other(run.outcomes["ok"], run)
        self._add("pdf_pages_per_second_per_core", run.pages / run.cpu_seconds)
        self._add("pdf_pages_per_second_wall", run.pages / run.seconds)

    def _refuse_other(self, read: int, run: PoolRun) -> None:
        if read < len(self.copies) * 0.9:
            raise RuntimeError(f"{dict(run.outcomes)} of {len(self.copies)} PDFs, expected all ok")

    def _ingest(self) -> None:
        empty_documents(self.admin)
        postmaster = self.server.postmaster(self.admin)
        server_before = server_cpu_seconds(postmaster)
        meter = PoolMeter()
        *_, ingested = ingest_folder(self.server.connect, self.folder / "pdfs", self.workers)
        seconds, cpu_seconds = meter.spent()
        if ingested.files != len(self.copies):
            raise RuntimeError(f"{ingested.files} committed, expected {len(self.copies)}")
        server_seconds = server_cpu_seconds(postmaster) - server_before
        self._add("committed_pages_per_client_cpu_second", ingested.segments / cpu_seconds)
        if postmaster is not None:
            both = cpu_seconds + server_seconds
            self._add("committed_pages_per_cpu_second", ingested.segments / both)
        self._add("committed_pages_per_second_wall", ingested.segments / seconds)

    def _poison(self) -> None:
        clean = run_pool(self.workers, self.clean, function=POISON_TASK, limits=POISON_LIMITS)
        dirty = run_pool(self.workers, self.poisoned, function=POISON_TASK, limits=POISON_LIMITS)
        refused = run_pool(self.workers, self.refused, function=POISON_TASK, limits=POISON_LIMITS)
        self._add("refused_seconds", refused.seconds)
        if sum(dirty.outcomes.values()) != len(self.poisoned):
            raise RuntimeError(f"{dict(dirty.outcomes)}, expected {len(self.poisoned)} outcomes")
        if set(clean.outcomes) != {"ok"}:
            raise RuntimeError(f"{dict(clean.outcomes)} of a clean batch, expected all ok")
        waited = dirty.outcomes["timeout"] * DEADLINE_SECONDS
        self._add("clean_seconds", clean.seconds)
        self._add("poisoned_seconds", dirty.seconds - waited)
        self._add("clean_cpu_seconds", clean.cpu_seconds)
        self._add("poisoned_cpu_seconds", dirty.cpu_seconds)
        self._add("poison_files_that_ended_a_worker",
                  dirty.outcomes["timeout"] + dirty.outcomes["crash"])  # fmt: skip

    def _compare(self, name: str) -> None:
        files = [file.path for file in self.peer_files[name]]
        pages = sum(file.pages for file in self.peer_files[name])
        theirs = self.peers[name].read(files)
        ours = run_pool(self.workers, files * _TURNS)
        before = time.process_time()
        for path in files:
            # What the peers do: the text and nothing else.
            parse_task(ParseRequest(str(path), chunks=None))
        self._add(f"parse_only_beside_{name}_seconds", time.process_time() - before)
        self._add(f"{name}_pages_per_cpu_second", pages / theirs.cpu_seconds)
        self._add(f"{name}_seconds", theirs.cpu_seconds)
        self._add(f"beside_{name}_seconds", ours.cpu_seconds / _TURNS)

    def _add(self, name: str, value: float) -> None:
        self.samples[name].append(value)

    def figures(self) -> dict[str, object]:
        """Medians and spreads, flat; the ones that are asked for first."""
        flat = Figures()
        pairs = {
            "ratio_vs_pypdf": ("pypdf_seconds", "beside_pypdf_seconds"),
            "ratio_vs_markitdown": ("markitdown_seconds", "beside_markitdown_seconds"),
            "ratio_parse_only_vs_pypdf": ("pypdf_seconds", "parse_only_beside_pypdf_seconds"),
            "ratio_parse_only_vs_markitdown": (
                "markitdown_seconds",
                "parse_only_beside_markitdown_seconds",
            ),
            "poison_ratio": ("clean_cpu_seconds", "poisoned_cpu_seconds"),
            "poison_ratio_wall": ("clean_seconds", "poisoned_seconds"),
            "poison_ratio_where_no_worker_dies": ("clean_seconds", "refused_seconds"),
        }
        for name, (slow, fast) in pairs.items():
            if slow in self.samples:
                flat.add_ratio(name, self.samples[slow], self.samples[fast])
            else:
                flat[name] = "absent"
        for name, values in self.samples.items():
            flat.add(name, values)
        for name, files in self.peer_files.items():
            flat[f"{name}_version"] = self.peers[name].version
            flat[f"{name}_pages"] = sum(file.pages for file in files)
        return flat


def run_documents(setting: Setting[Scale]) -> dict[str, object]:
    """All figures of one scale, flat."""
    folder, scale = setting.folder, setting.scale
    corpus, worker_count = open_corpus(folder / "corpus"), setting.more["workers"]
    with ExitStack() as stack:
        opened = stack.enter_context(setting.open_server())
        server, admin = opened.server, opened.admin
        peers = {
            name: peer
            for name in _PEERS
            if (peer := stack.enter_context(open_peer(name, setting.peers_folder))) is not None
        }
        workers = stack.enter_context(
            IsolatedWorkers(workers=worker_count, spool_dir=folder / "spool", preload=_PRELOAD)
        )
        benchmark = DocumentsBenchmark(corpus, scale, folder, workers, server, admin, peers)
        benchmark.prepare()
        benchmark.repeat(setting.repetitions)
        quality = measure_quality(workers, corpus.files)
        empty_documents(admin)
        growth = measure_growth(server.url, folder / "tiny" / "files", scale.tiny_files)
    return {
        **describe_run(("pypdfium2", "lxml", "psycopg"), None),
        "workers": worker_count,
        "corpus": corpus.origin,
        "pdf_files": len(benchmark.copies),
        "pdf_pages": sum(file.pages for file in benchmark.copies),
        **benchmark.figures(),
        **quality,
        **growth,
    }


COMMAND = Command(
    "documents",
    "documents against pypdf and markitdown",
    SCALES,
    run_documents,
    options={"workers": (1, "worker processes; default: 1")},
)


def _among(clean: Sequence[Path], poison: Sequence[Path]) -> list[Path]:
    """The clean batch with poison evenly in the place of some."""
    mixed, step = list(clean), len(clean) // len(poison)
    for number, path in enumerate(poison):
        mixed[number * step + step // 2] = path
    return mixed


def _bomb() -> bytes:
    """A Word file that unpacks to a thousand times its size."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", b" " * _BOMB_BYTES)
    return buffer.getvalue()
