"""Is it alive, can it work: the two questions that need no token."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from batch_assets.errors import BatchAssetsError
from batch_assets.ops.api.context import ApiContext, context_of

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(
    context: Annotated[ApiContext, Depends(context_of)], response: Response
) -> dict[str, str]:
    """The database answers too; 503 if it does not."""
    try:
        with context.transaction() as conn:
            conn.execute("SELECT 1")
    except BatchAssetsError:
        response.status_code = 503
        return {"status": "database unavailable"}
    return {"status": "ok"}
