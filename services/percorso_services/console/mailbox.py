"""The mailbox: what would have been sent, had a mail server been set."""

import re

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from percorso_services.console.pages import HEADERS, Pages
from percorso_services.console.reads.mails import WholeMail, newest_mails, one_mail
from percorso_shared.process import Context

_ID = re.compile(r"[0-9a-f]{32}")
MAIL_POLICY = ("sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
               "img-src data: http: https:; frame-ancestors 'self'")
"""A mail is somebody else's HTML: no script, no forms, no reach into the console."""


class MailboxPages:
    def __init__(self, context: Context, pages: Pages) -> None:
        self._context, self._pages = context, pages

    async def page(self, request: Request) -> Response:
        """The list, and beside it the mail that was chosen. To htmx the mail alone."""
        to, mail_id = request.query_params.get("to", "")[:320].strip().lower(), request.path_params.get("mail")
        alone = mail_id is not None and request.headers.get("hx-request") == "true"
        async with self._context.pool.acquire() as connection:
            chosen = await one_mail(connection, bytes.fromhex(mail_id)) if mail_id and _ID.fullmatch(mail_id) else None
            mails = [] if alone else await newest_mails(connection, to)
        if mail_id is not None and chosen is None:
            return self._pages.answer(request, "note.html", status=404, title="missing_title", lead="missing_lead")
        if alone:
            return self._pages.answer(request, "mail.html", mail=chosen)
        return self._pages.answer(request, "mailbox.html", mails=mails, mail=chosen, to=to,
                                  smtp=bool(self._context.settings.smtp_url))

    async def html(self, request: Request) -> Response:
        """The mail as its reader sees it, for the frame."""
        mail_id = request.path_params["mail"]
        mail = None
        if _ID.fullmatch(mail_id):
            async with self._context.pool.acquire() as connection:
                mail = await one_mail(connection, bytes.fromhex(mail_id))
        if mail is None:
            return Response("", 404)
        return HTMLResponse(_with_links_outside(mail), headers={**HEADERS, "Content-Security-Policy": MAIL_POLICY})


def _with_links_outside(mail: WholeMail) -> str:
    """Links open a page of their own, not inside the frame."""
    base = '<base target="_blank">'
    found = re.search(r"<head[^>]*>", mail.html, re.IGNORECASE)
    return mail.html[:found.end()] + base + mail.html[found.end():] if found else base + mail.html
