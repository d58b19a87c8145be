"""`batch-assets documents`: how documents stand, find them, what failed, read them by hand."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from batch_assets.ingest.documents.embed import EmbedCounts
    from batch_assets.ingest.documents.errors import FailedDocument
    from batch_assets.ingest.documents.run import DayIngest
    from batch_assets.ingest.documents.search import Hit
    from batch_assets.ops.document_work import SourceStatus, Work
    from batch_assets.sources.documents.landing import ScanReport

app = typer.Typer(help="Documents of the landing folders and their text.", no_args_is_help=True)

_OVER_BUDGET, _PARTIAL = 3, 4

_Source = Annotated[
    str | None, typer.Option("--source", "-s", help="Name of a source; default: all.")
]
_Day = Annotated[
    datetime | None,
    typer.Option("--day", formats=["%Y-%m-%d"], help="Arrival day; default: all."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say how many files of which days; read nothing.")
]


@app.command()
def status(*, source: _Source = None, day: _Day = None, as_json: _Json = False) -> None:
    """Files of each source by outcome, and how many wait."""
    from batch_assets.ops.document_work import asking, read_status
    from batch_assets.settings import load_settings

    with asking() as conn:
        found = read_status(conn, load_settings(), source=source, day=_date(day))
    if as_json:
        sources = [_status_document(item) for item in found]
        sys.stdout.write(json.dumps({"version": 1, "sources": sources}, indent=2) + "\n")
        return
    if not found:
        sys.stderr.write("no source: write [documents.sources.<name>] into batch_assets.toml\n")
        return
    _print_status(found)


def _status_document(item: "SourceStatus") -> dict[str, object]:
    return {
        "source": item.source,
        "is_configured": item.is_configured,
        "found": item.found,
        "waiting": item.waiting,
        "growing": item.growing,
        "outcomes": dict(item.outcomes),
        "deleted": item.deleted,
        "chunks": item.chunks,
    }


def _print_status(found: "list[SourceStatus]") -> None:
    table = Table("source", "files", "waiting", "growing", "outcomes", "deleted", "pieces of text")
    for item in found:
        outcomes = ", ".join(f"{number} {name}" for name, number in item.outcomes.most_common())
        name = item.source if item.is_configured else f"{item.source} (not configured)"
        counts = (item.found, item.waiting, item.growing)
        table.add_row(name, *map(str, counts), outcomes or "-", str(item.deleted), str(item.chunks))
    Console().print(table)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help='Words; "..." is a phrase, -word excludes.')],
    *,
    limit: Annotated[int, typer.Option(min=1, help="Pieces of text at most.")] = 20,
    source: _Source = None,
    as_json: _Json = False,
) -> None:
    """Pieces of text that have every word, the best first; 1 if there is none."""
    from batch_assets.ops.document_work import search as search_text

    hits = search_text(query, limit=limit, source=source)
    if as_json:
        document = {"version": 1, "query": query, "hits": [asdict(hit) for hit in hits]}
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    else:
        for hit in hits:
            _print_hit(hit)
    if not hits:
        sys.stderr.write("nothing found\n")
        raise typer.Exit(1)


def _print_hit(hit: "Hit") -> None:
    # Text, not markup: names and snippets have brackets of their own.
    console = Console(highlight=False, soft_wrap=True)
    head = Text(f"{hit.source}/{hit.path}", style="bold")
    head.append(f"  {place_of(hit)}", style="dim")
    console.print(head)
    console.print(Text(f"  {hit.snippet}"))


def place_of(hit: "Hit") -> str:
    """`page 3`, or `pages 3-4`."""
    if hit.segment_from == hit.segment_to:
        return f"{hit.segment_kind} {hit.segment_from}"
    return f"{hit.segment_kind}s {hit.segment_from}-{hit.segment_to}"


@app.command()
def errors(
    *,
    source: _Source = None,
    day: _Day = None,
    xlsx: Annotated[Path | None, typer.Option("--xlsx", help="Write a workbook.")] = None,
    page: Annotated[Path | None, typer.Option("--html", help="Write a page.")] = None,
    as_json: _Json = False,
    language: Annotated[
        str,
        typer.Option(
            "--lang",
            envvar=["LC_ALL", "LC_MESSAGES", "LANG"],
            help="en or zh; by default the language of the terminal, if it is one of them.",
        ),
    ] = "en",
) -> None:
    """Documents that failed: file, outcome, what was seen, what to do."""
    from batch_assets.ingest.documents.error_report import write_page, write_workbook
    from batch_assets.ingest.documents.errors import read_failed_documents
    from batch_assets.ops.document_work import asking

    chosen = language_of(language)
    with asking() as conn:
        for path, write in ((xlsx, write_workbook), (page, write_page)):
            if path is not None:
                failed = read_failed_documents(conn, source=source, day=_date(day))
                number = write(failed, path, chosen)
                sys.stderr.write(f"{number} failed documents written to {path}\n")
        if as_json or not (xlsx or page):
            failed = read_failed_documents(conn, source=source, day=_date(day))
            _print_errors(failed, chosen, as_json=as_json)


def language_of(text: str) -> Literal["en", "zh"]:
    """The language of `zh`, `zh_CN.UTF-8`, `zh-Hant`; English for any other."""
    return "zh" if text.lower().startswith("zh") else "en"


def _print_errors(
    failed: "Iterable[FailedDocument]", language: Literal["en", "zh"], *, as_json: bool
) -> None:
    from batch_assets.ingest.documents.advice import file_advice
    from batch_assets.ingest.documents.error_report import report_headers
    from batch_assets.ingest.documents.errors import meaning_of

    documents = list(failed)
    if as_json:
        rows = [
            {
                **asdict(item),
                "meaning": meaning_of(item.outcome, language),
                "advice": file_advice(item.outcome, language),
            }
            for item in documents
        ]
        document = {"version": 1, "errors": rows}
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")
        return
    # Seven columns do not fit on a terminal, and a name that is cut helps nobody.
    headers = report_headers(language)
    table = Table(headers[0], headers[3], f"{headers[5]} / {headers[6]}", show_lines=True)
    for item in documents:
        name = Text(f"{item.source}/{item.path}", overflow="fold")
        seen = Text(f"{item.reason}\n{file_advice(item.outcome, language)}")
        table.add_row(name, item.outcome, seen)
    if documents:
        Console().print(table)
    sys.stderr.write(f"{len(documents)} failed documents\n")


@app.command()
def ingest(
    *, source: _Source = None, day: _Day = None, dry_run: _DryRun = False, as_json: _Json = False
) -> None:
    """Look at the landing folders and read what waits, without Dagster.

    3 if more documents fail than a source allows, 4 if some days could not be ended.
    """
    from batch_assets.ops.document_work import Work

    _work(Work.WAITING, source, day, dry_run=dry_run, as_json=as_json)


@app.command()
def retry(
    *,
    failed: Annotated[
        bool, typer.Option("--failed", help="Documents that failed; there is nothing else.")
    ] = True,
    source: _Source = None,
    day: _Day = None,
    dry_run: _DryRun = False,
    as_json: _Json = False,
) -> None:
    """Read failed documents again, and what waits on the same days."""
    from batch_assets.ops.document_work import Work

    if failed:
        _work(Work.FAILED, source, day, dry_run=dry_run, as_json=as_json)


@app.command()
def reprocess(
    *,
    changed: Annotated[
        bool,
        typer.Option("--changed", help="What a new parser version or chunk setting changes."),
    ] = True,
    source: _Source = None,
    day: _Day = None,
    dry_run: _DryRun = False,
    as_json: _Json = False,
) -> None:
    """Read again what would be made differently now, and nothing else."""
    from batch_assets.ops.document_work import Work

    if changed:
        _work(Work.CHANGED, source, day, dry_run=dry_run, as_json=as_json)


@app.command()
def embed(*, source: _Source = None, as_json: _Json = False) -> None:
    """Give pieces of text a vector where they have none, with [documents.embedding]."""
    from batch_assets.ops.document_work import choose_sources
    from batch_assets.ops.document_work import embed as embed_sources
    from batch_assets.settings import load_settings

    settings = load_settings()
    for counts in embed_sources(settings, choose_sources(settings, source)):
        if as_json:
            sys.stdout.write(json.dumps(asdict(counts), ensure_ascii=False) + "\n")
        else:
            sys.stdout.write(_embedded_line(counts))


def _embedded_line(counts: "EmbedCounts") -> str:
    busy = "; another process is embedding this source and takes the rest" if counts.is_busy else ""
    return (
        f"{counts.source}: {counts.embedded} pieces embedded by {counts.model}, "
        f"{counts.refused} refused by it, {counts.replaced} replaced meanwhile{busy}\n"
    )


def _tell_embedded(counts: "EmbedCounts") -> None:
    sys.stderr.write(_embedded_line(counts))


def _work(
    work: "Work", name: str | None, day: datetime | None, *, dry_run: bool, as_json: bool
) -> None:
    from batch_assets.ops.document_work import asking, choose_sources, plan_work
    from batch_assets.ops.document_work import ingest as ingest_documents
    from batch_assets.settings import load_settings

    settings = load_settings()
    sources = choose_sources(settings, name)
    if dry_run:
        with asking() as conn:
            for source in sources:
                for planned, files in plan_work(conn, source, work, _date(day)).items():
                    sys.stdout.write(f"{source.name}  {planned}  {files} files {work}\n")
        return
    days = []
    for report in ingest_documents(
        settings, sources, work, _date(day), tell_scan=_tell_scan, tell_embedded=_tell_embedded
    ):
        _print_day(report, as_json=as_json)
        days.append(report)
    _exit(days)


def _tell_scan(name: str, report: "ScanReport") -> None:
    sys.stderr.write(
        f"{name}: {report.listed} files looked at, {report.new} new, {report.changed} changed, "
        f"{report.growing} still growing, {report.deleted} gone\n"
    )
    if report.withheld:
        sys.stderr.write(
            f"{name}: the folder is empty and {report.withheld} files of it are known; none is "
            "marked as gone before a file is in it again\n"
        )
    for folder, reason in (report.unlisted or {}).items():
        sys.stderr.write(f"{name}: {folder or 'the folder'} cannot be listed: {reason}\n")


def _print_day(day: "DayIngest", *, as_json: bool) -> None:
    state = day.load.state.value if day.load else "failed"
    message = str(day.error) if day.error else (day.load.message if day.load else "")
    if as_json:
        line = {
            "source": day.source,
            "day": day.key,
            "state": state,
            **asdict(day.ledger),
            "files": dict(day.files),
            "read_now": day.documents,
            "pages": day.segments,
            "seconds": round(day.seconds, 3),
            "message": message,
        }
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        return
    counts = " + ".join(f"{number} {outcome}" for outcome, number in sorted(day.files.items()))
    sys.stdout.write(
        f"{day.source}  {day.key}  {state}  {sum(day.files.values())} files = {counts or '0'}; "
        f"{day.documents} read now, {day.segments} pages, {day.seconds:.1f} s\n"
    )
    if message:
        sys.stderr.write(f"{message}\n")


def _exit(days: "list[DayIngest]") -> None:
    from batch_assets.ops.cli.failures import exit_code

    failed = [day.error for day in days if day.error is not None]
    if failed:
        raise typer.Exit(_PARTIAL if len(failed) < len(days) else exit_code(failed[0]))
    if any(day.is_over_budget for day in days):
        sys.stderr.write("next: batch-assets documents errors\n")
        raise typer.Exit(_OVER_BUDGET)


def _date(day: datetime | None) -> date | None:
    return None if day is None else day.date()
