"""Check a file by its template without loading it: what would be rejected, and where."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from batch_assets.contracts.batch import RejectedRow
from batch_assets.contracts.personal import masked_row
from batch_assets.contracts.table import Scope
from batch_assets.execution.isolation import IsolatedWorkers, TaskLimits
from batch_assets.ingest.spreadsheets.deliveries import DeliveryReader, find_deliveries, submit_to
from batch_assets.ingest.spreadsheets.load import READ_LIMITS
from batch_assets.loading.prepare import (
    FailedWindow,
    PreparedWindow,
    RejectLimit,
    prepare_window,
)
from batch_assets.sources.spreadsheets.contract import template_contract
from batch_assets.sources.spreadsheets.template import ContractMode, SpreadsheetTemplate

_ALL_ROWS = 2**62


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a load of one file would do, as far as the file alone can tell.

    Attributes:
        read: Rows of data.
        good: Rows that would be loaded.
        duplicate: Copies of rows that would be left out.
        skipped: Rows left out on purpose.
        rejected: Every row that would be rejected, with reasons and places.
        warnings: What a person should know although rows would be loaded.
    """

    file: str
    template: str
    read: int = 0
    good: int = 0
    duplicate: int = 0
    skipped: int = 0
    rejected: tuple[RejectedRow, ...] = ()
    warnings: tuple[str, ...] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)


def check_workbook_file(
    template: SpreadsheetTemplate,
    path: Path,
    *,
    workers: IsolatedWorkers,
    limits: TaskLimits = READ_LIMITS,
) -> CheckReport:
    """Read and validate a file as a load would, without a database.

    The good rows are held in memory, to find keys that stand there twice.

    Raises:
        UnreadableSource: The file cannot be read, or is not as the template says.
    """
    # What a table would get as a new column is only a warning here.
    lenient = {"contract": ContractMode.DISCARD}
    if template.contract is ContractMode.EVOLVE:
        template = template.model_copy(update=lenient)
    contract = template_contract(template)
    day = date(1970, 1, 1)
    with TemporaryDirectory(dir=workers.folder, prefix="spreadsheets-") as folder:
        reader = DeliveryReader(template, day, submit_to(workers, limits), Path(folder), {})
        [delivery] = find_deliveries(template, [path], day)
        [source] = reader.sources([delivery], ())
        outcome = prepare_window(
            source,
            contract,
            Scope(),
            reject_limit=RejectLimit(rows=_ALL_ROWS, ratio=1.0),
            chunk_rows=_ALL_ROWS,
        )
        warnings = reader.warnings_of(delivery)
    if isinstance(outcome, FailedWindow):
        raise outcome.error
    if not isinstance(outcome, PreparedWindow):
        return CheckReport(path.name, template.name, warnings=warnings)
    return CheckReport(
        file=path.name,
        template=template.name,
        read=outcome.read,
        good=outcome.rows.num_rows,
        duplicate=outcome.duplicate,
        skipped=outcome.skipped,
        rejected=tuple(
            masked_row(row, contract.personal, contract.columns.names) for row in outcome.rejected
        ),
        warnings=warnings,
        reasons=dict(Counter(row.violations[0].rule for row in outcome.rejected).most_common()),
    )
