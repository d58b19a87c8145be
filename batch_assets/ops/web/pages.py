"""Templates to answers: the language, the headers that keep pages safe, pages for errors."""

import hashlib
from collections.abc import Callable, Coroutine
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from batch_assets import __version__
from batch_assets.errors import BatchAssetsError
from batch_assets.ops.api.context import find_context
from batch_assets.ops.api.failures import status_of
from batch_assets.ops.display import language_of, read_display
from batch_assets.ops.sessions import Session
from batch_assets.ops.web.shown import Shown, byte_text, number, words
from batch_assets.ops.web.signed_in import PageRefused, SignInNeeded
from batch_assets.ops.web.texts import SAID, choose_language
from batch_assets.settings import Settings

_HERE = Path(__file__).resolve().parent
STATIC = _HERE / "static"
LANGUAGE_COOKIE = "ba_lang"
_YEAR_SECONDS = 365 * 24 * 3600

# Nothing inline and nothing from elsewhere: what a file name or an error says cannot become code.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = _static_address
    environment.filters |= {"number": number, "bytes": byte_text, "words": words}
    return environment


@cache
def _static_address(name: str) -> str:
    """The address of a file beside the pages; another one when the file is another."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()
    return f"/static/{name}?v={digest[:12]}"


def show(
    request: Request,
    name: str,
    session: Session | None,
    *,
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    """A page in the language of its reader.

    Args:
        request: Says the language, and what was done before.
        name: Of a template.
        session: Whose page it is; None on the sign-in page.
        status: Of the answer.
        values: What the template shows.
    """
    context = find_context(request)
    asked = request.query_params.get("lang")
    language = choose_language(
        asked or request.cookies.get(LANGUAGE_COOKIE),
        request.headers.get("accept-language", ""),
        language_of(context.settings),
    )
    shown = Shown(context.settings, language, context.now())
    text = (
        _templates()
        .get_template(name)
        .render(
            t=shown.text,
            shown=shown,
            language=language,
            session=session,
            # Where only forms are sent to, there is nothing to come back to.
            path=request.url.path if request.method == "GET" else "/",
            said=_said(request, shown),
            links=DagsterLinks(context.settings),
            version=__version__,
            **values,
        )
    )
    response = HTMLResponse(text, status, _HEADERS)
    if asked == language:
        response.set_cookie(
            LANGUAGE_COOKIE, language, max_age=_YEAR_SECONDS, httponly=True, samesite="strict"
        )
    return response


def _said(request: Request, shown: Shown) -> str:
    """What the form before has done; numbers and words of ours, whatever the address says."""
    done, subject = request.query_params.get("done"), request.query_params.get("id", "")
    if done not in SAID:
        return ""
    return shown.text(f"said_{done}", id=subject if subject.isascii() and subject.isdigit() else "")


class DagsterLinks:
    """Addresses in Dagster's own pages; empty where `[display] dagster_url` is not set."""

    def __init__(self, settings: Settings) -> None:
        self._root = (read_display(settings).dagster_url or "").rstrip("/")

    def run(self, run_id: str) -> str:
        """Of a run."""
        return f"{self._root}/runs/{run_id}" if self._root else ""

    def backfill(self, dagster_backfill_id: str) -> str:
        """Of a backfill."""
        return f"{self._root}/runs/b/{dagster_backfill_id}" if self._root else ""


class PageRoute(APIRoute):
    """A route whose failures are pages too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See FastAPI."""
        answer = super().get_route_handler()

        async def answer_or_explain(request: Request) -> Response:
            try:
                return await answer(request)
            except SignInNeeded:
                return RedirectResponse("/signin", 303, {"Cache-Control": "no-store"})
            except (BatchAssetsError, PageRefused, HTTPException, RequestValidationError) as error:
                return explain(request, error)

        return answer_or_explain


def explain(request: Request, error: Exception) -> HTMLResponse:
    """A page that says what went wrong, under the status of the error."""
    key = ""
    values: dict[str, object] = {"text": str(error)}
    if isinstance(error, HTTPException):
        status, values = error.status_code, {"text": str(error.detail)}
    elif isinstance(error, RequestValidationError):
        fields = ", ".join(str(item["loc"][-1]) for item in error.errors())
        status, key, values = 422, "bad_input", {"fields": fields}
    elif isinstance(error, PageRefused):
        status, key, values = 403, error.key, error.values
    else:
        status = status_of(error)
    return show(request, "error.html", None, status=status, key=key, values=values)
