"""A process that loads days of the synthetic table, and dies where it is told to.

Run as `python -m batch_assets_tests.scenarios.writer PLAN`, a JSON object with the fields of
`Plan`. Prints one JSON line for each report, or for the error that ended it.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date

from batch_assets.contracts.batch import SourceBatch
from batch_assets.errors import BatchAssetsError
from batch_assets.execution import failpoints
from batch_assets.loading.prepare import WindowSource
from batch_assets.loading.report import LoadReport
from batch_assets_tests.loading.synthetic import days, load, many_rows, source_of

BATCH_ROWS = 250


@dataclass(frozen=True)
class Plan:
    """What a writer loads; every row of a day has the same price, which tells old from new."""

    url: str
    day_count: int
    row_count: int
    price: str
    failpoints: str = ""
    chunk_rows: int = 65_536
    lease_seconds: float = 1.0
    publish_connections: int = 2
    batch_rows: int = BATCH_ROWS


def run(plan: Plan, reads: list[tuple[str, int]] | None = None) -> list[LoadReport]:
    """Load everything of a plan in this process.

    Args:
        reads: Gets day and first row of each batch as it is read.
    """
    sources = [_source(plan, day, [] if reads is None else reads) for day in days(plan.day_count)]
    return load(
        plan.url,
        *sources,
        chunk_rows=plan.chunk_rows,
        group_rows=plan.row_count,
        lease_seconds=plan.lease_seconds,
        publish_connections=plan.publish_connections,
    )


def _source(plan: Plan, day: date, reads: list[tuple[str, int]]) -> WindowSource:
    rows = many_rows(plan.row_count, plan.price)
    whole = source_of(rows, day, source_hash=f"{day} {plan.price}", batch_rows=plan.batch_rows)

    def read(position: Mapping[str, int | str] | None) -> Iterator[SourceBatch]:
        for batch in whole.read(position):
            reads.append((day.isoformat(), int(batch.resume_after["row"]) - batch.read_rows))
            yield batch

    return replace(whole, read=read)


def start(plan: Plan) -> "subprocess.Popen[str]":
    """Start a process that carries out a plan."""
    return subprocess.Popen(
        [sys.executable, "-m", __spec__.name, json.dumps(asdict(plan))],
        stdout=subprocess.PIPE,
        text=True,
    )


def main() -> None:
    plan = Plan(**json.loads(sys.argv[1]))
    failpoints.arm(plan.failpoints)
    try:
        for report in run(plan):
            error = type(report.error).__name__ if report.error else None
            _say(report.window.key, error)
    except BatchAssetsError as error:
        _say(None, type(error).__name__)


def _say(day: str | None, error: str | None) -> None:
    sys.stdout.write(json.dumps({"day": day, "error": error}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
