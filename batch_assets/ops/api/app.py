"""The application: routes, limits, failures and what they share.

Routes are one module for each domain; they read the request, call ops or ingest, and shape the
answer.
"""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial

from fastapi import FastAPI

from batch_assets import __version__
from batch_assets.monitoring.settings import read_alert_settings
from batch_assets.monitoring.watch import watch_until
from batch_assets.ops.api import (
    backfills,
    device_health,
    devices,
    documents,
    etl,
    failures,
    health,
    live_routes,
    metrics,
    sync,
    system,
)
from batch_assets.ops.api.context import ApiContext
from batch_assets.ops.api.limits import BodyLimit
from batch_assets.ops.api.live import Broadcast
from batch_assets.ops.api.rate_limit import RateLimit
from batch_assets.ops.api.settings import read_api_settings
from batch_assets.ops.etl import EtlRunner
from batch_assets.ops.resources import ResourceMeter
from batch_assets.ops.web import routes
from batch_assets.postgres.connect import connect
from batch_assets.postgres.pool import open_pool
from batch_assets.settings import Settings

_MIN_CONNECTIONS = 1
_ROUTES = (
    health,
    metrics,
    devices,
    documents,
    sync,
    backfills,
    live_routes,
    device_health,
    system,
    etl,
)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def build_app(
    settings: Settings, database_url: str, *, now: Callable[[], datetime] = _utc_now
) -> FastAPI:
    """The HTTP API over one database.

    Args:
        settings: Of this process; `[api]` holds the limits.
        database_url: A migrated database.
        now: The clock, for tests.

    Raises:
        ConfigurationError: `[api]` is not as it must be.
    """
    limits = read_api_settings(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pool = open_pool(
            database_url,
            min_size=_MIN_CONNECTIONS,
            max_size=limits.connections,
            application_name="batch_assets serve",
            options=settings.database,
        )
        with pool, watching_alerts(settings, database_url):
            context = ApiContext(
                settings, pool, now, ResourceMeter(), EtlRunner(settings, database_url)
            )
            app.state.context = context
            app.state.broadcast = Broadcast(
                partial(live_routes.look_at, context),
                every_seconds=limits.look_every_seconds,
                max_listeners=limits.max_listeners,
            )
            try:
                yield
            finally:
                await app.state.broadcast.close()

    app = FastAPI(
        title="batch_assets",
        version=__version__,
        description="Bulk loading into PostgreSQL under Dagster.",
        lifespan=lifespan,
    )
    app.add_middleware(BodyLimit, max_bytes=limits.max_body_bytes)
    app.add_middleware(
        RateLimit,
        requests_per_second=limits.requests_per_second,
        burst=limits.request_burst,
    )
    failures.install(app)
    for module in _ROUTES:
        app.include_router(module.router, responses=failures.PROBLEMS)
    routes.install(app)
    return app


@contextmanager
def watching_alerts(settings: Settings, database_url: str) -> Iterator[None]:
    """Evaluate alerts beside the requests, unless `[alerts] is_on` says otherwise.

    Raises:
        ConfigurationError: `[alerts]` is not as it must be.
    """
    if not read_alert_settings(settings).is_on:
        yield
        return
    stop = threading.Event()
    connector = partial(
        connect, database_url, application_name="batch_assets alerts", options=settings.database
    )
    watcher = threading.Thread(
        target=watch_until, args=(stop, connector, settings, "serve"), name="alerts"
    )
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
