"""Errors as answers: a status, one sentence, and never a stack trace."""

import logging

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from batch_assets.errors import (
    BatchAssetsError,
    ConfigurationError,
    DataError,
    InfrastructureError,
    LeaseHeld,
)

logger = logging.getLogger(__name__)

# Where our own error becomes an answer; the first class that fits counts.
_STATUS: tuple[tuple[type[BatchAssetsError], int], ...] = (
    (InfrastructureError, 503),
    (LeaseHeld, 409),
    (DataError, 422),
    (ConfigurationError, 422),
)


def install(app: FastAPI) -> None:
    """Answer failures of any route of the application."""
    app.add_exception_handler(BatchAssetsError, _answer_known)
    app.add_exception_handler(Exception, _answer_unknown)


async def _answer_known(_: Request, error: Exception) -> JSONResponse:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    headers = {"Retry-After": "5"} if status == 503 else None
    return JSONResponse({"detail": str(error)}, status, headers)


async def _answer_unknown(request: Request, error: Exception) -> JSONResponse:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return JSONResponse(
        {"detail": "the request failed in a way nobody foresaw; the service's log says how"}, 500
    )
