"""Who asks: the bearer key of a request, and how far it reaches."""

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from percorso_services.profile_api.problems import Forbidden, Unauthorised
from percorso_shared.control.access import Grant

_BEARER = HTTPBearer(auto_error=False, description="a secret key: `percorso key create --scope read`")


async def reader(request: Request,
                 credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]) -> Grant:
    """Raises Unauthorised, Forbidden."""
    if credentials is None:
        raise Unauthorised("send the header Authorization: Bearer <secret key>")
    grant: Grant | None = await request.app.state.access.verify(credentials.credentials)
    if grant is None:
        raise Unauthorised("this secret key is unknown or revoked")
    if not grant.allows("read"):
        raise Forbidden("this key may not read")
    return grant


async def administrator(grant: Annotated[Grant, Depends(reader)]) -> Grant:
    if not grant.allows("admin"):
        raise Forbidden("this needs a key of scope admin")
    return grant


Reader = Annotated[Grant, Depends(reader)]
Administrator = Annotated[Grant, Depends(administrator)]
