"""The application: routes, limits, failures and what they share.

Routes are one module for each domain; they read the request, call ops or ingest, and shape the
answer.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from fastapi import FastAPI

from batch_assets import __version__
from batch_assets.ops.api import devices, documents, failures, health
from batch_assets.ops.api.context import ApiContext
from batch_assets.ops.api.limits import BodyLimit
from batch_assets.ops.api.settings import read_api_settings
from batch_assets.postgres.pool import open_pool
from batch_assets.settings import Settings

_MIN_CONNECTIONS = 1


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
        with pool:
            app.state.context = ApiContext(settings, pool, now)
            yield

    app = FastAPI(
        title="batch_assets",
        version=__version__,
        description="Bulk loading into PostgreSQL under Dagster.",
        lifespan=lifespan,
    )
    app.add_middleware(BodyLimit, max_bytes=limits.max_body_bytes)
    failures.install(app)
    app.include_router(health.router)
    app.include_router(devices.router)
    app.include_router(documents.router)
    return app
