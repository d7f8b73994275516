"""The pages of the demo shop. Rendered on the server; what a visitor does reaches Percorso through the beacon only."""

import re
import secrets
from pathlib import Path
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from percorso_services.ingest_api.demo.products import BY_SLUG, PRODUCTS
from percorso_services.ingest_api.demo.texts import LANGUAGES, TEXTS, Language
from percorso_shared.control import WORKSPACE
from percorso_shared.process import Context

FOLDER = Path(__file__).parent
STATIC = {path.name: path for path in sorted((FOLDER / "static").iterdir())}
COOKIE = "demo_lang"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                               "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_REGISTRATION = re.compile(r"[A-Za-z0-9_-]{4,64}")


def new_registration_id() -> str:
    return "r_" + secrets.token_hex(8)


def routes(context: Context) -> list[Route]:
    """To be mounted at /demo."""
    shop = _Shop(context)
    return [
        Route("/", shop.home),
        Route("/product/{slug}", shop.product),
        Route("/register", shop.register, methods=["GET"]),
        Route("/register", shop.registered, methods=["POST"]),
        Route("/check-mail", shop.check_mail),
        Route("/confirm", shop.confirm, methods=["GET"]),
        Route("/confirm", shop.confirmed, methods=["POST"]),
        Route("/welcome", shop.welcome),
        Route("/static/{name}", shop.static),
        Route("/{path:path}", shop.missing),
    ]


class _Shop:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._write_key: str | None = None
        self._pages = jinja2.Environment(
            loader=jinja2.FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=jinja2.StrictUndefined,
            trim_blocks=True, lstrip_blocks=True)

    async def home(self, request: Request) -> Response:
        return await self._page(request, "home.html", products=PRODUCTS)

    async def product(self, request: Request) -> Response:
        product = BY_SLUG.get(request.path_params["slug"])
        if product is None:
            return await self.missing(request)
        return await self._page(request, "product.html", product=product)

    async def register(self, request: Request) -> Response:
        return await self._page(request, "register.html", registration_id=new_registration_id())

    async def registered(self, request: Request) -> Response:
        """The page's own script has told Percorso already; what was posted is read by nobody."""
        registration_id = _registration_of(request)
        return self._on_to(request, f"check-mail?r={registration_id}" if registration_id else "check-mail")

    async def check_mail(self, request: Request) -> Response:
        settings = self._context.settings
        return await self._page(request, "check_mail.html", registration_id=_registration_of(request),
                                mailbox=None if settings.smtp_url else f"{settings.private_address}/mailbox")

    async def confirm(self, request: Request) -> Response:
        """Only a button: mail scanners follow links, so that opening one never confirms."""
        registration_id = _registration_of(request)
        if registration_id is None:
            return await self._note(request, "incomplete", 400)
        return await self._page(request, "confirm.html", registration_id=registration_id)

    async def confirmed(self, request: Request) -> Response:
        return self._on_to(request, "welcome")

    async def welcome(self, request: Request) -> Response:
        return await self._page(request, "welcome.html")

    async def static(self, request: Request) -> Response:
        path = STATIC.get(request.path_params["name"])
        if path is None:
            return await self.missing(request)
        return FileResponse(path, headers={"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"})

    async def missing(self, request: Request) -> Response:
        return await self._note(request, "missing", 404)

    async def _note(self, request: Request, which: str, status: int) -> Response:
        return await self._page(request, "note.html", status=status, which=which)

    def _on_to(self, request: Request, page: str) -> Response:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/{page}", 303, headers=HEADERS)

    async def _page(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        key = await self._key()
        if key is None:
            template, status, values = "note.html", 503, {"which": "no_source"}
        language, chosen = _language_of(request)
        other: Language = "en" if language == "it" else "it"
        html = self._pages.get_template(template).render(
            base=request.scope.get("root_path", ""), lang=language, other=other, t=TEXTS[language], write_key=key,
            here=str(request.url.include_query_params(lang=other).query), **values)
        response = HTMLResponse(html, status, headers={**HEADERS, "Content-Language": language})
        if chosen:
            response.set_cookie(COOKIE, language, max_age=365 * 86_400, samesite="lax", path="/")
        return response

    async def _key(self) -> str | None:
        """Of the source `website`, or of the first browser source; kept once found."""
        if self._write_key is None:
            self._write_key = await self._context.pool.fetchval(
                "SELECT write_key FROM ingest.source WHERE workspace_id = $1 AND kind = 'browser' AND enabled "
                "ORDER BY name <> 'website', created_at, name LIMIT 1", WORKSPACE)
        return self._write_key


def _registration_of(request: Request) -> str | None:
    given = request.query_params.get("r", "")
    return given if _REGISTRATION.fullmatch(given) else None


def _language_of(request: Request) -> tuple[Language, bool]:
    """The language, and whether it was chosen just now. Italian, unless the visitor chose English."""
    for given, chosen in ((request.query_params.get("lang"), True), (request.cookies.get(COOKIE), False)):
        for language in LANGUAGES:
            if given == language:
                return language, chosen
    return "it", False
