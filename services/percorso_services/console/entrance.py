"""Who may come in: the one-time link opens a session, a cookie keeps it."""

from collections.abc import Awaitable, Callable
from hashlib import sha256
from hmac import compare_digest
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from percorso_services.console.pages import Pages
from percorso_shared.control import WORKSPACE
from percorso_shared.control.first_visit import consume_first_visit
from percorso_shared.control.session import LIFE, close_session, session_is_valid
from percorso_shared.process import Context

Endpoint = Callable[[Request], Awaitable[Response]]
LONGEST_FORM = 10_000


def csrf_token(session: str) -> str:
    """Goes along with every form; another site can neither read it nor make it."""
    return sha256(b"csrf\x1f" + session.encode()).hexdigest()


class Entrance:
    def __init__(self, context: Context, pages: Pages) -> None:
        self._context, self._pages = context, pages
        self._cookie = f"percorso_session_{context.settings.private_port}"
        """Cookies know no ports: two installations on one machine have one each."""

    def guard(self, endpoint: Endpoint) -> Endpoint:
        """`endpoint` for visitors with a session; anybody else is told how to get one."""

        async def guarded(request: Request) -> Response:
            session = request.cookies.get(self._cookie, "")
            if not session or not await self._is_valid(session):
                return self._pages.answer(request, "note.html", status=401, title="closed_title", lead="closed_lead",
                                          folder=str(self._context.settings.data_dir))
            request.state.csrf = csrf_token(session)
            return await endpoint(request)

        return guarded

    async def first_visit(self, request: Request) -> Response:
        """The link works once. Whoever is in already comes in all the same, and the link stays good."""
        session = request.cookies.get(self._cookie, "")
        if session and await self._is_valid(session):
            return RedirectResponse("/", 303)
        async with self._context.pool.acquire() as connection:
            opened = await consume_first_visit(
                connection, WORKSPACE, request.query_params.get("token", ""), self._context.clock.now_ms())
        if opened is None:
            return self._pages.answer(request, "note.html", status=403, title="used_title", lead="used_lead",
                                      folder=str(self._context.settings.data_dir))
        response = RedirectResponse("/", 303, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
        response.set_cookie(self._cookie, opened, max_age=int(LIFE.total_seconds()), httponly=True, samesite="lax",
                            secure=request.url.scheme == "https", path="/")
        return response

    async def logout(self, request: Request) -> Response:
        session = request.cookies.get(self._cookie, "")
        if session and await self._form_is_ours(request, session):
            async with self._context.pool.acquire() as connection:
                await close_session(connection, WORKSPACE, session)
            response: Response = RedirectResponse("/", 303)
            response.delete_cookie(self._cookie, path="/")
            return response
        return self._pages.answer(request, "note.html", status=403, title="forged_title", lead="forged_lead")

    async def _form_is_ours(self, request: Request, session: str) -> bool:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > LONGEST_FORM:
                return False
        given = parse_qs(body.decode("utf-8", "replace")).get("csrf", [""])[0]
        return compare_digest(given.encode(), csrf_token(session).encode())

    async def _is_valid(self, session: str) -> bool:
        async with self._context.pool.acquire() as connection:
            return await session_is_valid(connection, WORKSPACE, session, self._context.clock.now_ms())
