"""Who is asking: a bearer token, looked up for each request, and the scope it must have."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from batch_assets.ops.access import Token, find_token
from batch_assets.ops.api.context import ApiContext, context_of
from batch_assets.ops.scope import Scope

_BEARER = HTTPBearer(auto_error=False, description="A token made by `batch-assets tokens create`.")


def require(scope: Scope) -> Callable[..., Token]:
    """A dependency that gives the token of a request, or refuses the request.

    401 where there is no token in force, 403 where it does not allow enough.
    """

    def token_of(
        context: Annotated[ApiContext, Depends(context_of)],
        sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> Token:
        token = None
        if sent is not None:
            with context.transaction() as conn:
                token = find_token(conn, sent.credentials)
        if token is None:
            raise HTTPException(
                401,
                "no valid token was sent, expected `Authorization: Bearer ba_...`; make one with "
                "`batch-assets tokens create`",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if not token.scope.includes(scope):
            raise HTTPException(
                403,
                f"the token {token.name!r} has the scope {token.scope}, expected {scope}; use "
                "another one",
            )
        return token

    return token_of


Reader = Annotated[Token, Depends(require(Scope.READ))]
Launcher = Annotated[Token, Depends(require(Scope.LAUNCH))]
Administrator = Annotated[Token, Depends(require(Scope.ADMIN))]
