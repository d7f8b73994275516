"""What the public port serves besides touchpoints: answers that SDKs want at their start, the beacon, the demo shop."""

from importlib import import_module
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Mount

from percorso_ingest.sources import Sources
from percorso_ingest.write_key import key_of_request
from percorso_services.ingest_api.public_address import api_host, public_origin
from percorso_services.ingest_api.sdk_settings import rudder_source_config, segment_settings
from percorso_shared.process import ASGIApp, Context

_BEACON = "static/p.js"
_HOUR = "public, max-age=3600"


def public_routes(context: Context, sources: Sources) -> ASGIApp:
    """No documentation of itself: the public port serves no administration."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False  # never an answer 3xx
    beacon = files("percorso_services.ingest_api") / _BEACON
    script = beacon.read_bytes() if beacon.is_file() else None

    @app.get("/v1/projects/{write_key}/settings")
    async def settings(write_key: str, request: Request) -> Response:
        """Without it Segment's browser SDK sends nothing at all."""
        if sources.by_key(write_key) is None:
            raise HTTPException(404, "there is no source with this write key")
        origin = public_origin(context.settings, request)
        return JSONResponse(segment_settings(write_key, api_host(origin), origin.split(":", 1)[0]))

    @app.get("/sourceConfig/")
    @app.get("/sourceConfig")
    async def source_config(request: Request) -> Response:
        """What RudderStack's SDKs ask for at their start."""
        key = key_of_request(dict(request.scope["headers"]), request.scope["query_string"])
        source = sources.by_key(key) if key else None
        if source is None:
            raise HTTPException(401, "a valid write key is needed")
        return JSONResponse(rudder_source_config(source, public_origin(context.settings, request)))

    @app.api_route("/p.js", methods=["GET", "HEAD"])
    async def beacon_script() -> Response:
        if script is None:
            raise HTTPException(404, "the beacon has not been built")
        return Response(script, media_type="text/javascript", headers={"cache-control": _HOUR})

    @app.exception_handler(HTTPException)
    async def say(request: Request, error: HTTPException) -> Response:
        code = {401: "unauthorized", 404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "error")
        message = "there is nothing here" if error.detail == "Not Found" else str(error.detail)
        return JSONResponse({"code": code, "message": message}, error.status_code, headers=error.headers)

    if context.settings.embedded_bus:  # one machine, somebody's first look; a cluster serves real visitors only
        app.router.routes.append(Mount("/demo", routes=_demo_routes(context)))
    return app


def _demo_routes(context: Context) -> list[Any]:
    """The demo shop is a module of its own, which is asked only here."""
    routes: list[Any] = import_module("percorso_services.ingest_api.demo").routes(context)
    return routes
