"""Spreadsheets: from the files of an arrival day to rows of their template's table.

files -> hash -> worker reads each into a spool -> load_windows -> one report per window

A template that replaces has one window for a day, with the rows of all its files; any other has
one window for each file of a day, so that a bad file fails alone.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from batch_assets.contracts.table import Scope, Window
from batch_assets.loading.leases import Connector
from batch_assets.loading.load import load_windows
from batch_assets.loading.loads import Outcome
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.prepare import RejectLimit, WindowSource
from batch_assets.loading.report import LoadReport
from batch_assets.loading.target_table import ensure_table
from batch_assets.settings import LoadingSettings
from batch_assets.sources.spreadsheets.contract import template_contract
from batch_assets.sources.spreadsheets.spool import (
    ReadRequest,
    ReadResult,
)
from batch_assets.sources.spreadsheets.template import ContractMode, SpreadsheetTemplate

Submit = Callable[[ReadRequest], "Future[ReadResult]"]
"""Has a file read in a worker process; ends with what was found, or why the worker did not end."""


@dataclass(frozen=True, slots=True)
class FileReport:
    """What happened to one window of a template.

    Attributes:
        load: Ledger, state and reason.
        files: Names of the files in it.
        message: Why it failed, in words.
        warnings: What a person should know although the rows are loaded.
    """

    load: LoadReport
    files: tuple[str, ...]
    message: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Delivery:
    """The files of one window, and their way through the workers."""

    window: Window
    files: tuple[tuple[Path, str], ...]
    sha256: str
    requests: list[ReadRequest] = field(default_factory=list)
    futures: list["Future[ReadResult]"] = field(default_factory=list)
    results: list[ReadResult] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(path.name for path, _ in self.files)


def options_of(
    template: SpreadsheetTemplate,
    loading: LoadingSettings,
    *,
    run_id: str | None = None,
    force: bool = False,
) -> LoadOptions:
    """How a template is loaded: the configuration's bounds, and the template's own limits."""
    rows, ratio = template.reject_limit_rows, template.reject_limit_ratio
    return LoadOptions(
        publish_connections=loading.publish_connections,
        chunk_rows=loading.chunk_rows,
        queue_bytes=loading.queue_bytes,
        lease_seconds=loading.lease_seconds,
        reject_limit=RejectLimit(
            rows=loading.reject_limit_rows if rows is None else rows,
            ratio=loading.reject_limit_ratio if ratio is None else ratio,
        ),
        force=force,
        run_id=run_id,
    )


def load_workbook_files(
    connect: Connector,
    template: SpreadsheetTemplate,
    files: Sequence[Path],
    day: date,
    *,
    submit: Submit,
    spool_dir: Path,
    options: LoadOptions,
) -> Iterator[FileReport]:
    """Load files that arrived on a day; each window is reported as soon as it is committed.

    The table is created or compared first. A file that was loaded before, by its bytes, is
    recognised and not read.

    Args:
        connect: Opens a connection.
        template: How the files are read, and where their rows go.
        files: All files of the day for a template that replaces; else any of them.
        day: The day they arrived: the partition.
        submit: Has a file read in a worker process.
        spool_dir: Folder for rows on their way; what is put there is removed again.
        options: Bounds and limits of the load.

    Raises:
        SchemaMismatch: The table is not as the template says; nothing was read.
        DatabaseUnavailable: The database failed; windows reported before are committed.
    """
    extra = _extra_columns(template, files)
    contract = template_contract(template, extra)
    ensure_table(connect, contract, may_add_columns=template.contract is ContractMode.EVOLVE)
    deliveries = {item.window.key: item for item in _deliveries(template, files, day)}
    with TemporaryDirectory(dir=spool_dir, prefix="spreadsheets-") as folder:
        reader = _Reader(template, day, submit, Path(folder), extra)
        known = _recognised(connect, contract, deliveries, options)

        def items() -> Iterator[WindowSource | Outcome]:
            yield from known.values()
            yield from reader.sources([d for k, d in deliveries.items() if k not in known])

        for report in load_windows(connect, contract, Scope(), items(), options):
            yield _describe(report, deliveries[report.window.key])
