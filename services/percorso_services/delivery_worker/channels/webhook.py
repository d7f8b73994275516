"""Webhooks: one POST, signed after Standard Webhooks (standardwebhooks.com). `webhook-id` is the send's idempotency
key: the same in every repetition, as the body is."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import httpx
import msgspec
from standardwebhooks import Webhook

from percorso_orchestrator.delivery_ledger import Claimed
from percorso_services.delivery_worker.channels.reachable_address import Forbidden, Place, place_of, resolve
from percorso_services.delivery_worker.outcome import Later, LeaseLost, Outcome, Refused, Sent
from percorso_shared.crash_points import reach

ANSWER_BYTES = 2_000
_GONE = 410


def body_of(row: Claimed) -> bytes:
    """Made of the ledger row alone, so that every repetition has the same bytes."""
    run = row.payload.get("run") or {}
    return msgspec.json.encode({
        "type": "journey.step",
        "timestamp": row.due_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "data": {
            "journey": row.journey, "version": row.version, "step": row.step, "visit": row.visit,
            "run": row.run_id.hex(), "key": run.get("key"), "person": row.person.hex(),
            "with": row.payload.get("with") or {}, "entry": run.get("entry") or {},
        },
    }, order="deterministic")


class WebhookSender:
    """POSTs. One client for all destinations; each connection is opened to an address that was looked at."""

    def __init__(self, allow: frozenset[tuple[str, int]], *, seconds: float = 20.0) -> None:
        self._allow, self._seconds = allow, seconds
        self._client = httpx.AsyncClient(
            trust_env=False, follow_redirects=False, timeout=httpx.Timeout(seconds, connect=5.0),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=50))

    async def post(self, url: str, secret: str, key: str, body: bytes,
                   begin: Callable[[], Awaitable[bool]]) -> Outcome:
        """`begin` commits the row as `sending`; False = the lease is lost."""
        try:
            place = place_of(url)
            literals = await resolve(place, self._allow)
        except Forbidden as error:
            return Refused(f"refused: {error}")
        except OSError as error:
            return Later(f"the name does not resolve: {error.strerror or error}", began=False)
        if not await begin():
            return LeaseLost()
        reach("delivery.before_data")
        try:
            async with asyncio.timeout(self._seconds):
                outcome = await self._exchange(place, literals[0], secret, key, body)
        except TimeoutError:
            return Later(f"no answer within {self._seconds:g} s", began=True)
        except httpx.HTTPError as error:
            return Later(f"{type(error).__name__}: {_line(str(error))}", began=True)
        reach("delivery.after_data")
        return outcome

    async def _exchange(self, place: Place, literal: str, secret: str, key: str, body: bytes) -> Outcome:
        stamp = datetime.now(UTC)
        headers = {
            "Host": place.authority, "Content-Type": "application/json", "User-Agent": "Percorso",
            "webhook-id": key, "webhook-timestamp": str(int(stamp.timestamp())),
            "webhook-signature": Webhook(secret).sign(key, stamp, body.decode()),
        }
        host = f"[{literal}]" if ":" in literal else literal
        async with self._client.stream(
                "POST", f"{place.scheme}://{host}:{place.port}{place.target}", content=body, headers=headers,
                extensions={"sni_hostname": place.host}) as response:
            text = await _beginning(response)
            return _judge(response, f"{response.status_code} {text}".strip())

    async def close(self) -> None:
        await self._client.aclose()


def _judge(response: httpx.Response, said: str) -> Outcome:
    status = response.status_code
    if 200 <= status < 300:
        return Sent(said)
    if 300 <= status < 400:
        return Refused("it answers with a redirect, which is not followed", said)
    if status == _GONE:
        return Refused("the destination is gone (410)", said)
    return Later(said, began=True, asked_ms=_asked(response.headers.get("retry-after")))


def _asked(value: str | None) -> int | None:
    return int(value) * 1000 if value is not None and value.isdigit() and len(value) < 8 else None


async def _beginning(response: httpx.Response) -> str:
    found = b""
    async for part in response.aiter_raw():
        found += part
        if len(found) >= ANSWER_BYTES:
            break
    return _line(found[:ANSWER_BYTES].decode("utf-8", "replace"))


def _line(text: str) -> str:
    return " ".join(text.split())[:500].replace("\x00", "")


