"""One touchpoint and what became of it."""

import re

from starlette.requests import Request
from starlette.responses import Response

from percorso_services.console.pages import Pages
from percorso_services.console.reads.journeys import decisions_caused_by
from percorso_services.console.reads.touchpoints import one_touchpoint
from percorso_shared.clock import to_datetime
from percorso_shared.process import Context

_KEY = re.compile(r"(\d{1,15})-([0-9a-f]{32})")
SHOWN = ("properties", "traits", "set_once", "add", "context")


class TouchpointPages:
    def __init__(self, context: Context, pages: Pages) -> None:
        self._context, self._pages = context, pages

    async def page(self, request: Request) -> Response:
        key = _KEY.fullmatch(request.path_params["key"])
        found, decisions = None, []
        if key:
            async with self._context.pool.acquire() as connection:
                found = await one_touchpoint(connection, to_datetime(int(key[1])), bytes.fromhex(key[2]))
                if found is not None:
                    decisions = await decisions_caused_by(connection, found)
        if found is None:
            return self._pages.answer(request, "note.html", status=404, title="missing_title", lead="missing_lead")
        return self._pages.answer(request, "touchpoint.html", touchpoint=found, decisions=decisions,
                                  parts=[(name, found.body[name]) for name in SHOWN if found.body.get(name)])
