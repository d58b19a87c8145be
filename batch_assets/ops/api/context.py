"""What a request may use: settings, connections, the clock, meters."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import psycopg
from fastapi import Depends, Request
from psycopg_pool import ConnectionPool

from batch_assets.ops.etl import EtlRunner
from batch_assets.ops.resources import ResourceMeter
from batch_assets.postgres.connect import translating_errors
from batch_assets.settings import Settings


@dataclass(frozen=True, slots=True)
class ApiContext:
    """Shared by all requests of one application."""

    settings: Settings
    pool: ConnectionPool[psycopg.Connection]
    now: Callable[[], datetime]
    meter: ResourceMeter
    etl: EtlRunner

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection]:
        """A connection whose work is committed when the body ends well.

        Raises:
            DatabaseUnavailable: The database does not answer, or no connection became free.
        """
        with translating_errors(), self.pool.connection() as conn:
            yield conn


def context_of(request: Request) -> ApiContext:
    """The context of the application that serves a request; a dependency of routes."""
    context: ApiContext = request.app.state.context
    return context


Context = Annotated[ApiContext, Depends(context_of)]
