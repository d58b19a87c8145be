"""Dead letters of every domain for operators: list, export, replay, discard."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import psycopg

from batch_assets.contracts.batch import SourceCell
from batch_assets.contracts.dead_letter import DeadLetter
from batch_assets.contracts.personal import masked_letter, personal_names
from batch_assets.errors import ConfigurationError
from batch_assets.ingest.corrections.domains import RECORDS, correctable_of, other_replays
from batch_assets.ingest.corrections.workbook import WorkbookReplay
from batch_assets.ingest.spreadsheets.errors import read_layouts
from batch_assets.ingest.spreadsheets.inbox import InboxOutcome, Replayer
from batch_assets.loading.letters import (
    LetterFilter,
    count_letters,
    discard_letters,
    read_letters,
)
from batch_assets.ops.access import record_audit
from batch_assets.ops.service import changing, ready_database_url
from batch_assets.postgres.connect import connect, translating_errors
from batch_assets.runs.lost_leases import end_lost_leases
from batch_assets.settings import Settings
from batch_assets.sources.spreadsheets.correctable import (
    CorrectableRow,
    as_correctable,
    headers_of,
)
from batch_assets.sources.spreadsheets.settings import (
    error_folder,
    folder_of,
    read_spreadsheet_settings,
    read_templates,
)
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate, read_template

FORMATS = (".csv", ".xlsx", ".json")
HINT = {
    "market": "correct the file or wait for the vendor, and load the day again; or write the rows "
    "of one table into a workbook (`batch-assets dead-letters export FILE.xlsx --target "
    "market.daily_bars`), correct it and replay it; or discard them",
    "devices": "send the records again; or write them into a workbook (`batch-assets dead-letters "
    "export FILE.xlsx --target devices.records`), correct it and replay it; or discard them",
    "documents": "`batch-assets dead-letters replay --target documents` reads the failed files "
    "again",
}
"""What to do about dead letters that come without a workbook, by schema."""


@contextmanager
def asking() -> Iterator[psycopg.Connection]:
    """A connection for questions."""
    url = ready_database_url()
    with translating_errors(), connect(url, application_name="batch-assets") as conn:
        yield conn


def list_letters(
    settings: Settings, wanted: LetterFilter, limit: int
) -> tuple[dict[str, int], list[DeadLetter]]:
    """Dead letters by reason, and the first of them; personal values are masked.

    Args:
        settings: Say which columns are personal, besides what was so when rows were rejected.
        wanted: Which.
        limit: How many are given; the counts are of all. 0 gives all.
    """
    marked = personal_by_target(settings)
    with asking() as conn:
        counts = count_letters(conn, wanted)
        letters = []
        for letter in read_letters(conn, wanted):
            letters.append(masked_letter(letter, marked.get(letter.target, ())))
            if len(letters) == limit:
                break
        return counts, letters


def personal_by_target(settings: Settings) -> dict[str, frozenset[str]]:
    """Names of personal columns that the configuration marks, by table."""
    from batch_assets.sources.devices.settings import read_device_settings
    from batch_assets.sources.tables.transfer import build_transfers

    transfers = build_transfers(settings.section("tables")).values()
    marked = {RECORDS: read_device_settings(settings).personal_names}
    for table, names in (
        *((item.table, item.personal) for item in read_templates(settings).values()),
        *((item.target, item.personal_names) for item in transfers),
    ):
        marked[table] = marked.get(table, frozenset()) | names
    return marked


def export_letters(
    settings: Settings, wanted: LetterFilter, path: Path, *, shows_personal: bool = False
) -> int:
    """Write dead letters into a file by its ending; returns how many.

    Workbooks and CSV files have the columns of an error workbook; rows of spreadsheets, bars and
    device records can be corrected in them and replayed, masked values included: a mask that is
    left as it is stands for the value below it.

    Args:
        settings: Templates, and which columns are personal.
        wanted: Which.
        path: What is written.
        shows_personal: Personal values are written as they are, which the audit keeps.

    Raises:
        ConfigurationError: The ending is not one of FORMATS.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigurationError(
            f"{path.name} ends in {path.suffix or 'nothing'}, expected one of "
            f"{', '.join(FORMATS)}; rename it"
        )
    templates = {item.table: item for item in read_templates(settings).values()}
    marked = personal_by_target(settings)

    def read(conn: psycopg.Connection) -> Iterator[DeadLetter]:
        for letter in read_letters(conn, wanted):
            names = personal_names(
                letter.original, letter.layout, {*letter.personal, *marked.get(letter.target, ())}
            )
            yield replace(letter, personal=() if shows_personal else names)

    if shows_personal:
        with changing() as (conn, actor):
            asked = {n: v for n, v in wanted.parameters().items() if v is not None}
            record_audit(conn, actor, "dead-letters export", path.name, **asked)
    with asking() as conn:
        if path.suffix.lower() == ".json":
            return _write_json(map(masked_letter, read(conn)), path)
        rows = partial(_rows_of, conn, templates, partial(read, conn))
        if path.suffix.lower() == ".csv":
            return _write_csv(rows, path)
        return _write_workbook(conn, templates, wanted, rows, path)


_Rows = Callable[[], Iterator[CorrectableRow]]


def _rows_of(
    conn: psycopg.Connection,
    templates: dict[str, SpreadsheetTemplate],
    read: Callable[[], Iterator[DeadLetter]],
) -> Iterator[CorrectableRow]:
    headers: dict[tuple[str, str], dict[str, str]] = {}
    for letter in read():
        template = templates.get(letter.target)
        if template is None:
            yield correctable_of(letter) or _as_it_is(letter)
            continue
        place = (letter.target, letter.window_key)
        if place not in headers:
            headers[place] = headers_of(read_layouts(conn, *place))
        yield as_correctable(letter, template, headers[place])


def _as_it_is(letter: DeadLetter) -> CorrectableRow:
    cells = [SourceCell(n, "text", n, None, i) for i, n in enumerate(letter.original)]
    return CorrectableRow(letter, tuple(cells), letter.original, letter.original)


def _names_of(rows: _Rows) -> list[str]:
    return list(dict.fromkeys(cell.name for row in rows() for cell in row.layout))


def _write_json(letters: Iterable[DeadLetter], path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as stream:
        stream.write("[")
        for count, letter in enumerate(letters, 1):
            text = json.dumps(asdict(letter), ensure_ascii=False, default=str)
            stream.write(f"{',' if count > 1 else ''}\n{text}")
        stream.write("\n]\n")
    return count


def _write_csv(rows: _Rows, path: Path) -> int:
    from batch_assets.sources.spreadsheets.answers import guarded
    from batch_assets.sources.spreadsheets.error_workbook import CONTROL, control_of

    names = _names_of(rows)
    count = 0
    # With the mark that makes Excel read UTF-8.
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*CONTROL, *map(guarded, names)])
        for count, row in enumerate(rows(), 1):  # noqa: B007
            values = [*control_of(row), *(row.written(name) or "" for name in names)]
            writer.writerow([guarded(value) for value in values])
    return count


def _write_workbook(
    conn: psycopg.Connection,
    templates: dict[str, SpreadsheetTemplate],
    wanted: LetterFilter,
    rows: _Rows,
    path: Path,
) -> int:
    from batch_assets.sources.spreadsheets.error_workbook import ErrorSummary, write_error_workbook

    reasons = count_letters(conn, wanted)
    count = sum(reasons.values())
    chosen = {n: str(v) for n, v in wanted.parameters().items() if v is not None and n != "ids"}
    template = templates.get(wanted.target or "")
    summary = ErrorSummary(
        facts=[
            *(("Template / 模板", template.name) for _ in [0] if template),
            *chosen.items(),
        ],
        outcomes={"dead letters": count},
        reasons=reasons,
        advice=[HINT.get(wanted.target or "", "batch-assets dead-letters replay FILE")],
    )
    write_error_workbook(path, summary, template, _names_of(rows), rows())
    return count


@contextmanager
def _replayer(settings: Settings, template: str) -> Iterator[tuple[Replayer, str]]:
    from batch_assets.execution.isolation import open_workers
    from batch_assets.ingest.spreadsheets.load import PRELOAD, options_of
    from batch_assets.sources.market.feed import build_feeds

    templates = read_templates(settings)
    if template.endswith(".toml"):
        given = read_template(Path(template))
        template, templates = given.name, {given.name: given}
    feeds = build_feeds(settings.section("market"), settings.config_dir)
    if template and template not in {*templates, *feeds}:
        raise ConfigurationError(
            f"there is no template or feed {template!r}, expected one of "
            f"{', '.join([*templates, *feeds]) or '(none)'}; correct --template"
        )
    open_connection = partial(connect, ready_database_url(), application_name="batch-assets")
    with translating_errors(), open_connection() as conn:
        # A replay that was killed is not waited for.
        end_lost_leases(conn)
    with open_workers(settings, preload=PRELOAD) as workers:
        yield (
            Replayer(
                connect=open_connection,
                templates=templates,
                workers=workers,
                options_of=lambda chosen: options_of(chosen, settings.loading),
                error_folder=error_folder(settings),
                others=other_replays(open_connection, settings, error_folder(settings)),
            ),
            template,
        )


def replay_file(settings: Settings, path: Path, *, template: str, who: str) -> WorkbookReplay:
    """Replay one corrected workbook.

    Args:
        settings: Whose templates are used.
        path: The workbook.
        template: Name or .toml file of a template, or name of a feed; empty to go by the table of
            its rows.
        who: Whose corrections they are; empty for the user of this process.
    """
    with _replayer(settings, template) as (replayer, name):
        return replayer.replay(path, who=who or user_name(), template=name)


def replay_waiting(settings: Settings) -> Iterator[InboxOutcome]:
    """Replay what waits in the inbox.

    Raises:
        ConfigurationError: No inbox is configured.
    """
    from datetime import UTC, datetime

    from batch_assets.ingest.spreadsheets.inbox import find_corrected, replay_inbox

    section = read_spreadsheet_settings(settings)
    inbox = folder_of(settings, section.inbox)
    if inbox is None:
        raise ConfigurationError(
            "no inbox is configured, expected a folder for corrected workbooks; set inbox in "
            "[spreadsheets], or name a file"
        )
    files = find_corrected(inbox, now=datetime.now(UTC), settle_seconds=section.settle_seconds)
    with _replayer(settings, "") as (replayer, _):
        yield from replay_inbox(replayer, files)


def discard(wanted: LetterFilter, *, reason: str, who: str) -> int:
    """Answer open dead letters: they are not going to be loaded; returns how many.

    Raises:
        ConfigurationError: Nothing says which.
    """
    asked = {name: value for name, value in wanted.parameters().items() if name != "state"}
    if not any(value is not None for value in asked.values()):
        raise ConfigurationError(
            "nothing says which dead letters are meant, expected numbers or a filter; name them, "
            "or give --target"
        )
    with changing() as (conn, actor):
        return discard_letters(conn, wanted, reason=reason, who=who or actor)


def user_name() -> str:
    """The user of this process."""
    import psutil

    return psutil.Process().username()
