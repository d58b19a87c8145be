"""Run one scenario: plant, break, recover, check."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batch_assets_tests.scenarios.matrix import invariants
from batch_assets_tests.scenarios.matrix.planted import DAYS, plant
from batch_assets_tests.scenarios.matrix.reading import reading
from batch_assets_tests.scenarios.matrix.scenario import Scenario
from batch_assets_tests.scenarios.matrix.server import MatrixServer, opened_server
from batch_assets_tests.scenarios.matrix.site import Site, opened_site
from batch_assets_tests.scenarios.matrix.ways import opened_way
from batch_assets_tests.scenarios.matrix.world import opened_world

_RECORDS = (
    *("ops.loads", "ops.leases", "ops.run_workers", "ops.checkpoints", "ops.dead_letters"),
    *("dagster.runs", "dagster.event_logs", "dagster.concurrency_slots", "dagster.bulk_actions"),
)


@contextmanager
def prepared_server() -> Iterator[MatrixServer]:
    """A server whose template holds the old rows and Dagster's own tables."""
    with opened_server() as server:
        url = server.databases.database_url(server.template)
        with opened_site(server, url, "in_process") as site:
            plant(site.files, "old")
            command = site.job_execute()
            # Days without a file fail, and the others are there.
            assert command.finish() == 1, command.tail(60)
            old_days = {planted.day for planted in DAYS if planted.old_rows}
            found = site.query("SELECT DISTINCT trade_date::text FROM market.daily_bars")
            assert {day for (day,) in found} == old_days, command.tail(60)
            # The sessions of the exchange are computed once, not in every scenario.
            server.cache = site.state_dir / "cache"
            yield server


def run_scenario(
    server: MatrixServer, scenario: Scenario, *, evidence: Path | None = None
) -> float:
    """Break a run as the scenario says, recover, and check every invariant.

    Args:
        evidence: Where to keep logs and records of a scenario that does not end well.

    Returns:
        Seconds from the first process to the last check.

    Raises:
        Violated: An invariant does not hold.
        AssertionError: The fault did not happen, or the recovery failed.
    """
    started = time.monotonic()
    url = server.databases.create_database(server.template)
    try:
        with opened_site(server, url, scenario.executor) as site:
            plant(site.files, "new")
            with _keeping(evidence, scenario, site):
                _run(server, scenario, site)
    finally:
        server.drop(url)
    return time.monotonic() - started


@contextmanager
def _keeping(evidence: Path | None, scenario: Scenario, site: Site) -> Iterator[None]:
    """Copy what a person needs to find out why, before the database is dropped."""
    try:
        yield
    except BaseException:
        if evidence is not None:
            folder = (
                evidence / f"{scenario.name.replace(' / ', '_').replace(' ', '_')}_{site.family}"
            )
            shutil.copytree(site.folder, folder, ignore=shutil.ignore_patterns("cache"))
            for table in _RECORDS:
                rows = site.query(f"SELECT to_jsonb(t) FROM {table} AS t")
                lines = [json.dumps(row, default=str, ensure_ascii=False) for (row,) in rows]
                (folder / f"{table}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        raise


def _run(server: MatrixServer, scenario: Scenario, site: Site) -> None:
    with reading(site.url) as reader:
        before = reader.states()
        with (
            opened_way(scenario.way, site) as way,
            opened_world(site, way, server, reader) as world,
        ):
            scenario.fault.inject(world)
            silent = [name for name in scenario.fault.failpoints if not site.has_fired(name)]
            assert not silent, f"never fired: {silent}"
            way.recover()
            # While a daemon lives within a minute; without one at the next start, which has been.
            invariants.check_nothing_held(site)
        after = reader.states()
    invariants.check_ledger(site)
    invariants.check_oracle(site)
    invariants.check_seen(reader, before, after)
    # Nothing is broken any more: which process a step runs in is of no interest, and costs imports.
    invariants.check_second_run(
        site, lambda force: site.load_everything(force=force, executor="in_process")
    )
    invariants.check_nothing_held(site)
    invariants.check_memory(site)
