"""People who walk through the demo shop over HTTP: each page, and each touchpoint as the beacon sends it."""

import asyncio
import random
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import httpx
import msgspec

Fate = Literal["soon", "late", "never"]
"""Confirms before the reminder, after it, or not at all."""

FATES: tuple[Fate, ...] = ("soon", "late", "never")

Seen = Callable[[str], None]
"""Called with `registered` and `confirmed` as people get there."""

_FIRST = ("Ada", "Bruno", "Carla", "Dario", "Elena", "Fabio", "Grace", "Henry", "Irene", "Jack", "Laura", "Marco",
          "Nina", "Oscar", "Paola", "Rosa", "Sam", "Teresa", "Thomas", "Vera")
_LAST = ("Bianchi", "Conti", "Ferri", "Greco", "Keller", "Moretti", "Reed", "Rossi", "Sala", "Smith", "Villa", "Wood")
_REGISTRATION = re.compile(r'action="[^"]*/register\?r=([A-Za-z0-9_-]+)"')
_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"


class ShopTrouble(Exception):
    """The shop, or the port that takes touchpoints, did not answer as it should; the message says what it said."""


@dataclass(frozen=True)
class Pace:
    """Seconds. The shipped journey reminds after 20 and writes again 40 later."""

    arrivals: float = 0.1
    """Between one person and the next."""
    reading: tuple[float, float] = (0.2, 1.5)
    """On each page."""
    soon: tuple[float, float] = (2.0, 14.0)
    """After registering, for who confirms before the reminder."""
    late: tuple[float, float] = (28.0, 48.0)
    """For who confirms between the reminder and the second mail."""
    reminds: float = 20.0
    """When the reminder leaves."""
    ends: float = 60.0
    """When the journey has said all it has to say."""


@dataclass(frozen=True)
class Walker:
    anonymous_id: str
    name: str
    email: str
    language: Literal["it", "en"]
    zone: str
    consent: bool
    product: str
    fate: Fate


def cast(people: int, seed: int) -> list[Walker]:
    """Two in five confirm soon, three in ten late, the rest never; about three in four agree to marketing. Another seed
    makes other people."""
    chance = random.Random(seed)
    soon, late = round(people * 0.4), round(people * 0.3)
    fates: list[Fate] = []
    for fate, count in zip(FATES, (soon, late, people - soon - late), strict=True):
        fates += [fate] * count
    chance.shuffle(fates)
    mark = f"{seed & 0xFFFFFF:06x}"
    walkers = []
    for number, fate in enumerate(fates):
        first, last = chance.choice(_FIRST), chance.choice(_LAST)
        italian = chance.random() < 0.6
        walkers.append(Walker(
            str(UUID(int=chance.getrandbits(128), version=4)), f"{first} {last}",
            f"{first}.{last}.{mark}{number}@example.com".lower(), "it" if italian else "en",
            "Europe/Rome" if italian else "Europe/London", chance.random() < 0.75,
            chance.choice(("olio", "miele", "pasta")), fate))
    return walkers


@dataclass(frozen=True)
class Walked:
    """What somebody really did: a busy machine makes people slow."""

    walker: Walker
    confirmed_after: tuple[float, float] | None
    """Seconds between the form and the confirmation, at least and at most: for Percorso each happened somewhere
    between the request and its answer. None: never."""


async def walk(walkers: Sequence[Walker], *, public: str, write_key: str, pace: Pace, seen: Seen,
               together: int = 40) -> list[Walked]:
    """Returns when everybody has done what they came for. At most `together` requests are under way at the same time.
    Raises ShopTrouble at the first answer that is none."""
    gate = asyncio.Semaphore(together)
    limits = httpx.Limits(max_connections=together, max_keepalive_connections=together)
    async with (httpx.AsyncClient(base_url=public, limits=limits, timeout=30, headers={"User-Agent": _AGENT}) as client,
                asyncio.TaskGroup() as group):
        visits = [group.create_task(_Visit(client, write_key, walker, pace, gate).walk(number * pace.arrivals, seen))
                  for number, walker in enumerate(walkers)]
    return [visit.result() for visit in visits]


class _Visit:
    """One person's browser."""

    def __init__(self, client: httpx.AsyncClient, write_key: str, walker: Walker, pace: Pace,
                 gate: asyncio.Semaphore) -> None:
        self._client, self._key, self._walker, self._pace, self._gate = client, write_key, walker, pace, gate
        self._chance = random.Random(walker.anonymous_id)
        self._before = ""

    async def walk(self, begins: float, seen: Seen) -> Walked:
        await asyncio.sleep(begins)
        walker = self._walker
        await self._visit("/demo/")
        await self._read()
        await self._visit(f"/demo/product/{walker.product}")
        await self._send(self._track("Product Viewed", {"product_id": walker.product, "currency": "EUR"}))
        await self._read()
        page = await self._visit("/demo/register")
        found = _REGISTRATION.search(page)
        if found is None:
            raise ShopTrouble("the registration page of the demo shop has no form")
        registration = {"registration_id": found[1]}
        await self._read()
        await self._send(self._track("form_started", {"form": "registration", "field": "name", **registration}))
        await self._read()
        registered = await self._send(
            self._event("identify", traits={
                "email": walker.email, "name": walker.name, "consent": {"marketing": walker.consent},
                "locale": walker.language, "tz": walker.zone}),
            self._track("form_submitted", {
                "form": "registration", "fields": ["name", "email", "consent"], **registration}))
        await self._request("POST", f"/demo/register?r={found[1]}")
        await self._visit(f"/demo/check-mail?r={found[1]}")
        seen("registered")
        if walker.fate == "never":
            return Walked(walker, None)
        after = self._chance.uniform(*(self._pace.soon if walker.fate == "soon" else self._pace.late))
        await asyncio.sleep(max(0.0, registered[1] + after - time.monotonic()))
        await self._visit(f"/demo/confirm?r={found[1]}")
        confirmed = await self._send(self._track("registration_confirmed", registration))
        await self._request("POST", f"/demo/confirm?r={found[1]}")
        seen("confirmed")
        return Walked(walker, (confirmed[0] - registered[1], confirmed[1] - registered[0]))

    async def _read(self) -> None:
        await asyncio.sleep(self._chance.uniform(*self._pace.reading))

    async def _visit(self, address: str) -> str:
        """Loads the page, and its beacon says so. Returns the HTML."""
        separator = "&" if "?" in address else "?"
        page = (await self._request("GET", f"{address}{separator}lang={self._walker.language}")).text
        path, _, search = address.partition("?")
        url = f"{self._client.base_url}{address.lstrip('/')}"
        await self._send(self._event("page", properties={
            "url": url, "path": path, "search": f"?{search}" if search else "", "referrer": self._before}))
        self._before = url
        return page

    def _track(self, name: str, properties: dict[str, Any]) -> dict[str, Any]:
        return self._event("track", event=name, properties=properties)

    def _event(self, kind: str, **body: Any) -> dict[str, Any]:
        return {"type": kind, "messageId": secrets.token_hex(16), "timestamp": _now(),
                "anonymousId": self._walker.anonymous_id, **body,
                "context": {"library": {"name": "percorso-demo", "version": "1"}, "userAgent": _AGENT,
                            "locale": self._walker.language, "timezone": self._walker.zone}}

    async def _send(self, *events: dict[str, Any]) -> tuple[float, float]:
        """When it was sent and when it was answered, on the clock of `time.monotonic`."""
        began = time.monotonic()
        body = msgspec.json.encode({"writeKey": self._key, "sentAt": _now(), "batch": events})
        await self._request("POST", "/v1/batch", body)
        return began, time.monotonic()

    async def _request(self, method: str, address: str, body: bytes | None = None) -> httpx.Response:
        """Waits and tries again while it is told to (429, 503), five times."""
        for attempt in range(5):
            try:
                async with self._gate:
                    answer = await self._client.request(
                        method, address, content=body,
                        headers={"Content-Type": "text/plain;charset=UTF-8"} if body else {})
            except httpx.TransportError as error:
                why = str(error) or type(error).__name__
                raise ShopTrouble(f"{address.split('?')[0]} cannot be reached: {why}") from error
            if answer.status_code not in (429, 503) or attempt == 4:
                break
            await asyncio.sleep(float(answer.headers.get("retry-after", "1")))
        if answer.status_code >= 400:
            raise ShopTrouble(f"{address.split('?')[0]} answered {answer.status_code}: {answer.text[:200]}")
        return answer


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
