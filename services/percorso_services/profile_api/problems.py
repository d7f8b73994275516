"""What the query API answers when it cannot do what was asked (RFC 9457, `application/problem+json`)."""

from typing import ClassVar

import msgspec
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

TITLES = {400: "the request is wrong", 401: "no valid key", 403: "this key may not do that",
          404: "there is no such thing", 405: "this address does not take that method", 503: "unavailable for now",
          504: "not yet"}


class Problem(Exception):
    """Ends a request. The message is the `detail` that the caller reads."""

    status: ClassVar[int]
    slug: ClassVar[str]
    headers: ClassVar[dict[str, str]] = {}


class BadRequest(Problem):
    """A parameter cannot be understood."""

    status, slug = 400, "bad-request"


class Unauthorised(Problem):
    """There is no valid key."""

    status, slug = 401, "unauthorised"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}


class Forbidden(Problem):
    """The key's scope does not reach that far."""

    status, slug = 403, "forbidden"


class NotFound(Problem):
    """Nothing is known by that name."""

    status, slug = 404, "not-found"


class Unavailable(Problem):
    """The database or the bus cannot be reached now."""

    status, slug = 503, "unavailable"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class NotYet(Problem):
    """The receipt is not folded in yet."""

    status, slug = 504, "not-yet"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


def problem_response(status: int, slug: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    body = msgspec.json.encode({
        "type": f"urn:percorso:problem:{slug}", "title": TITLES.get(status, "that did not work"), "status": status,
        "detail": detail})
    return Response(body, status, headers, media_type="application/problem+json")


async def on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error.status, error.slug, str(error), error.headers)


async def on_wrong_parameters(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    reasons = (f"{'.'.join(str(part) for part in item['loc'][1:])}: {item['msg']}" for item in error.errors())
    return problem_response(400, "bad-request", "; ".join(reasons))


async def on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    slug = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "http")
    return problem_response(error.status_code, slug, str(error.detail), dict(error.headers or {}))


async def on_failure(_: Request, error: Exception) -> Response:
    """What nobody foresaw. The host logs it."""
    return problem_response(500, "failure", f"the server failed ({type(error).__name__}); its log says more")


async def on_database_trouble(_: Request, error: Exception) -> Response:
    return problem_response(503, "unavailable", f"the database cannot answer now ({type(error).__name__}); try again",
                            Unavailable.headers)
