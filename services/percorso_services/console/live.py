"""Touchpoints as they arrive."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from percorso_services.console.pages import HEADERS, Pages
from percorso_services.console.reads.touchpoints import Touchpoint, newest_touchpoints, source_names
from percorso_services.sources import list_sources
from percorso_shared.control import WORKSPACE
from percorso_shared.process import Context

PER_SECOND = 50
"""More than that in a second are counted, not shown: a page is for reading."""
STREAMS = 20
"""Pages that may watch at the same time."""
LIFE_SECONDS = 1_800
"""A stream ends after half an hour; the page opens another."""


class LivePages:
    def __init__(self, context: Context, pages: Pages) -> None:
        self._context, self._pages = context, pages
        self._streams = 0

    async def page(self, request: Request) -> Response:
        source, name = _filters(request)
        async with self._context.pool.acquire() as connection:
            found = await newest_touchpoints(connection, source, name)
            sources = await source_names(connection)
            keys = await list_sources(connection, WORKSPACE) if not found else []
        return self._pages.answer(
            request, "live.html", touchpoints=found, sources=sources, source=source, name=name,
            public=self._context.settings.public_address,
            write_key=next((key.write_key for key in keys if key.kind == "browser" and key.enabled), ""))

    async def rows(self, request: Request) -> Response:
        """The list alone, for a changed filter."""
        source, name = _filters(request)
        async with self._context.pool.acquire() as connection:
            found = await newest_touchpoints(connection, source, name)
        return self._pages.answer(request, "live_rows.html", touchpoints=found)

    async def stream(self, request: Request) -> Response:
        """Server-sent events `rows`: the new ones as list items, oldest first. Ends when the process stops."""
        if self._streams >= STREAMS:
            return Response("too many pages are watching", 503, headers={"Retry-After": "60", **HEADERS})
        return StreamingResponse(self._events(request), headers={
            **HEADERS, "X-Accel-Buffering": "no"}, media_type="text/event-stream")

    async def _events(self, request: Request) -> AsyncIterator[str]:
        source, name = _filters(request)
        stop, seen = self._context.stop, deque[str](maxlen=20 * PER_SECOND)
        first = True
        self._streams += 1
        try:
            yield "retry: 2000\n\n"
            for _ in range(LIFE_SECONDS):
                async with self._context.pool.acquire() as connection:
                    found = await newest_touchpoints(connection, source, name, PER_SECOND)
                new = _unseen(found, seen)
                if new and not (first and request.query_params.get("since") == new[0].key):
                    html = self._pages.render(request, "live_rows.html", touchpoints=new)
                    yield _event("rows", html)
                else:
                    yield ": nothing new\n\n"
                first = False
                if await _stopped(stop, 1.0):
                    return
        finally:
            self._streams -= 1


def _unseen(found: Iterable[Touchpoint], seen: deque[str]) -> list[Touchpoint]:
    """Those not given before, newest first; late ones among them."""
    known = set(seen)
    new = [touchpoint for touchpoint in found if touchpoint.event_id not in known]
    seen.extend(touchpoint.event_id for touchpoint in new)
    return new


def _event(name: str, data: str) -> str:
    lines = "\n".join(f"data: {line}" for line in data.splitlines())
    return f"event: {name}\n{lines}\n\n"


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _filters(request: Request) -> tuple[str, str]:
    return request.query_params.get("source", "")[:100], request.query_params.get("name", "")[:200].strip()
