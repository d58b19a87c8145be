"""Documents over HTTP: upload files, see how far a batch is, search.

Files are written while they arrive, so that the memory a request takes does not grow with it, and
nothing of a request that was cut off stays.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from batch_assets.ingest.documents.search import search_documents
from batch_assets.ingest.documents.upload import (
    UploadedFile,
    list_uploaded,
    note_vanished,
    read_upload_progress,
)
from batch_assets.ops.api.authentication import Launcher, require
from batch_assets.ops.api.context import ApiContext, context_of
from batch_assets.ops.api.document_answers import (
    BatchAnswer,
    Failure,
    FileAnswer,
    SearchAnswer,
    UploadAnswer,
)
from batch_assets.ops.api.failures import Problem
from batch_assets.ops.api.multipart import (
    FieldSent,
    FileBegins,
    FileContent,
    FormEvent,
    FormReader,
)
from batch_assets.ops.api.settings import ApiSettings, read_api_settings
from batch_assets.ops.documents import count_of, open_drop, store_upload
from batch_assets.ops.scope import Scope
from batch_assets.sources.documents.landing_drop import DropResult, LandingDrop
from batch_assets.sources.documents.sources import read_document_sources

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/api/v1/documents", tags=["documents"])
READS = Depends(require(Scope.READ))
Context = Annotated[ApiContext, Depends(context_of)]

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "source": {"type": "string"},
                        "day": {"type": "string", "format": "date"},
                        "file": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                        },
                    },
                }
            }
        },
    }
}


@router.post("", status_code=202, openapi_extra=_FORM)
async def upload(
    request: Request, response: Response, token: Launcher, context: Context
) -> UploadAnswer:
    """Put files into the landing folder of a source.

    The fields `source` (may be left out where there is one) and `day` (default: today) come before
    the files. 202 with a result for each file; 422 if none of them was taken; 413 for too many;
    408 if nothing arrives for a while.
    """
    limits = read_api_settings(context.settings)
    with _Upload(context, limits, request.headers.get("content-type", "")) as receiving:
        try:
            async for content in _arriving(request, limits.upload_idle_seconds):
                await run_in_threadpool(receiving.feed, content)
        except ClientDisconnect as error:
            logger.info("an upload was cut off after %d files; nothing was kept", receiving.count)
            raise HTTPException(400, "the upload was cut off; send it again") from error
        answer = await run_in_threadpool(receiving.finish, token.name)
    if answer.refused == answer.total_docs:
        response.status_code = 422
    return answer


async def _arriving(request: Request, idle_seconds: float) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(idle_seconds):
                content = await anext(stream, None)
        except TimeoutError:
            raise HTTPException(
                408,
                f"nothing arrived for {idle_seconds:g} s, expected the rest of the files; nothing "
                "was kept, send them again",
                headers={"Connection": "close"},
            ) from None
        if content is None:
            return
        yield content


class _Upload:
    """One request: its form, and the drop its files go to."""

    def __init__(self, context: ApiContext, limits: ApiSettings, content_type: str) -> None:
        self._context = context
        self._limits = limits
        self._form = FormReader(content_type)
        self._fields: dict[str, str] = {}
        self._drop: LandingDrop | None = None
        self._exit = ExitStack()
        self._now = context.now()

    def __enter__(self) -> "_Upload":
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    @property
    def count(self) -> int:
        """Files begun so far."""
        return self._drop.count if self._drop is not None else 0

    def feed(self, content: bytes) -> None:
        """The next bytes of the body."""
        for event in self._form.feed(content):
            self._take(event)

    def finish(self, actor: str) -> UploadAnswer:
        """The body has ended: move its files in."""
        self._form.close()
        if self._drop is None:
            raise HTTPException(
                422, "the form has no file, expected at least one; send parts with a file name"
            )
        # Another moment than that of the first byte: what a scan finds from here on is newer.
        source = self._drop.source_name
        with self._context.transaction() as conn:
            batch_id, files = store_upload(
                conn, self._drop, source=source, actor=actor, now=self._context.now()
            )
        return UploadAnswer(
            batch_id=batch_id,
            source=source,
            total_docs=len(files),
            accepted=count_of(files, DropResult.ACCEPTED),
            known=count_of(files, DropResult.KNOWN),
            refused=count_of(files, DropResult.REFUSED),
            progress_url=f"{router.prefix}/batches/{batch_id}",
            files=[FileAnswer.model_validate(asdict(file)) for file in files],
        )

    def _take(self, event: FormEvent) -> None:
        match event:
            case FieldSent(name, value):
                if self._drop is not None:
                    raise HTTPException(
                        422, f"the field {name!r} came after a file, expected it before; move it"
                    )
                self._fields[name] = value
            case FileBegins(name):
                self._open_drop().begin(name)
            case FileContent(content):
                self._open_drop().write(content)
            case _:
                self._open_drop().end()

    def _open_drop(self) -> LandingDrop:
        if self._drop is None:
            drop = open_drop(self._context.settings, self._fields, now=self._now)
            self._drop = self._exit.enter_context(drop)
        if self._drop.count > self._limits.max_upload_files:
            raise HTTPException(
                413,
                f"the form has more than {self._limits.max_upload_files} files; send fewer at a "
                "time, or raise max_upload_files in [api]",
                headers={"Connection": "close"},
            )
        return self._drop


@router.get(
    "/batches/{batch_id}",
    dependencies=[READS],
    responses={404: {"model": Problem, "description": "There is no such batch."}},
)
def batch(
    batch_id: UUID,
    context: Context,
    processed_after: Annotated[int, Query(ge=0)] = 0,
    failed_after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> BatchAnswer:
    """How far a batch is, and what failed; the lists come in pages of `limit`."""
    with context.transaction() as conn:
        progress = read_upload_progress(conn, batch_id, now=context.now())
        if progress is None:
            raise HTTPException(
                404, f"there is no batch {batch_id}, expected an id that an upload was answered"
            )
        source = read_document_sources(context.settings).get(progress.source)
        if progress.status == "running" and source and note_vanished(conn, source, batch_id):
            progress = read_upload_progress(conn, batch_id, now=context.now()) or progress
        processed = list_uploaded(
            conn, batch_id, is_failed=False, after=processed_after, limit=limit
        )
        failed = list_uploaded(conn, batch_id, is_failed=True, after=failed_after, limit=limit)
    return BatchAnswer(
        batch_id=batch_id,
        source=progress.source,
        status=progress.status,
        received_at=progress.received_at,
        total_docs=progress.total_docs,
        processed_docs=[file.name for file in processed],
        failed_docs=[file.name for file in failed],
        current_progress=progress.ended,
        completed=progress.completed,
        failed=progress.failed,
        progress_percent=progress.progress_percent,
        eta_seconds="Unknown" if progress.eta_seconds is None else progress.eta_seconds,
        failures=[Failure(**_failure(file)) for file in failed],
        next_processed_after=_next(processed, limit),
        next_failed_after=_next(failed, limit),
    )


def _failure(file: UploadedFile) -> dict[str, Any]:
    return {**asdict(file), "advice": file.advice}


def _next(page: list[UploadedFile], limit: int) -> int | None:
    return page[-1].number if len(page) == limit else None


@router.get("/search", dependencies=[READS])
def search(
    context: Context,
    q: Annotated[str, Query(min_length=1, max_length=1_000)],
    source: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
) -> SearchAnswer:
    """Find pieces of documents that have every word of `q`, the best first.

    `"..."` is a phrase, `-word` excludes.
    """
    with context.transaction() as conn:
        hits = search_documents(conn, q, limit=limit, source=source)
    return SearchAnswer(query=q, hits=hits)
