"""A backfill of 1,000 days whose daemon and code server are killed in the middle.

    python -m batch_assets_tests.scenarios.thousand_days [--table docs/reliability.md]

Both are started again at once, as a service manager does, and nobody launches anything again. At
the end every day of the exchange must be in the table once, and in Dagster's history once. Takes
minutes: `pytest -m crash` has the same restarts with four days only in the soak (soak.py).
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import exchange_calendars

from batch_assets.runs.watch import BackfillState
from batch_assets_tests.polling import wait_until
from batch_assets_tests.scenarios.matrix import invariants
from batch_assets_tests.scenarios.matrix.planted import PlantedDay, plant
from batch_assets_tests.scenarios.matrix.result_table import write_thousand_days
from batch_assets_tests.scenarios.matrix.running import prepared_server
from batch_assets_tests.scenarios.matrix.server import MatrixServer
from batch_assets_tests.scenarios.matrix.site import Site, opened_site
from batch_assets_tests.scenarios.matrix.ways import DaemonBackfill

FIRST = date(2022, 1, 4)
DAY_COUNT = 1_000
DAYS_PER_RUN = 100
ROWS_A_DAY = 20
# How many days are loaded when a process is killed.
DAEMON_DIES_AT = 150
CODE_SERVER_DIES_AT = 350
DEADLINE_SECONDS = 1_800.0


@dataclass(frozen=True)
class ThousandDays:
    """What came of it.

    Attributes:
        sessions: Days of the exchange among them; the others are skipped.
        runs: Of the backfill, the one or two that were tried again included.
        events: Materialisations in Dagster's history.
    """

    days: int
    sessions: int
    rows: int
    runs: int
    runs_not_successful: int
    events: int
    seconds: float


def main() -> int:
    """Run it; 0 if everything held."""
    arguments = build_parser().parse_args()
    with prepared_server() as server, planted_site(server) as (site, sessions):
        found = restart_in_the_middle(site, sessions)
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
    if arguments.table:
        write_thousand_days(arguments.table, asdict(found))
    return 0


def build_parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, help="page to add the figures to")
    return parser


@contextmanager
def planted_site(server: MatrixServer) -> Iterator[tuple[Site, list[str]]]:
    """A site with a file for each day of the exchange, and those days."""
    calendar = exchange_calendars.get_calendar("XSHG")
    last = FIRST + timedelta(days=DAY_COUNT - 1)
    sessions = [f"{at:%Y-%m-%d}" for at in calendar.sessions_in_range(str(FIRST), str(last))]
    url = server.databases.create_database(server.template)
    try:
        with opened_site(server, url, "in_process", days_per_run=DAYS_PER_RUN) as site:
            # The old rows of the template are of days that other scenarios load.
            site.query("TRUNCATE market.daily_bars, ops.loads, ops.dead_letters CASCADE")
            days = tuple(PlantedDay(day, rows=ROWS_A_DAY, bad_rows=0) for day in sessions)
            plant(site.files, "new", days)
            yield site, sessions
    finally:
        server.drop(url)


def restart_in_the_middle(site: Site, sessions: list[str]) -> ThousandDays:
    """Launch once, kill twice, wait, and count."""
    started = time.monotonic()
    days = [str(FIRST + timedelta(days=number)) for number in range(DAY_COUNT)]
    with closing(DaemonBackfill(site, days)) as way:
        way.start()
        for process, loaded in (
            ("daemon", DAEMON_DIES_AT),
            ("code-server", CODE_SERVER_DIES_AT),
        ):
            are_loaded = partial(_are_loaded, site, loaded)
            wait_until(are_loaded, f"{loaded} days are loaded", DEADLINE_SECONDS)
            assert _loaded(site) < len(sessions), f"{process} was to die in the middle"
            way.restart(process)
        way.finish(DEADLINE_SECONDS)
        assert way.look().state is BackfillState.COMPLETED_SUCCESS, way.look()
        invariants.check_nothing_held(site)
        backfill_id = way.backfill_id
    invariants.check_oracle(site)
    doubled = site.query(
        f"SELECT partition, count(*) {_events(backfill_id)} GROUP BY partition HAVING count(*) > 1"
    )
    assert not doubled, f"in the history more than once: {doubled}"
    twice = site.query(
        "SELECT window_key, count(*) FROM ops.loads WHERE state = 'success' AND rows_inserted > 0 "
        "GROUP BY window_key HAVING count(*) > 1"
    )
    assert not twice, f"loaded more than once: {twice}"
    return _count(site, sessions, backfill_id, time.monotonic() - started)


def _events(backfill_id: str) -> str:
    """Materialisations in Dagster's history by runs of the backfill."""
    return (
        "FROM dagster.event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION' AND run_id IN "
        "(SELECT run_id FROM dagster.run_tags WHERE key = 'dagster/backfill' "
        f"AND value = '{backfill_id}')"
    )


def _are_loaded(site: Site, count: int) -> bool:
    return _loaded(site) >= count


def _loaded(site: Site) -> int:
    return site.value("SELECT count(*) FROM ops.loads WHERE state = 'success'")


def _count(site: Site, sessions: list[str], backfill_id: str, seconds: float) -> ThousandDays:
    of_backfill = (
        "FROM dagster.runs JOIN dagster.run_tags USING (run_id) "
        f"WHERE key = 'dagster/backfill' AND value = '{backfill_id}'"
    )
    return ThousandDays(
        days=DAY_COUNT,
        sessions=len(sessions),
        rows=site.value("SELECT count(*) FROM market.daily_bars"),
        runs=site.value(f"SELECT count(*) {of_backfill}"),
        runs_not_successful=site.value(f"SELECT count(*) {of_backfill} AND status <> 'SUCCESS'"),
        events=site.value(f"SELECT count(*) {_events(backfill_id)}"),
        seconds=round(seconds, 1),
    )


if __name__ == "__main__":
    sys.exit(main())
