"""How a page is made: templates, language, theme, headers."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from percorso_services.console.language import Language, language_of, other_than
from percorso_services.console.texts import TEXTS
from percorso_shared.process import Context

FOLDER = Path(__file__).parent
STATIC = {path.name: path for path in sorted((FOLDER / "static").iterdir())}
LANGUAGE_COOKIE, THEME_COOKIE = "percorso_lang", "percorso_theme"
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
          "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store"}


class Pages:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=jinja2.StrictUndefined,
            trim_blocks=True, lstrip_blocks=True)
        self._templates.filters.update(when=when, value=show_value, address=person_address,
                                       called=short_name)

    def answer(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        """A page, or a part of one, in the visitor's language."""
        language, chosen = language_of(request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE),
                                       request.headers.get("accept-language", ""))
        response = HTMLResponse(self.render(request, template, language, **values), status, headers={
            **HEADERS, "Content-Security-Policy": POLICY, "Content-Language": language,
            "Vary": "Accept-Language, Cookie, HX-Request"})
        if chosen:
            response.set_cookie(LANGUAGE_COOKIE, language, max_age=365 * 86_400, samesite="lax", path="/")
        return response

    def render(self, request: Request, template: str, language: Language | None = None, **values: Any) -> str:
        if language is None:
            language, _ = language_of(request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE),
                                      request.headers.get("accept-language", ""))
        theme = request.cookies.get(THEME_COOKIE)
        other = other_than(language)
        return self._templates.get_template(template).render(
            lang=language, other=other, t=TEXTS[language], path=request.url.path,
            other_query=request.url.include_query_params(lang=other).query,
            theme=theme if theme in ("light", "dark") else "", csrf=getattr(request.state, "csrf", ""),
            shop=f"{self._context.settings.public_address}/demo/", **values)

    async def static(self, request: Request) -> Response:
        path = STATIC.get(request.path_params["name"])
        if path is None:
            return Response("", 404)
        return FileResponse(path, headers={"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"})


def when(instant: datetime | None) -> Markup:
    """A <time> that says UTC; the page's script makes it the reader's own."""
    if instant is None:
        return Markup("")
    return Markup('<time datetime="{}">{} UTC</time>').format(
        instant.isoformat(), instant.strftime("%Y-%m-%d %H:%M:%S"))


def show_value(value: Any) -> str:
    """A trait or property as a person reads it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


def short_name(identifier: Mapping[str, Any]) -> str:
    """What a list calls somebody: the long random id of a browser or device is cut."""
    value = str(identifier["value"])
    return f"{value[:8]}…" if identifier["type"] in ("anonymous_id", "device_id") and len(value) > 12 else value


def person_address(identifier: Mapping[str, Any]) -> str:
    """`/people/email:ada@example.com` of a mapping with `type` and `value`."""
    return f"/people/{quote(identifier['type'], safe='')}:{quote(identifier['value'], safe='@+')}"
