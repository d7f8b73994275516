"""The query API: one FastAPI app on the private port."""

from pathlib import Path
from typing import Any

import asyncpg
from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from percorso_services.profile_api import accounting, events, journeys, profiles, quarantine
from percorso_services.profile_api.address import keep_encoded
from percorso_services.profile_api.problems import (
    Problem,
    on_database_trouble,
    on_failure,
    on_http_error,
    on_problem,
    on_wrong_parameters,
)
from percorso_services.profile_api.shapes import PROBLEMS, ProblemDetail
from percorso_shared.control.access import Access
from percorso_shared.process import ASGIApp, Context

_PAGE = Path(__file__).with_name("docs.html")


def make_app(context: Context) -> FastAPI:
    """The app without the handling of encoded addresses: for OpenAPI and tests of routes."""
    app = FastAPI(title="Percorso query API", version="1", docs_url=None, redoc_url=None, openapi_url="/openapi.json",
                  responses=PROBLEMS,
                  description="Profiles, touchpoints and journeys of a workspace. "
                              "Errors are problem details (RFC 9457).")
    app.state.pool, app.state.bus, app.state.settings = context.pool, context.bus, context.settings
    app.state.clock = context.clock
    app.state.access = Access(context.pool)
    for router in (profiles.router, events.router, journeys.router, quarantine.router, accounting.router):
        app.include_router(router)
    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, on_wrong_parameters)
    app.add_exception_handler(HTTPException, on_http_error)
    for trouble in (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.QueryCanceledError,
                    asyncpg.TooManyConnectionsError, asyncpg.CannotConnectNowError, asyncpg.AdminShutdownError):
        app.add_exception_handler(trouble, on_database_trouble)
    app.add_exception_handler(Exception, on_failure)
    page = _PAGE.read_bytes()

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(page, media_type="text/html; charset=utf-8")

    _describe_problems(app)
    return app


def _describe_problems(app: FastAPI) -> None:
    """Every error has one shape: FastAPI's own for wrong parameters is never sent."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        described = generate()
        described["components"]["schemas"]["ProblemDetail"] = ProblemDetail.model_json_schema()
        for operations in described["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        return described

    app.openapi = openapi  # type: ignore[method-assign]


def api_app(context: Context) -> ASGIApp:
    return keep_encoded(make_app(context))
