"""Spreadsheets: from the files of an arrival day to rows of their template's table.

files -> hash -> worker reads each into a spool -> load_windows -> one report per window

A template that replaces has one window for a day, with the rows of all its files; any other has
one window for each file of a day, so that a bad file fails alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from batch_assets.contracts.table import Scope, TableContract
from batch_assets.execution.isolation import IsolatedWorkers, TaskLimits
from batch_assets.ingest.spreadsheets.deliveries import (
    Delivery,
    DeliveryReader,
    Submit,
    find_deliveries,
    submit_to,
)
from batch_assets.ingest.spreadsheets.errors import write_load_errors
from batch_assets.loading.leases import Connector
from batch_assets.loading.load import load_windows
from batch_assets.loading.loads import LoadContext
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.prepare import RejectLimit
from batch_assets.loading.report import LoadReport
from batch_assets.loading.target_table import ensure_table
from batch_assets.loading.windows import read_windows
from batch_assets.postgres.connect import translating_errors
from batch_assets.settings import LoadingSettings
from batch_assets.sources.spreadsheets.contract import template_contract
from batch_assets.sources.spreadsheets.header import name_columns
from batch_assets.sources.spreadsheets.spool import ReadRequest
from batch_assets.sources.spreadsheets.template import ContractMode, SpreadsheetTemplate

# What workers import before their first file.
PRELOAD = (
    "batch_assets.sources.spreadsheets.spool",
    "batch_assets.sources.spreadsheets.xlsx",
    "lxml.etree",
)

# A million rows of 20 columns take 180 MB (measured); formats that are held whole take more, and
# shared strings as much as they are long. The limit counts addresses, of which Arrow's allocator
# reserves a gigabyte before it uses any.
READ_LIMITS = TaskLimits(timeout_seconds=900.0, memory_bytes=2 * 1024**3)


@dataclass(frozen=True, slots=True)
class FileReport:
    """What happened to one window of a template.

    Attributes:
        load: Ledger, state and reason.
        files: Names of the files in it.
        message: Why it failed, in words.
        warnings: What a person should know although the rows are loaded.
        error_workbook: The rejected rows, to be corrected; None if there are none.
    """

    load: LoadReport
    files: tuple[str, ...]
    message: str = ""
    warnings: tuple[str, ...] = ()
    error_workbook: Path | None = None


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
    workers: IsolatedWorkers,
    options: LoadOptions,
    limits: TaskLimits = READ_LIMITS,
    error_folder: Path | None = None,
) -> Iterator[FileReport]:
    """Load files that arrived on a day; each window is reported as soon as it is committed.

    The table is created or compared first. A file that was loaded before, by its bytes, is
    recognised and not read.

    Args:
        connect: Opens a connection.
        template: How the files are read, and where their rows go.
        files: All files of the day for a template that replaces; else any of them.
        day: The day they arrived: the partition.
        workers: Processes that read; their folder holds rows on their way.
        options: Bounds and limits of the load.
        limits: What reading one file may use.
        error_folder: Where workbooks with rejected rows go; none are written without it.

    Raises:
        SchemaMismatch: The table is not as the template says; nothing was read.
        DatabaseUnavailable: The database failed; windows reported before are committed.
    """
    submit = submit_to(workers, limits)
    extra = _extra_columns(template, files, submit, day)
    contract = template_contract(template, extra)
    ensure_table(connect, contract, may_add_columns=template.contract is ContractMode.EVOLVE)
    with TemporaryDirectory(dir=workers.folder, prefix="spreadsheets-") as folder:
        reader = DeliveryReader(template, day, submit, Path(folder), extra)
        deliveries = {item.window.key: item for item in find_deliveries(template, files, day)}
        read_ahead = _not_known(connect, contract, deliveries.values(), force=options.force)
        items = reader.sources(deliveries.values(), read_ahead)
        for report in load_windows(connect, contract, Scope(), items, options):
            delivery = deliveries[report.window.key]
            yield FileReport(
                load=report,
                files=delivery.names,
                message=str(report.error) if report.error else report.message,
                warnings=reader.warnings_of(delivery),
                error_workbook=_write_errors(connect, template, report, error_folder),
            )
            reader.drop(delivery)


def _write_errors(
    connect: Connector, template: SpreadsheetTemplate, report: LoadReport, folder: Path | None
) -> Path | None:
    if folder is None or not report.ledger.rejected:
        return None
    with translating_errors(), connect() as conn:
        return write_load_errors(conn, template, report.load_id, folder)


def _not_known(
    connect: Connector, contract: TableContract, deliveries: Iterable[Delivery], *, force: bool
) -> set[str]:
    """Windows whose files are surely read, so that workers may begin before they are wanted."""
    found = {item.window.key: item for item in deliveries}
    if force:
        return set(found)
    with translating_errors(), connect() as conn:
        known = read_windows(
            conn, LoadContext(contract, Scope()), [item.window for item in found.values()]
        )
    return {
        key
        for key, item in found.items()
        if key not in known
        or known[key].source_hash != item.sha256
        or known[key].contract_version != contract.fingerprint
    }


def _extra_columns(
    template: SpreadsheetTemplate, files: Sequence[Path], submit: Submit, day: date
) -> dict[str, str]:
    """Text columns for headers that the template does not name, by name; for evolve alone."""
    if template.contract is not ContractMode.EVOLVE:
        return {}
    futures = [
        submit(ReadRequest(path, path.name, "", template, day, spool=None)) for path in files
    ]
    headers = dict.fromkeys(
        header for future in futures for header in future.result().unknown_headers
    )
    return name_columns(headers, {column.name for column in template.columns})
