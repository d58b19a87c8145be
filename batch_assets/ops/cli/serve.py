"""`batch-assets serve`: the HTTP API and the status page."""

import sys
from typing import Annotated

import typer

_LET_GO_SECONDS = 3


def serve(
    *,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; default: of [api], loopback.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Default: of [api], 8010.")
    ] = None,
) -> None:
    """Serve the HTTP API and the status page until it is interrupted."""
    import uvicorn

    from batch_assets.ops.api.app import build_app
    from batch_assets.ops.api.settings import read_api_settings
    from batch_assets.ops.api.slow_clients import bounded_protocol
    from batch_assets.ops.readiness import usable_port
    from batch_assets.ops.service import open_database_url
    from batch_assets.postgres.migrate import apply_pending
    from batch_assets.settings import load_settings

    settings = load_settings()
    section = read_api_settings(settings)
    url = open_database_url()
    apply_pending(url)
    host = section.host if host is None else host
    port = usable_port(host, section.port if port is None else port)
    sys.stderr.write(f"http://{host}:{port}/ shows the state, http://{host}:{port}/docs the API\n")
    uvicorn.run(
        build_app(settings, url),
        host=host,
        port=port,
        log_level="warning",
        server_header=False,
        http=bounded_protocol(section.patience()),
        ws="websockets-sansio",
        # Live progress does not end by itself: who listens is let go.
        timeout_graceful_shutdown=_LET_GO_SECONDS,
    )
