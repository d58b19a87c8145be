"""Look at each layer in turn, from settings to the newest load.

A layer is looked at only when everything below it is sound, so the first broken line is the one
to repair. What it says is printed by cli/doctor.py.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg.pq import PGconn, Ping

from batch_assets.errors import (
    BatchAssetsError,
    ConfigurationError,
    DatabaseUnavailable,
    MigrationError,
)
from batch_assets.execution.capacity import cpu_worker_count, read_capacity
from batch_assets.execution.isolation import SPOOL_NAME
from batch_assets.execution.pool_statistics import read_pool_reports
from batch_assets.ops.dagster_home import find_instance_file, write_instance_file
from batch_assets.ops.service import connection_limit, newest_load
from batch_assets.postgres.connect import connect, connection_arguments, database_url
from batch_assets.postgres.migrate import read_status
from batch_assets.postgres.pool_budget import evaluate_pool_max, read_pool_budget
from batch_assets.settings import Settings, load_settings

APPLICATION_NAME = "batch_assets doctor"

# Measured: webserver, daemon and code server hold 3 to 6 connections each while the UI is used.
_DAGSTER_CONNECTIONS = 20
# Beside its publishing connections a run holds one for its lease and one for Dagster's events.
_CONNECTIONS_BESIDE_PUBLISHING = 2
_MEBIBYTE = 1024 * 1024

Verdict = Literal["ok", "warn", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found at one layer; `error` is there when the verdict is broken."""

    layer: str
    verdict: Verdict
    text: str
    next_command: str | None = None
    error: BatchAssetsError | None = None


@dataclass(slots=True)
class _Patient:
    """What the layers so far have established."""

    settings: Settings
    url: str = ""
    conn: psycopg.Connection | None = None

    def connection(self) -> psycopg.Connection:
        if self.conn is None:
            self.conn = connect(self.url, application_name=APPLICATION_NAME, autocommit=True)
        return self.conn


class _Concern(Exception):
    """The layer works, but a person should look: a finding on its way up, not a failure."""


def examine() -> Iterator[Finding]:
    """Examine every layer; the last finding is broken, or there is none that is.

    Starts the embedded server when it is the one in use, for as long as this process lives.
    """
    try:
        settings = load_settings()
    except BatchAssetsError as error:
        yield _broken("settings", error, None)
        return
    yield Finding("settings", "ok", f"{settings.config_file}, state in {settings.state_dir}")
    patient = _Patient(settings)
    try:
        for layer, look, next_command in _LAYERS:
            finding = _look(patient, layer, look, next_command)
            yield finding
            if finding.verdict == "broken":
                return
    finally:
        if patient.conn is not None:
            patient.conn.close()


def _look(
    patient: _Patient, layer: str, look: Callable[[_Patient], str], next_command: str
) -> Finding:
    try:
        return Finding(layer, "ok", look(patient))
    except _Concern as concern:
        return Finding(layer, "warn", str(concern))
    except BatchAssetsError as error:
        return _broken(layer, error, next_command)


def _broken(layer: str, error: BatchAssetsError, next_command: str | None) -> Finding:
    return Finding(layer, "broken", str(error), next_command, error)


def _server(patient: _Patient) -> str:
    patient.url = database_url(patient.settings)
    arguments = connection_arguments(patient.url, APPLICATION_NAME, patient.settings.database)
    address = psycopg.conninfo.make_conninfo(**arguments)  # type: ignore[arg-type]
    # reason: make_conninfo types its keyword arguments one by one; libpq takes strings for all
    where = str(arguments.get("host", "the default socket"))
    answer = Ping(PGconn.ping(address.encode()))
    if answer is not Ping.OK:
        # A server whose certificate is refused looks like none to a ping.
        with suppress(DatabaseUnavailable):
            patient.connection()
        raise DatabaseUnavailable(
            f"the server at {where} answers {answer.name}, expected OK; start it, or correct "
            "BATCH_ASSETS_DATABASE_URL"
        )
    kind = "embedded" if patient.settings.database.url is None else "yours"
    return f"{kind}, answers at {where}"


def _version(patient: _Patient) -> str:
    info = patient.connection().info
    return f"PostgreSQL {info.parameter_status('server_version')}, database {info.dbname}"


def _migrations(patient: _Patient) -> str:
    status = read_status(patient.url)
    if status.problems:
        raise MigrationError("; ".join(status.problems))
    if status.pending:
        first, last = status.pending[0].name, status.pending[-1].name
        names = first if first == last else f"{first} to {last}"
        raise MigrationError(
            f"{len(status.pending)} are not applied: {names}; expected none; apply them"
        )
    return f"{len(status.applied)} applied, none pending"


def _dagster_storage(patient: _Patient) -> str:
    from batch_assets.runs.instance import read_instance

    summary = read_instance(write_instance_file(patient.settings))
    return (
        f"{summary.run_count} runs, {summary.running_count} of them running; "
        f"{find_instance_file(patient.settings)}"
    )


def _connections(patient: _Patient) -> str:
    from batch_assets.runs.instance import read_instance

    summary = read_instance(write_instance_file(patient.settings))
    limit = connection_limit(patient.connection())
    runs = summary.max_concurrent_runs
    if runs < 0:
        raise _Concern(
            f"runs are not limited, the server has {limit} connections; expected a limit; "
            "set concurrency.runs.max_concurrent_runs in dagster.yaml"
        )
    per_run = patient.settings.loading.publish_connections + _CONNECTIONS_BESIDE_PUBLISHING
    needed = runs * per_run + _DAGSTER_CONNECTIONS
    most = runs * patient.settings.database.pool_max + _DAGSTER_CONNECTIONS
    advice = (
        "raise max_connections, or lower [database] pool_max or max_concurrent_runs in dagster.yaml"
    )
    if needed > limit:
        raise ConfigurationError(
            f"{runs} runs at once need {needed} connections, the server has {limit}; {advice}"
        )
    pools = ", ".join(f"{name} {slots}" for name, slots in sorted(summary.pool_limits.items()))
    text = f"{runs} runs use {needed} of {limit}, {most} if each fills its pool"
    if most > limit:
        raise _Concern(f"{text}; expected at most {limit}; {advice}")
    return f"{text}; pools: {pools or f'default {summary.default_pool_limit}'}"


def _pool_budget(patient: _Patient) -> str:
    options = patient.settings.database
    budget = read_pool_budget(patient.connection(), options)
    # Raises as the start of a run does, where the pools of all processes do not fit.
    size = evaluate_pool_max(budget, options)
    return (
        f"{budget.processes} processes of up to {size} connections each; the server has "
        f"{budget.limit}, {budget.reserved} of them for everything else"
    )


def _workers(patient: _Patient) -> str:
    execution, capacity = patient.settings.execution, read_capacity()
    count = cpu_worker_count(capacity, execution.worker_memory_bytes, execution.cpu_workers)
    text = (
        f"{count} a pool, {execution.worker_memory_bytes / _MEBIBYTE:,.0f} MiB each; here are "
        f"{capacity.cpus:g} cores and {capacity.memory_bytes / _MEBIBYTE:,.0f} MiB"
    )
    open_pools = [
        f"pool of process {report.pid}: {done.active} active, {done.queued} queued, {done.done} "
        f"done, {done.failed} failed, {done.restarts} restarts, peak "
        f"{done.peak_memory_bytes / _MEBIBYTE:,.0f} MiB"
        for report in read_pool_reports(patient.settings.state_dir / SPOOL_NAME)
        for done in [report.statistics]
    ]
    return "; ".join([text, *open_pools])


def _feeds(patient: _Patient) -> str:
    from batch_assets.sources.market.feed import build_feeds

    feeds = build_feeds(patient.settings.section("market"), patient.settings.config_dir)
    if not feeds:
        raise _Concern(
            f"{patient.settings.config_file} has no feed, expected one; add [market.feeds.<name>]"
        )
    return f"{len(feeds)}: {', '.join(sorted(feeds))}"


def _newest_load(patient: _Patient) -> str:
    load = newest_load(patient.connection())
    if load is None:
        return "none yet"
    reason = f" ({load.reason})" if load.reason else ""
    return (
        f"{load.resource} {load.state}{reason}, {load.rows_read} rows read, "
        f"started {load.started_at:%Y-%m-%d %H:%M:%S} UTC"
    )


_LAYERS: tuple[tuple[str, Callable[[_Patient], str], str], ...] = (
    ("server", _server, "batch-assets -v doctor"),
    ("database", _version, "batch-assets -v doctor"),
    ("migrations", _migrations, "batch-assets db migrate"),
    ("dagster", _dagster_storage, "batch-assets -v doctor"),
    ("connections", _connections, "batch-assets doctor"),
    ("pool budget", _pool_budget, "batch-assets doctor"),
    ("workers", _workers, "batch-assets doctor"),
    ("feeds", _feeds, "batch-assets doctor"),
    ("newest load", _newest_load, "batch-assets up"),
)
