"""What the routes of documents answer, field by field."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from batch_assets.ingest.documents.search import Hit
from batch_assets.sources.documents.landing_drop import DropResult


class FileAnswer(BaseModel):
    """What became of one file of an upload."""

    name: str
    result: DropResult
    path: str
    outcome: str
    reason: str
    sha256: str
    size_bytes: int


class UploadAnswer(BaseModel):
    """A batch that was received."""

    batch_id: UUID
    source: str
    total_docs: int
    accepted: int
    known: int
    refused: int
    progress_url: str
    files: list[FileAnswer]


class Failure(BaseModel):
    """A file of a batch that failed, and what to do."""

    number: int
    name: str
    path: str | None
    outcome: str
    reason: str
    advice: str


class BatchAnswer(BaseModel):
    """How far a batch is.

    Attributes:
        status: `running`, `completed`, `partial` (ended, some failed) or `failed` (all did).
        processed_docs: Names of files whose text was read, from `processed_after` on.
        failed_docs: Names of those that failed, from `failed_after` on; `failures` says why.
        current_progress: Files that came to an end.
        eta_seconds: "Unknown" before the first of them.
        next_processed_after: Send it as `processed_after` for the next names; None at the end.
    """

    batch_id: UUID
    source: str
    status: Literal["running", "completed", "partial", "failed"]
    received_at: datetime
    total_docs: int
    processed_docs: list[str]
    failed_docs: list[str]
    current_progress: int
    completed: int
    failed: int
    progress_percent: float
    eta_seconds: float | Literal["Unknown"]
    failures: list[Failure]
    next_processed_after: int | None
    next_failed_after: int | None


class SearchAnswer(BaseModel):
    """What a search found, the best first."""

    query: str
    hits: list[Hit]
