"""One person's page, and how to get there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from percorso_services.console.pages import Pages, person_address
from percorso_services.console.reads.journeys import decisions_without_run, runs_of
from percorso_services.console.reads.mails import Mail, newest_mails
from percorso_services.console.reads.people import Person, find_profile, read_person, timeline_of
from percorso_services.console.reads.recent_people import recent_people
from percorso_services.console.reads.touchpoints import Touchpoint
from percorso_shared.clock import to_ms
from percorso_shared.process import Context

PAGE = 50
LONGEST = 400


@dataclass(frozen=True)
class Moment:
    """One line of the timeline: a touchpoint, or a mail to the person, or the touchpoint that says it was sent."""

    at: datetime
    touchpoint: Touchpoint | None = None
    mail: Mail | None = None


class PersonPages:
    def __init__(self, context: Context, pages: Pages) -> None:
        self._context, self._pages = context, pages

    async def search(self, request: Request) -> Response:
        """A search that finds somebody goes on to their page."""
        text = request.query_params.get("q", "")[:LONGEST].strip()
        async with self._context.pool.acquire() as connection:
            if text:
                profile = await find_profile(connection, text)
                if profile is not None:
                    person = await read_person(connection, profile)
                    return RedirectResponse(_address_of(person), 303)
            recent = await recent_people(connection)
        return self._pages.answer(request, "people.html", 404 if text else 200, q=text, recent=recent)

    async def page(self, request: Request) -> Response:
        """`?before=` (ms) shows what is older; to htmx the timeline alone is given."""
        asked = request.path_params["identifier"][:LONGEST]
        before = request.query_params.get("before", "")
        before_ms = int(before) if before.isdecimal() and len(before) < 16 else None
        alone = request.headers.get("hx-request") == "true"
        async with self._context.pool.acquire() as connection:
            profile = await find_profile(connection, asked)
            if profile is None:
                return self._pages.answer(request, "people.html", 404, q=asked,
                                          recent=await recent_people(connection))
            person = await read_person(connection, profile)
            touchpoints = await timeline_of(connection, profile, before_ms, PAGE + 1)
            mails = [mail for address in person.addresses[:5] for mail in await newest_mails(connection, address, PAGE)]
            values: dict[str, Any] = {}
            if not alone:
                values = {"runs": await runs_of(connection, profile),
                          "refusals": await decisions_without_run(connection, profile)}
        moments, older = merge(touchpoints, mails, before_ms)
        return self._pages.answer(request, "timeline.html" if alone else "person.html", person=person, moments=moments,
                                  older=older, home=_address_of(person), **values)


def merge(touchpoints: Sequence[Touchpoint], mails: Sequence[Mail], before_ms: int | None,
          ) -> tuple[list[Moment], int | None]:
    """One page of the timeline, newest first, and the instant before which the next one begins (None: that was all).
    Mails stand among the touchpoints of the same span of time; the touchpoint that tells of a mail stands for it."""
    shown, sent = touchpoints[:PAGE], {mail.send_id: mail for mail in mails if mail.send_id}
    older = to_ms(touchpoints[PAGE].event_time) + 1 if len(touchpoints) > PAGE else None
    moments = [Moment(touchpoint.event_time, touchpoint, _mail_of(touchpoint, sent)) for touchpoint in shown]
    told = {moment.mail.mail_id for moment in moments if moment.mail}
    moments += [Moment(mail.at, mail=mail) for mail in mails if mail.mail_id not in told
                and (before_ms is None or to_ms(mail.at) < before_ms)
                and (older is None or to_ms(mail.at) >= older)]
    return sorted(moments, key=lambda moment: moment.at, reverse=True), older


def _mail_of(touchpoint: Touchpoint, sent: Mapping[str, Mail]) -> Mail | None:
    """The mail whose sending this touchpoint tells."""
    if touchpoint.name != "email_sent":
        return None
    return sent.get(str((touchpoint.body.get("properties") or {}).get("send")))


def _address_of(person: Person) -> str:
    if person.identifiers:
        first = person.identifiers[0]
        return person_address({"type": first.type, "value": first.value})
    return f"/people/{person.profile_id.hex()}"
