"""The inbox of corrected workbooks: each is replayed once and then moved out of the way.

inbox/orders-errors-12.xlsx -> inbox/done/…      what is still wrong lies in inbox/again/
-> inbox/refused/…   with a .txt beside it that says why
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from batch_assets.errors import BatchAssetsError, ConfigurationError
from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ingest.corrections.workbook import (
    CorrectedWorkbook,
    WorkbookReplay,
    read_corrected,
)
from batch_assets.ingest.spreadsheets.replay import replay_workbook
from batch_assets.loading.leases import Connector
from batch_assets.loading.options import LoadOptions
from batch_assets.postgres.connect import translating_errors
from batch_assets.sources.spreadsheets.landing import is_link
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate

DONE, REFUSED, AGAIN = "done", "refused", "again"
_ENDINGS = (".xlsx", ".xlsm", ".ods", ".csv")


OtherReplay = Callable[[CorrectedWorkbook, str, str], WorkbookReplay]
"""Replays a workbook; given whose it is, and the feed that is meant, where that was said."""


@dataclass(frozen=True, slots=True)
class InboxOutcome:
    """What became of one workbook.

    Attributes:
        file: Its name.
        replay: None where it was refused.
        error: Why it was refused.
    """

    file: str
    replay: WorkbookReplay | None = None
    error: BatchAssetsError | None = None


@dataclass(frozen=True, slots=True)
class Replayer:
    """What replaying any workbook needs.

    Attributes:
        templates: By name.
        options_of: Bounds of a load by a template.
        error_folder: Where workbooks of what is still wrong go.
        others: Replays of tables that no template has, by table.
    """

    connect: Connector
    templates: Mapping[str, SpreadsheetTemplate]
    workers: IsolatedWorkers
    options_of: Callable[[SpreadsheetTemplate], LoadOptions]
    error_folder: Path
    others: Mapping[str, OtherReplay] = field(default_factory=dict)

    def replay(self, path: Path, *, who: str, template: str = "") -> WorkbookReplay:
        """Replay one workbook by the template, or the domain, that its rows belong to.

        Args:
            path: The workbook.
            who: Whose corrections they are.
            template: Name of the template; of the feed, for rows of market.

        Raises:
            UnreadableSource: It is no error workbook.
            ConfigurationError: No template or feed, or several, have its rows.
            StaleAnswer: Rows are answered otherwise, or have moved on; nothing was changed.
        """
        with TemporaryDirectory(dir=self.workers.folder, prefix="spreadsheets-") as folder:
            workbook = read_corrected(self.workers, path, Path(folder))
            with translating_errors(), self.connect() as conn:
                table = workbook.find_target(conn)
            if table in self.others and template not in self.templates:
                return self.others[table](workbook, who, template)
            chosen = self._choose(table, workbook, template)
            return replay_workbook(
                self.connect,
                chosen,
                workbook,
                who=who,
                options=self.options_of(chosen),
                error_folder=self.error_folder,
            )

    def _choose(self, table: str, workbook: CorrectedWorkbook, wanted: str) -> SpreadsheetTemplate:
        if wanted in self.templates:
            return self.templates[wanted]
        fitting = {name: item for name, item in self.templates.items() if item.table == table}
        if workbook.template in fitting:
            return fitting[workbook.template]
        if len(fitting) == 1:
            return next(iter(fitting.values()))
        raise ConfigurationError(
            f"{workbook.file}: its rows belong to {table or 'no table of this database'}, which "
            f"{', '.join(fitting) or 'no template'} has, expected exactly one; name it with "
            "--template, or add it to [spreadsheets]"
        )


def find_corrected(inbox: Path, *, now: datetime, settle_seconds: float) -> list[Path]:
    """Workbooks that wait in the inbox, oldest first; those still being written are left.

    Args:
        inbox: A folder that need not be there.
        now: The present, aware.
        settle_seconds: How long a file must be unchanged.
    """
    if not inbox.is_dir():
        return []
    before = now.timestamp() - settle_seconds
    # `~$` is what Excel puts beside a workbook that is open.
    found = [
        (path.stat().st_mtime, path)
        for path in inbox.iterdir()
        if path.suffix.lower() in _ENDINGS
        and path.is_file()
        and not path.name.startswith("~$")
        and not is_link(path)
    ]
    return [path for changed, path in sorted(found) if changed <= before]


def replay_inbox(replayer: Replayer, files: Sequence[Path]) -> Iterator[InboxOutcome]:
    """Replay workbooks one after the other; one that is refused costs the others nothing.

    Raises:
        InfrastructureError: The database or the workers failed; the file stays where it is.
    """
    for path in files:
        try:
            report = replayer.replay(path, who=_owner_of(path))
        except BatchAssetsError as error:
            if error.retryable:
                raise
            moved = _move(path, REFUSED)
            moved.with_name(f"{moved.name}.txt").write_text(f"{error}\n", encoding="utf-8")
            yield InboxOutcome(path.name, error=error)
            continue
        _move(path, DONE)
        for again in report.error_workbooks:
            _copy(again, path.parent / AGAIN / again.name)
        yield InboxOutcome(path.name, report)


def _owner_of(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, NotImplementedError):
        return "inbox"


def _move(path: Path, folder: str) -> Path:
    target = path.parent / folder / path.name
    target.parent.mkdir(exist_ok=True)
    number = 1
    while target.exists():
        number += 1
        target = target.with_name(f"{path.stem} ({number}){path.suffix}")
    return path.rename(target)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(source.read_bytes())
