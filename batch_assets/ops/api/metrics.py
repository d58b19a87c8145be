"""`/metrics`: what Prometheus scrapes."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from batch_assets.ops.api.authentication import Reader
from batch_assets.ops.api.context import ApiContext, context_of
from batch_assets.ops.monitoring import prometheus_text, read_samples

router = APIRouter(tags=["health"])
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(_: Reader, context: Annotated[ApiContext, Depends(context_of)]) -> Response:
    """All metrics in the text format of Prometheus; docs/monitoring.md explains each."""
    with context.transaction() as conn:
        samples = read_samples(conn, context.settings, context.now())
    return Response(prometheus_text(samples), media_type=_CONTENT_TYPE)
