"""`/start_etl` and `/progress` of the original ETL service."""

from dataclasses import asdict
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from batch_assets.ops.api.authentication import Launcher, Reader
from batch_assets.ops.api.context import Context
from batch_assets.ops.api.failures import PROBLEMS, Problem
from batch_assets.ops.api.settings import read_api_settings

router = APIRouter(tags=["etl"], responses=PROBLEMS)


class StartedAnswer(BaseModel):
    """It runs."""

    status: Literal["started"] = "started"


class EtlAnswer(BaseModel):
    """Rows to move, and rows moved; 0 of 0 is finished."""

    total: int
    processed: int
    status: Literal["idle", "running", "completed", "failed"]
    error: str


@router.post(
    "/start_etl",
    status_code=202,
    summary="Run the configured transfer",
    responses={409: {"model": Problem, "description": "It is running."}},
)
def start_etl(token: Launcher, context: Context) -> StartedAnswer:
    """The transfer that `etl_transfer` in `[api]` names; may be left out where there is one."""
    name = read_api_settings(context.settings).etl_transfer
    with context.transaction() as conn:
        context.etl.start(conn, name, token.name)
    return StartedAnswer()


@router.get("/progress", summary="How far the transfer is")
def progress(_: Reader, context: Context) -> EtlAnswer:
    """Of the one that was started last."""
    with context.transaction() as conn:
        return EtlAnswer(**asdict(context.etl.progress(conn)))
