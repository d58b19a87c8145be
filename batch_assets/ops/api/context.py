"""What a request may use: settings, connections, the clock, meters."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

import psycopg
from fastapi import Depends, Request
from psycopg_pool import ConnectionPool

from batch_assets.ops.etl import EtlRunner
from batch_assets.ops.resources import ResourceMeter
from batch_assets.postgres.connect import translating_errors
from batch_assets.runs.eta_records import KeptEstimates
from batch_assets.settings import Settings


@dataclass(frozen=True, slots=True)
class ApiContext:
    """Shared by all requests of one application."""

    settings: Settings
    pool: ConnectionPool[psycopg.Connection]
    now: Callable[[], datetime]
    meter: ResourceMeter
    etl: EtlRunner
    estimates: KeptEstimates = field(default_factory=KeptEstimates)

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection]:
        """A connection whose work is committed when the body ends well.

        Raises:
            DatabaseUnavailable: The database does not answer, or no connection became free.
        """
        with translating_errors(), self.pool.connection() as conn:
            yield conn


def find_context(request: Request) -> ApiContext:
    """The context of the application that serves a request."""
    context: ApiContext = request.app.state.context
    return context


async def context_of(request: Request) -> ApiContext:
    """The same as a dependency of routes; as a coroutine it costs no change of threads."""
    return find_context(request)


Context = Annotated[ApiContext, Depends(context_of)]
