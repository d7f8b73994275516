"""Which address shows which page, and who may see it."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from percorso_services.console.entrance import Entrance
from percorso_services.console.live import LivePages
from percorso_services.console.mailbox import MailboxPages
from percorso_services.console.pages import Pages
from percorso_services.console.person import PersonPages
from percorso_services.console.touchpoint import TouchpointPages
from percorso_shared.control.first_visit import PATH
from percorso_shared.process import ASGIApp, Context


def console_app(context: Context) -> ASGIApp:
    """Everything but the first visit and the files it needs is for visitors with a session."""
    pages = Pages(context)
    entrance = Entrance(context, pages)
    live, people = LivePages(context, pages), PersonPages(context, pages)
    mails, touchpoints = MailboxPages(context, pages), TouchpointPages(context, pages)

    async def missing(request: Request) -> Response:
        return pages.answer(request, "note.html", status=404, title="missing_title", lead="missing_lead")

    inside = entrance.guard
    return Starlette(routes=[
        Route("/static/{name}", pages.static),
        Route(PATH, entrance.first_visit, methods=["GET"]),
        Route("/logout", entrance.logout, methods=["POST"]),
        Route("/", inside(live.page)),
        Route("/live/list", inside(live.rows)),
        Route("/live/stream", inside(live.stream)),
        Route("/touchpoints/{key}", inside(touchpoints.page)),
        Route("/people", inside(people.search)),
        Route("/people/{identifier:path}", inside(people.page)),
        Route("/mailbox", inside(mails.page)),
        Route("/mailbox/{mail}", inside(mails.page)),
        Route("/mailbox/{mail}/html", inside(mails.html)),
        Route("/{path:path}", inside(missing)),
    ])
