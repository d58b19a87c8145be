"""One file, read by its template into a spool file; runs in a worker process.

The spool is an Arrow stream. Each batch carries in its metadata how many rows were read for it,
which were rejected and how many were skipped, so that the process that loads it holds one batch
at a time, however large the file is.
"""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from datetime import date
from importlib.abc import MetaPathFinder
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as ipc

from batch_assets.contracts.batch import (
    POSITION_SCHEMA,
    SHEET_FIELD,
    Original,
    RejectedRow,
    SourceBatch,
    SourceCell,
    Violation,
)
from batch_assets.errors import UnreadableSource
from batch_assets.sources.spreadsheets.contract import template_contract
from batch_assets.sources.spreadsheets.judge import Arrival, JudgedRows
from batch_assets.sources.spreadsheets.preflight import FileRefused, Refusal
from batch_assets.sources.spreadsheets.reading import Reading
from batch_assets.sources.spreadsheets.template import ContractMode, SpreadsheetTemplate

_POSITIONS = POSITION_SCHEMA.append(SHEET_FIELD)
_HASH_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What a worker is to read.

    Attributes:
        path: The file.
        file: Its name in ledgers and dead letters.
        sha256: Its content when it was found; another content is refused.
        template: How it is read.
        day: Partition of its rows.
        spool: Where the rows go, in a folder that exists; None only looks at the headers.
        extra: Columns added for unknown headers, by name (evolve).
    """

    path: Path
    file: str
    sha256: str
    template: SpreadsheetTemplate
    day: date
    spool: Path | None
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What a worker found; the rows are in the spool.

    Attributes:
        error: Why nothing can be loaded, in words; empty if it can.
        refusal: The same as one of a closed set.
        warnings: What a person should know although rows are loaded.
        read_rows: Rows of data in the file.
        rejected_rows: Those that are not loaded.
        hidden_rows: Those that are hidden in the file.
        rules: Rejected rows by the rule that names the reason.
        unknown_headers: Headers that the template does not name.
    """

    error: str = ""
    refusal: str = ""
    warnings: tuple[str, ...] = ()
    read_rows: int = 0
    rejected_rows: int = 0
    hidden_rows: int = 0
    rules: Mapping[str, int] = field(default_factory=dict)
    unknown_headers: tuple[str, ...] = ()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_HASH_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def read_to_spool(request: ReadRequest) -> ReadResult:
    """Read a file into its spool; what is wrong with the file is part of the answer."""
    _leave_pandas_out()
    try:
        if request.spool is None:
            return _look(request)
        if hash_file(request.path) != request.sha256:
            return ReadResult(
                error=f"{request.file}: changed after it was found; it may still be being "
                "written; it is read again with the next run",
                refusal=Refusal.CHANGED,
            )
        return _write(request, request.spool)
    except FileRefused as error:
        return ReadResult(error=str(error), refusal=error.refusal)
    except UnreadableSource as error:
        return ReadResult(error=str(error), refusal=Refusal.NOT_AS_TEMPLATE)
    except OSError as error:
        return ReadResult(
            error=f"{request.file}: cannot be read ({error}); check the file and the disk",
            refusal=Refusal.CORRUPT,
        )


def read_several(requests: Sequence[ReadRequest]) -> tuple[ReadResult, ...]:
    """Read files one after the other, each into its own spool."""
    return tuple(read_to_spool(request) for request in requests)


class _WithoutPandas(MetaPathFinder):
    """Finds everything but pandas."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Refuse pandas, and leave everything else to the finders that follow."""
        del path, target
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is left out while Arrow looks for it", name=fullname)


def _leave_pandas_out() -> None:
    """Let Arrow look for pandas once and not find it, unless it is there already.

    Arrow imports pandas when it is first given a list, which takes a fresh worker a second
    (measured) and 60 MB. What asks Arrow for a data frame afterwards still gets one.
    """
    if "pandas" in sys.modules:
        return
    finder = _WithoutPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)


def _look(request: ReadRequest) -> ReadResult:
    """The headers that the template does not name; a file that fails is refused when it is read."""
    discarding = request.template.model_copy(update={"contract": ContractMode.DISCARD})
    reading = Reading(request.path, discarding, Arrival(request.file, request.day, {}))
    reading.find_headers()
    unknown = [name for header in reading.headers.values() for name in header.unknown().values()]
    return ReadResult(unknown_headers=tuple(dict.fromkeys(unknown)))


def _write(request: ReadRequest, spool: Path) -> ReadResult:
    arrival = Arrival(request.file, request.day, request.extra)
    reading = Reading(request.path, request.template, arrival)
    contract = template_contract(request.template, request.extra)
    read = rejected = 0
    rules: Counter[str] = Counter()
    with pa.OSFile(str(spool), "wb") as sink, ipc.new_stream(sink, contract.columns) as out:
        for judged in reading.rows():
            out.write_batch(judged.rows, custom_metadata={"fate": _fate_text(judged)})
            read += judged.read_rows
            rejected += len(judged.rejected)
            rules.update(row.violations[0].rule for row in judged.rejected)
    return ReadResult(
        warnings=tuple(reading.warnings),
        read_rows=read,
        rejected_rows=rejected,
        hidden_rows=reading.hidden_rows,
        rules=dict(rules),
    )


def _fate_text(judged: JudgedRows) -> str:
    return json.dumps(
        {
            "read": judged.read_rows,
            "skipped": judged.skipped_rows,
            "rejected": [
                {
                    "file": row.file,
                    "sheet": row.sheet,
                    "row": row.row,
                    "original": row.original,
                    "violations": [asdict(violation) for violation in row.violations],
                    "layout": [astuple(cell) for cell in row.layout],
                }
                for row in judged.rejected
            ],
        }
    )


def read_spool(spool: Path, day: date, *, first_batch: int = 0) -> Iterator[SourceBatch]:
    """Batches of a spool, one in memory at a time.

    Args:
        spool: Written by `read_to_spool`.
        day: Partition of the rows.
        first_batch: Batches before it are passed over.
    """
    with pa.OSFile(str(spool), "rb") as source, ipc.open_stream(source) as stream:
        number = 0
        while True:
            try:
                rows, metadata = stream.read_next_batch_with_custom_metadata()
            except StopIteration:
                return
            number += 1
            if number > first_batch:
                yield _as_source_batch(rows, metadata, day, number)


def _as_source_batch(
    rows: pa.RecordBatch, metadata: pa.KeyValueMetadata, day: date, number: int
) -> SourceBatch:
    fate = json.loads(metadata[b"fate"])
    rejected = tuple(
        RejectedRow(
            file=row["file"],
            sheet=row["sheet"],
            row=row["row"],
            violations=tuple(Violation(**violation) for violation in row["violations"]),
            original=row["original"],
            window_value=day,
            layout=tuple(SourceCell(*cell) for cell in row["layout"]),
        )
        for row in fate["rejected"]
    )

    def originals(indices: Sequence[int]) -> list[Original]:
        chosen = rows.take(pa.array(list(indices), pa.int64())).to_pylist()
        return [
            {name: None if value is None else str(value) for name, value in row.items()}
            for row in chosen
        ]

    return SourceBatch(
        read_rows=fate["read"],
        rows=rows,
        positions=positions_of(rows),
        originals=originals,
        rejected=rejected,
        skipped_rows=fate["skipped"],
        resume_after={"batches": number},
    )


def positions_of(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Where rows of a template's table came from, by what they say themselves."""
    return pa.RecordBatch.from_arrays(
        [
            rows.column("source_file").dictionary_encode(),
            rows.column("source_row"),
            rows.column("source_sheet").dictionary_encode(),
        ],
        schema=_POSITIONS,
    )
