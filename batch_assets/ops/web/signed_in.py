"""Who looks at a page: cookies in, sessions out, and forms that only our own pages can send."""

import secrets
from datetime import datetime
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, HTTPException, Request, Response

from batch_assets.ops.access import Token
from batch_assets.ops.api.context import ApiContext, context_of
from batch_assets.ops.sessions import Session, find_session, session_end

SESSION_COOKIE = "ba_session"
# Ties a form of the sign-in page to the browser that asked for it, before there is a session.
FORM_COOKIE = "ba_form"

# Forms hold a token, or a range and some symbols.
_FORM_BYTES = 64 * 1024
_FORM_FIELDS = 20


class SignInNeeded(Exception):
    """Nobody is signed in."""


class PageRefused(Exception):
    """A form that is not carried out, and the words that say why.

    Attributes:
        key: Of texts.py.
        values: What its words want to know.
    """

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key)
        self.key = key
        self.values = values


def signed_in(request: Request, context: Annotated[ApiContext, Depends(context_of)]) -> Session:
    """The session of a request; a dependency of pages.

    Raises:
        SignInNeeded: There is none in force.
    """
    secret = request.cookies.get(SESSION_COOKIE, "")
    session = None
    if secret:
        with context.transaction() as conn:
            session = find_session(conn, secret)
    if session is None:
        raise SignInNeeded
    return session


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a small urlencoded form; the last one of each name."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > _FORM_BYTES:
            raise HTTPException(
                413,
                f"the form is larger than {_FORM_BYTES} bytes; shorten it",
                headers={"Connection": "close"},
            )
    try:
        text = content.decode("utf-8")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_FORM_FIELDS))
    except ValueError:
        raise HTTPException(400, "the body is not the form of this page; send it again") from None


Form = Annotated[dict[str, str], Depends(read_form)]
Visitor = Annotated[Session, Depends(signed_in)]


def check_form(session: Session, form: dict[str, str]) -> None:
    """Let through what a form of this very session sent.

    Raises:
        PageRefused: Another page sent it, or one of a session before.
    """
    if not secrets.compare_digest(form.get("csrf", "").encode(), session.csrf.encode()):
        raise PageRefused("form_stale")


def _launching(session: Visitor, form: Form) -> Session:
    """The session of a request that changes something."""
    check_form(session, form)
    if not session.may_launch:
        raise PageRefused("scope_short", actor=session.actor)
    return session


Launching = Annotated[Session, Depends(_launching)]


def set_session(
    request: Request, response: Response, secret: str, token: Token, now: datetime
) -> None:
    """Send the cookie of a session that has begun."""
    response.set_cookie(
        SESSION_COOKIE,
        secret,
        max_age=max(0, int((session_end(now, token) - now).total_seconds())),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def set_form_secret(request: Request, response: Response) -> str:
    """What the sign-in form has to carry: the cookie's value, which only our own page knows."""
    secret = request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(32)
    response.set_cookie(
        FORM_COOKIE,
        secret,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return secret


def is_own_form(request: Request, form: dict[str, str]) -> bool:
    """Whether a sign-in form carries what its cookie says."""
    expected = request.cookies.get(FORM_COOKIE, "")
    sent = form.get("csrf", "")
    return bool(expected) and secrets.compare_digest(sent.encode(), expected.encode())
