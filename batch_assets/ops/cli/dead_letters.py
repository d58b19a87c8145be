"""`batch-assets dead-letters`: rows that were not loaded, of every domain."""

import json
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from batch_assets.errors import ConfigurationError

if TYPE_CHECKING:
    from batch_assets.contracts.dead_letter import DeadLetter
    from batch_assets.ingest.corrections.workbook import WorkbookReplay
    from batch_assets.loading.letters import LetterFilter

app = typer.Typer(help="Rows that were not loaded: list, correct, discard.", no_args_is_help=True)

_PARTIAL = 4
_Target = Annotated[
    str | None,
    typer.Option("--target", help="Table, or a schema for all of it: market, documents, sales."),
]
_Scope = Annotated[str | None, typer.Option("--scope", help="Source of market or documents.")]
_Window = Annotated[str | None, typer.Option("--window", help="Partition, or its day.")]
_Reason = Annotated[str | None, typer.Option("--rule", help="Why they were rejected.")]
_State = Annotated[
    str, typer.Option("--state", help="open, superseded, replayed, discarded or all.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _filter(
    target: str | None, scope: str | None, window: str | None, rule: str | None, state: str
) -> "LetterFilter":
    from batch_assets.loading.letters import LetterFilter

    chosen = None if state == "all" else state
    return LetterFilter(target=target, scope=scope, window_key=window, rule=rule, state=chosen)


@app.command("list")
def list_letters(
    *,
    target: _Target = None,
    scope: _Scope = None,
    window: _Window = None,
    rule: _Reason = None,
    state: _State = "open",
    limit: Annotated[int, typer.Option(help="Rows to print; 0 for all. Counts are of all.")] = 50,
    as_json: _Json = False,
) -> None:
    """List dead letters with place, value and what to do; 1 if there are open ones."""
    from batch_assets.ops import dead_letters
    from batch_assets.settings import load_settings

    wanted = _filter(target, scope, window, rule, state)
    counts, letters = dead_letters.list_letters(load_settings(), wanted, limit)
    if as_json:
        lines = [json.dumps(asdict(letter), default=str, ensure_ascii=False) for letter in letters]
        sys.stdout.write("[" + ",\n".join(lines) + "]\n")
    elif letters:
        _print_letters(letters)
    total = sum(counts.values())
    sys.stderr.write(
        f"{total} dead letters" + "".join(f", {n} {name}" for name, n in counts.items()) + "\n"
    )
    if len(letters) < total:
        sys.stderr.write(f"{total - len(letters)} more; --limit 0 prints all\n")
    for schema in sorted({letter.target.partition(".")[0] for letter in letters}):
        if schema in dead_letters.HINT:
            sys.stderr.write(f"{schema}: {dead_letters.HINT[schema]}\n")
    _advise_transfers({letter.target for letter in letters})
    if total and state == "open":
        raise typer.Exit(1)


def _advise_transfers(targets: set[str]) -> None:
    from batch_assets.ops.tables import transfers_to
    from batch_assets.settings import load_settings

    settings = load_settings()
    for target in sorted(targets):
        if transfers_to(settings, target):
            sys.stderr.write(
                f"{target}: correct the row in its source, the transform or the constraint, then "
                f"`batch-assets dead-letters replay --target {target}`\n"
            )


def _print_letters(letters: "list[DeadLetter]") -> None:
    table = Table("id", "table", "partition", "place", "reason", "column", "value", "what to do")
    for letter in letters:
        first = letter.violations[0]
        # Rows of tables have no number; their file ends in their key.
        place = first.cell or (f"row {letter.row}" if letter.row else "")
        sheet = f"{letter.sheet}!" if letter.sheet else ""
        table.add_row(
            str(letter.dead_letter_id),
            letter.target,
            "/".join(part for part in (letter.scope, letter.window_key) if part),
            f"{letter.source_file} {sheet}{place}",
            letter.rule,
            first.column,
            first.observed or "",
            first.hint,
        )
    Console().print(table)


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="Ends in .xlsx, .csv or .json.")],
    *,
    target: _Target = None,
    scope: _Scope = None,
    window: _Window = None,
    rule: _Reason = None,
    state: _State = "open",
    with_personal: Annotated[
        bool,
        typer.Option("--with-personal", help="Do not mask personal values; the audit keeps it."),
    ] = False,
) -> None:
    """Write dead letters into a file; most can be corrected in it and replayed."""
    from batch_assets.ops import dead_letters
    from batch_assets.settings import load_settings

    wanted = _filter(target, scope, window, rule, state)
    count = dead_letters.export_letters(load_settings(), wanted, path, shows_personal=with_personal)
    sys.stderr.write(f"{count} dead letters written to {path}\n")


@app.command()
def replay(
    file: Annotated[Path | None, typer.Argument(help="Corrected workbook; default: inbox.")] = None,
    *,
    template: Annotated[
        str,
        typer.Option("--template", "-t", help="Name, or a .toml file; of market rows, the feed."),
    ] = "",
    target: _Target = None,
    scope: _Scope = None,
    day: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])] = None,
    who: Annotated[str, typer.Option("--by", help="Who corrected it; default: this user.")] = "",
    as_json: _Json = False,
) -> None:
    """Load corrected rows of a workbook, or try again what --target names.

    Failed documents are read again (--target documents); rows of a transfer are read from its
    source again, as they are there now (--target with its table).

    1 if rows are still wrong: they are in a new workbook.
    """
    from batch_assets.ops import dead_letters
    from batch_assets.settings import load_settings

    if target is not None:
        _retry(target, scope, day, who)
        return
    settings = load_settings()
    if file is not None:
        report = dead_letters.replay_file(settings, file, template=template, who=who)
        _print_replay(report, as_json=as_json)
        if report.refused:
            raise typer.Exit(1)
        return
    is_bad = False
    for outcome in dead_letters.replay_waiting(settings):
        if outcome.replay is not None:
            _print_replay(outcome.replay, as_json=as_json)
        else:
            sys.stderr.write(f"refused: {outcome.error}\n")
        is_bad |= outcome.replay is None or outcome.replay.refused > 0
    if is_bad:
        raise typer.Exit(1)


def _print_replay(report: "WorkbookReplay", *, as_json: bool) -> None:
    if as_json:
        line = {
            "file": report.file,
            "fixed": report.fixed,
            "dropped": report.dropped,
            "still_wrong": report.refused,
            "answered_before": report.answered,
            "partitions": [
                {"window": item.window.key, "load_id": item.load_id, **asdict(item.ledger)}
                for item in report.replays
            ],
            "error_workbooks": [str(path) for path in report.error_workbooks],
        }
        sys.stdout.write(json.dumps(line) + "\n")
        return
    sys.stdout.write(
        f"{report.file}: {report.fixed} loaded, {report.dropped} dropped, {report.refused} still "
        f"wrong, {report.answered} answered before\n"
    )
    for item in report.replays:
        ledger = item.ledger
        sys.stdout.write(
            f"{item.window.key}  read {ledger.read} = {ledger.inserted} inserted + "
            f"{ledger.updated} updated + {ledger.unchanged} unchanged + {ledger.duplicate} "
            f"duplicate + {ledger.rejected} rejected + {ledger.skipped} skipped\n"
        )
    for path in report.error_workbooks:
        sys.stderr.write(f"still to correct: {path}\n")


def _retry(target: str, scope: str | None, day: datetime | None, who: str) -> None:
    from batch_assets.ops.dead_letters import HINT
    from batch_assets.ops.tables import transfers_to
    from batch_assets.settings import load_settings

    schema = target.partition(".")[0]
    if schema == "documents":
        from batch_assets.ops.cli.documents import retry

        retry(source=scope, day=day)
    elif transfers_to(load_settings(), target):
        _retry_transfers(target, day, who)
    else:
        raise ConfigurationError(
            f"dead letters of {target} cannot be replayed by filter: "
            f"{HINT.get(schema, 'correct the rows in their workbook and replay it')}"
        )


def _retry_transfers(target: str, day: datetime | None, who: str) -> None:
    from batch_assets.ops.cli.tables import print_reports
    from batch_assets.ops.dead_letters import list_letters, user_name
    from batch_assets.ops.tables import replay_target
    from batch_assets.settings import load_settings

    reports = list(replay_target(target, day=day.date() if day else None, who=who or user_name()))
    print_reports(reports)
    still_open = _filter(target, None, None, None, "open")
    left = sum(list_letters(load_settings(), still_open, 1)[0].values())
    sys.stderr.write(f"{left} dead letters of {target} are open\n")
    if left:
        raise typer.Exit(1)


@app.command()
def discard(
    ids: Annotated[list[int] | None, typer.Argument(help="Numbers, as listed.")] = None,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the rows.")],
    target: _Target = None,
    scope: _Scope = None,
    window: _Window = None,
    rule: _Reason = None,
    who: Annotated[str, typer.Option("--by", help="Who; default: this user.")] = "",
) -> None:
    """Close open dead letters: these rows are not going to be loaded."""
    from dataclasses import replace

    from batch_assets.ops import dead_letters

    wanted = replace(_filter(target, scope, window, rule, "open"), ids=ids or None)
    count = dead_letters.discard(wanted, reason=reason, who=who)
    sys.stderr.write(f"{count} dead letters discarded\n")
    if not count:
        raise typer.Exit(1)
