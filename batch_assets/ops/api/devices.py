"""Devices over HTTP: records are taken into the inbox, and answered once they are committed.

Answers have the shape that clients of the original service read (`success`, `reason`, `message`),
under a status of their own instead of 200 for everything.
"""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from batch_assets.errors import DataError, InboxFull, InfrastructureError
from batch_assets.ingest.devices.inbox import Acceptance, accept_records
from batch_assets.ops.api.authentication import Launcher
from batch_assets.ops.api.context import ApiContext, context_of
from batch_assets.ops.api.settings import read_api_settings
from batch_assets.sources.devices.settings import DeviceSettings, read_device_settings

router = APIRouter(prefix="/api/devices", tags=["devices"])
Context = Annotated[ApiContext, Depends(context_of)]

# What the old service said; its clients show it.
_QUEUED = "数据已加入分片处理队列"
_RETRY_AFTER_SECONDS = 5
_LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl")
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "oneOf": [
                        {"type": "object"},
                        {"type": "array", "items": {"type": "object"}},
                    ]
                }
            },
            _LINES[0]: {"schema": {"type": "string"}},
        },
    }
}


class ViolationAnswer(BaseModel):
    """One thing wrong with a record."""

    rule: str
    column: str
    observed: str | None
    expected: str
    hint: str


class RefusedAnswer(BaseModel):
    """A record that was not accepted; `index` is its place in the request, from 0."""

    index: int
    violations: list[ViolationAnswer]


class AcceptedAnswer(BaseModel):
    """What became of a request.

    Attributes:
        success: At least one record is committed, and will be written.
        reason: `queued`; `queue_full`: nothing was accepted, send it again after Retry-After;
            `error`: nothing was accepted.
        accepted: Records that are committed.
        rejected: The others, one by one.
    """

    success: bool
    reason: Literal["queued", "queue_full", "error"]
    message: str
    accepted: int = 0
    rejected: list[RefusedAnswer] = []


@router.post(
    "/records",
    openapi_extra=_BODY,
    responses={400: {"model": AcceptedAnswer, "description": "None of the records is good."}},
)
async def records(
    request: Request, response: Response, _: Launcher, context: Context
) -> AcceptedAnswer:
    """Take one record, an array of them, or lines (`application/x-ndjson`).

    200: those that are good are committed, the others are listed. 400: none is good. 413: too
    large. 429 with Retry-After: the inbox is full. 503: the database does not answer; what became
    of the records is not known, and sending them again does no harm.
    """
    settings = read_device_settings(context.settings)
    content = await _receive(request, context, settings.request_bytes_max)
    is_lines = request.headers.get("content-type", "").partition(";")[0].strip() in _LINES
    answer, status = await run_in_threadpool(_accept, context, settings, content, is_lines)
    response.status_code = status
    if status == 429:
        response.headers["Retry-After"] = str(round(settings.batch_seconds) or 1)
    elif status == 503:
        response.headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
    return answer


async def _receive(request: Request, context: ApiContext, max_bytes: int) -> bytes:
    """The body, while it is small enough and goes on arriving."""
    idle_seconds = read_api_settings(context.settings).upload_idle_seconds
    content = bytearray()
    stream = request.stream()
    try:
        while True:
            async with asyncio.timeout(idle_seconds):
                arrived = await anext(stream, None)
            if arrived is None:
                return bytes(content)
            content += arrived
            if len(content) > max_bytes:
                raise HTTPException(
                    413,
                    f"the body is larger than {max_bytes} bytes; send fewer records at a time, or "
                    "raise request_bytes_max in [devices]",
                    headers={"Connection": "close"},
                )
    except TimeoutError:
        raise HTTPException(
            408,
            f"nothing arrived for {idle_seconds:g} s, expected the rest of the body; nothing was "
            "accepted, send it again",
            headers={"Connection": "close"},
        ) from None
    except ClientDisconnect as error:
        raise HTTPException(400, "the request was cut off; send it again") from error


def _accept(
    context: ApiContext, settings: DeviceSettings, content: bytes, is_lines: bool
) -> tuple[AcceptedAnswer, int]:
    try:
        bodies = _decode(content, is_lines)
        with context.transaction() as conn:
            accepted = accept_records(
                conn, bodies, capacity_rows=settings.inbox_rows_max, zone=settings.zone
            )
    except InboxFull as error:
        return _nothing(str(error), "queue_full"), 429
    except InfrastructureError as error:
        return _nothing(str(error)), 503
    except DataError as error:
        return _nothing(str(error)), 400
    return _answer(accepted), 200 if accepted.accepted else 400


def _decode(content: bytes, is_lines: bool) -> list[object]:
    try:
        if is_lines:
            lines = content.decode("utf-8").splitlines()
            return [_or_text(line) for line in lines if line.strip()]
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"the body is no JSON in UTF-8 ({error}), expected an object, an array of objects, or "
            "lines of them as application/x-ndjson; mend it and send it again"
        ) from error
    return body if isinstance(body, list) else [body]


def _or_text(line: str) -> object:
    """A line that is no JSON is a record that is no object: refused by itself."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return line


def _nothing(message: str, reason: Literal["queue_full", "error"] = "error") -> AcceptedAnswer:
    return AcceptedAnswer(success=False, reason=reason, message=message)


def _answer(accepted: Acceptance) -> AcceptedAnswer:
    refused = [
        RefusedAnswer(
            index=record.index,
            violations=[ViolationAnswer.model_validate(asdict(one)) for one in record.violations],
        )
        for record in accepted.refused
    ]
    if accepted.accepted:
        message = _QUEUED
    else:
        message = f"none of {len(refused)} records can be accepted; see rejected, and mend them"
    return AcceptedAnswer(
        success=accepted.accepted > 0,
        reason="queued" if accepted.accepted else "error",
        message=message,
        accepted=accepted.accepted,
        rejected=refused,
    )
