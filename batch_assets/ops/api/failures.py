"""Errors as answers: a status, one sentence, and never a stack trace."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from batch_assets.errors import (
    BackfillEnded,
    BackfillOverlaps,
    BatchAssetsError,
    ConfigurationError,
    DataError,
    InfrastructureError,
    LeaseHeld,
    RequestRefused,
    UnknownBackfill,
)
from batch_assets.ops.backfills.sync_status import already_running_message
from batch_assets.ops.language import Language

logger = logging.getLogger(__name__)

# Where our own error becomes an answer; the first class that fits counts.
_STATUS: tuple[tuple[type[BatchAssetsError], int], ...] = (
    (InfrastructureError, 503),
    (LeaseHeld, 409),
    (UnknownBackfill, 404),
    (BackfillOverlaps, 409),
    (BackfillEnded, 409),
    (RequestRefused, 422),
    (DataError, 422),
    (ConfigurationError, 422),
)

# Clients of the original sync look for `status` and `message` in whatever they are answered.
SYNC_PREFIX = "/api/v1/sync-status"


class Problem(BaseModel):
    """Why a request was not carried out."""

    detail: str = Field(
        description="What was seen, what was expected, what to do next.",
        examples=[
            "there is no backfill 7, expected one of those that `batch-assets history` lists"
        ],
    )


class SyncProblem(Problem):
    """A problem as clients of the original sync read it."""

    status: str = Field(default="error", examples=["error"])
    message: str = Field(examples=["已有同步任务正在运行"])


# What any route may answer, for the documentation.
PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No token in force was sent."},
    403: {"model": Problem, "description": "The token's scope does not allow it."},
    413: {"model": Problem, "description": "The body is too large."},
    422: {"model": Problem, "description": "A value cannot be used; nothing was done."},
    429: {"model": Problem, "description": "Too many requests; Retry-After says when."},
    503: {"model": Problem, "description": "The database does not answer; try again."},
}
SYNC_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {**answer, "model": SyncProblem}
    for status, answer in PROBLEMS.items()
    if status not in (413, 429)
}


def install(app: FastAPI) -> None:
    """Answer failures of any route of the application."""
    app.add_exception_handler(BatchAssetsError, _answer_known)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_unknown)


def status_of(error: Exception) -> int:
    """The status under which one of our errors is answered."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


async def _answer_known(request: Request, error: Exception) -> JSONResponse:
    status = status_of(error)
    headers = {"Retry-After": "5"} if status == 503 else None
    message = (
        already_running_message(Language.CHINESE) if isinstance(error, BackfillOverlaps) else None
    )
    return _answer(request, status, str(error), headers, message)


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - installed for this class
    # Not what was sent: it may be long, or a secret in the wrong field.
    wrong = "; ".join(
        f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()
    )
    return _answer(request, 422, f"{wrong}; expected values as /docs describes them; correct them")


async def _answer_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - installed for this class
    return _answer(request, error.status_code, str(error.detail), error.headers)


async def _answer_unknown(request: Request, error: Exception) -> JSONResponse:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(
        request, 500, "the request failed in a way nobody foresaw; the service's log says how"
    )


def _answer(
    request: Request,
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    message: str | None = None,
) -> JSONResponse:
    body = {"detail": detail}
    if request.url.path.startswith(SYNC_PREFIX):
        body = {"status": "error", "message": message or detail, "detail": detail}
    return JSONResponse(body, status, headers)
