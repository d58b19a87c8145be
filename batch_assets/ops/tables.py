"""What the command line does with transfers: list, check, run."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from functools import partial

from batch_assets.errors import BatchAssetsError, ConfigurationError
from batch_assets.ingest.tables.replay import replay_transfer
from batch_assets.ingest.tables.run import run_transfer
from batch_assets.ingest.tables.target import TransferPlan, plan_transfer
from batch_assets.ingest.tables.transfer import options_of
from batch_assets.loading.report import LoadReport
from batch_assets.postgres.connect import connect, database_url
from batch_assets.postgres.result_columns import estimate_rows
from batch_assets.settings import Settings, load_settings
from batch_assets.sources.tables.open import Connector, open_snapshot, source_connector
from batch_assets.sources.tables.transfer import Transfer, build_transfers


@dataclass(frozen=True, slots=True)
class CheckedTransfer:
    """Whether a transfer could run now.

    Attributes:
        problem: Why not; empty if it could.
        note: What a run would do first; empty where there is nothing to say.
        rows: Of the source by its planner's estimate; None if it cannot be asked.
        path: `raw` where bytes pass as they are, `function` where they go through Arrow.
    """

    name: str
    problem: str
    rows: int | None
    path: str
    note: str = ""


def list_transfers(settings: Settings | None = None) -> list[Transfer]:
    """The configured transfers."""
    settings = settings or load_settings()
    return list(build_transfers(settings.section("tables")).values())


def check_transfers(names: Sequence[str]) -> Iterator[CheckedTransfer]:
    """Connect to both sides of transfers and compare them; an absent target is not created.

    Args:
        names: Which; empty is all of them.
    """
    settings = load_settings()
    for transfer in _chosen(settings, names):
        yield _check(settings, transfer)


def run_named(name: str, days: Sequence[date], *, force: bool = False) -> Iterator[LoadReport]:
    """Run one transfer.

    Args:
        days: Of a transfer with a window column; empty for all others.

    Raises:
        ConfigurationError: There is no such transfer, or it wants days, or has none.
    """
    settings = load_settings()
    [transfer] = _chosen(settings, [name])
    if bool(days) != bool(transfer.window_column):
        wanted = "days (--from, --to)" if transfer.window_column else "no days"
        raise ConfigurationError(
            f"transfer {name} has {'a' if transfer.window_column else 'no'} window_column, "
            f"expected {wanted}; call it so"
        )
    target = _target(settings)
    yield from run_transfer(
        target,
        transfer,
        _source(settings, transfer, target),
        options_of(transfer, settings.loading, force=force),
        days=list(days) or None,
    )


def replay_target(target: str, *, day: date | None, who: str) -> Iterator[LoadReport]:
    """Try the open dead letters of transfers again.

    Args:
        target: Table of a transfer, or a schema for all of its tables.
    """
    settings = load_settings()
    connector = _target(settings)
    for transfer in transfers_to(settings, target):
        yield from replay_transfer(
            connector,
            transfer,
            _source(settings, transfer, connector),
            options_of(transfer, settings.loading),
            who=who,
            day=day,
        )


def transfers_to(settings: Settings, target: str) -> list[Transfer]:
    """The transfers that write a table, or a table of a schema."""
    return [
        transfer
        for transfer in list_transfers(settings)
        if transfer.target == target or transfer.target.startswith(f"{target}.")
    ]


def _check(settings: Settings, transfer: Transfer) -> CheckedTransfer:
    path = "function" if transfer.python_transform else "raw"
    try:
        target = _target(settings)
        source = _source(settings, transfer, target)
        with closing(target()) as ours, open_snapshot(source, transfer) as theirs:
            # A target that a run would create is created, compared, and rolled back.
            plan = plan_transfer(theirs, ours, transfer, is_rehearsal=True)
            rows = estimate_rows(theirs, plan.statement.select())
    except BatchAssetsError as error:
        return CheckedTransfer(transfer.name, str(error), None, path)
    return CheckedTransfer(transfer.name, "", rows, path, _note(plan))


def _note(plan: TransferPlan) -> str:
    if not plan.creates_target:
        return ""
    columns = ", ".join(f"{column.name} {column.type_name}" for column in plan.target_columns)
    key = ", ".join(plan.transfer.key)
    return (
        f"{plan.transfer.target} does not exist; the first run creates it: {columns}, "
        f"load_id bigint; primary key ({key})"
    )


def _chosen(settings: Settings, names: Sequence[str]) -> list[Transfer]:
    transfers = build_transfers(settings.section("tables"))
    unknown = [name for name in names if name not in transfers]
    if unknown:
        raise ConfigurationError(
            f"there is no transfer {', '.join(unknown)}; {settings.config_file} has: "
            f"{', '.join(transfers) or 'none'}; add [tables.transfers.{unknown[0]}]"
        )
    return [transfers[name] for name in names] if names else list(transfers.values())


def _target(settings: Settings) -> Connector:
    url = database_url(settings)
    return partial(connect, url, application_name="batch_assets tables", options=settings.database)


def _source(settings: Settings, transfer: Transfer, target: Connector) -> Connector:
    return source_connector(transfer, target, secret=settings.secret, options=settings.database)
