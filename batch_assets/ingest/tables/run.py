"""One run of a transfer, whatever its mode."""

from collections.abc import Iterator, Sequence
from datetime import date

from batch_assets.ingest.tables.stream import continue_transfer
from batch_assets.ingest.tables.transfer import transfer_windows
from batch_assets.loading.leases import Connector
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.report import LoadReport
from batch_assets.sources.tables.transfer import Transfer, TransferMode


def run_transfer(
    connect: Connector,
    transfer: Transfer,
    source: Connector,
    options: LoadOptions,
    *,
    days: Sequence[date] | None = None,
) -> Iterator[LoadReport]:
    """Run a transfer in its mode.

    Args:
        source: Opens connections to the source (sources/tables/open.py).
        days: Days of a transfer with a window column; None for all others.

    Yields:
        One report for each day, or one for the run.
    """
    if transfer.mode is TransferMode.FULL:
        yield from transfer_windows(connect, transfer, source, days, options)
    else:
        yield continue_transfer(connect, transfer, source, options)
