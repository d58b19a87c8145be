"""The summary of the demonstration, as lines of plain text."""

from collections import Counter
from collections.abc import Iterator, Sequence

from batch_assets.ops.demo.outcome import DeadLetter, Outcome
from batch_assets.ops.demo.project import ASSET_KEY, DemoProject, cd_command, command_in

_STATEMENTS = (
    "SELECT symbol, count(*), min(close), max(close) FROM market.daily_bars GROUP BY symbol",
    "SELECT window_key, state, rows_read, error_message FROM ops.loads WHERE state = 'failed'",
)

_REASONS = {"not_a_session": "no session: weekend, holiday or storm"}


def describe_outcome(outcome: Outcome, *, seconds: float) -> Iterator[str]:
    """Days, rows, dead letters: what happened, and that nothing was lost."""
    yield ""
    yield from _describe_days(outcome)
    yield ""
    yield from _describe_rows(outcome)
    yield ""
    yield from _describe_dead_letters(outcome.dead_letters)
    yield ""
    if outcome.is_unchanged:
        yield (
            f"Everything is unchanged: 0 inserted, 0 updated, {outcome.rows['unchanged']} "
            "unchanged. Nothing was written twice."
        )
        yield ""
    yield f"{seconds:.0f} seconds, with the start of database and Dagster"
    yield ""


def describe_next(project: DemoProject) -> Iterator[str]:
    """Commands to go on with."""
    yield "What to look at next"
    yield "  batch-assets demo                once more: every row is recognised as unchanged"
    yield "  batch-assets demo --keep-open    the same, with the UI open until Ctrl-C"
    for statement in _STATEMENTS:
        yield f'  batch-assets demo --query "{statement}"'
    yield "  batch-assets demo --remove       delete its database and folder"
    yield f"Its files are in {project.feed_dir}"
    yield "  Change a price there and run it again: one row is updated."
    yield "In its folder every command works on its database"
    yield f"  {cd_command(project)}"
    yield f"  {command_in(project, 'batch-assets up')}"


def describe_open_ui(webserver_url: str, backfill_id: str) -> Iterator[str]:
    """Where to look while the UI is open."""
    yield f"The UI is open at {webserver_url}"
    yield f"  {webserver_url}/runs/b/{backfill_id}?tab=partitions"
    yield f"  {webserver_url}/assets/{'/'.join(ASSET_KEY)}?view=partitions"


def _describe_days(outcome: Outcome) -> Iterator[str]:
    counts = outcome.by_state
    yield f"Days     {len(outcome.days):>5}"
    yield f"  success  {counts['success']:>3}"
    yield from _lines_of_failed(outcome)
    yield f"  skipped  {counts['skipped']:>3}   {_reasons_of(outcome, 'skipped')}".rstrip()
    for state in sorted(set(counts) - {"success", "failed", "skipped"}):
        yield f"  {state}  {counts[state]:>3}   {_reasons_of(outcome, state)}"


def _lines_of_failed(outcome: Outcome) -> Iterator[str]:
    failed = outcome.in_state("failed")
    yield f"  failed   {len(failed):>3}"
    for day in failed:
        yield f"    {day.day}  {day.message}"


def _reasons_of(outcome: Outcome, state: str) -> str:
    reasons = Counter(day.reason for day in outcome.in_state(state))
    return ", ".join(f"{_REASONS.get(reason, reason)}" for reason in reasons)


def _describe_rows(outcome: Outcome) -> Iterator[str]:
    rows = outcome.rows
    yield f"Rows     {outcome.read:>5} read"
    for name, count in rows.items():
        yield f"  {name:<9}{count:>5}"
    verdict = "the ledger balances" if outcome.is_balanced else "THE LEDGER DOES NOT BALANCE"
    yield f"  {outcome.read} = {' + '.join(str(count) for count in rows.values())}: {verdict}"
    yield f"  market.daily_bars holds {outcome.stored_rows} rows"


def _describe_dead_letters(letters: Sequence[DeadLetter]) -> Iterator[str]:
    yield f"Dead letters {len(letters)}: rows that were not loaded, kept with reason and place"
    for letter in letters:
        place = f"{letter.file} row {letter.row}"
        seen = "nothing" if letter.observed is None else letter.observed
        yield f"  {place:<22} {letter.symbol:<7} {letter.rule}"
        yield f"    {letter.column or 'row'}: {seen}; expected {letter.expected}"
