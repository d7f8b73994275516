"""The public port: one raw ASGI callable for what arrives thousands of times a second, FastAPI for the rest."""

from collections.abc import Awaitable, Callable, Mapping

from percorso_ingest.protocols.port import Protocol
from percorso_ingest.source import Source
from percorso_ingest.sources import Sources
from percorso_services.ingest_api.cors import COMMON, Headers, cors_headers, preflight_headers
from percorso_services.ingest_api.counters import Counters
from percorso_services.ingest_api.intake import NO_KEY, NO_ROOM, NOT_READY, Arrived, Intake, Reply, trouble
from percorso_services.ingest_api.read_body import HungUp, InFlight, NoRoom, Share, TooSlow, read_body, throw_away
from percorso_shared.process import ASGIApp, Message, Scope

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

TOO_SLOW = trouble(408, "too_slow", "the body did not arrive in time")
SWALLOWED = frozenset({"/v1/m", "/m"})
"""Where SDKs report on themselves: answered, not kept."""
_CLOSE = ((b"connection", b"close"),)
_SUCCESS = Reply(200, b"application/json", b'{"success":true}')


def public_port(intake: Intake, sources: Sources, routes: Mapping[tuple[str, str], Protocol], in_flight: InFlight,
                counters: Counters, rest: ASGIApp) -> ASGIApp:
    """`routes`: (method, path) -> protocol."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        method, path = scope["method"], scope["path"]
        protocol = routes.get((method, path))
        if protocol is None:
            if method == "OPTIONS":
                await _answer_preflight(scope, send)
            elif method == "POST" and path in SWALLOWED:
                await _send(send, _SUCCESS, _origin(scope))
            else:
                await rest(scope, receive, _with_common_headers(send, _origin(scope)))
            return
        headers = dict(scope["headers"])
        share = Share(in_flight)
        try:
            reply = await _take(scope, headers, protocol, receive, share)
        except HungUp:
            return
        finally:
            share.give_back()
            counters.in_flight.set(in_flight.bytes)
        counters.answered(reply.status, share.bytes)
        await _send(send, reply, headers.get(b"origin"), drain=receive if reply.headers[-1:] == _CLOSE else None)

    async def _take(scope: Scope, headers: Mapping[bytes, bytes], protocol: Protocol, receive: Receive,
                    share: Share) -> Reply:
        if not sources.known.is_set():
            return _closing(NOT_READY)
        claimed = sources.claimed(headers, scope["query_string"])
        if claimed is None:
            return _closing(Reply(*protocol.answer(None)) if protocol.always_ok else NO_KEY)
        source = claimed if isinstance(claimed, Source) else None
        try:
            body, whole = await read_body(receive, source.limits.body_bytes if source else sources.largest_body, share)
            reply = await intake.take(
                Arrived(scope["path"], scope["query_string"], headers, body, whole), protocol, source, share)
        except NoRoom:
            return _closing(NO_ROOM)
        except TooSlow:
            return _closing(TOO_SLOW)
        return reply if whole else _closing(reply)

    return app


def _closing(reply: Reply) -> Reply:
    """The body was not read to its end: the connection cannot be used again."""
    return reply._replace(headers=(*reply.headers, *_CLOSE))


def _origin(scope: Scope) -> bytes | None:
    return next((value for name, value in scope["headers"] if name == b"origin"), None)


async def _send(send: Send, reply: Reply, origin: bytes | None, drain: Receive | None = None) -> None:
    """`drain`: the body has not been read to its end. It is thrown away for a moment after the answer, because a
    connection that is closed on unread bytes takes the answer with it."""
    await send({"type": "http.response.start", "status": reply.status, "headers": [
        (b"content-type", reply.content_type), (b"content-length", b"%d" % len(reply.body)),
        *COMMON, *cors_headers(origin), *reply.headers]})
    await send({"type": "http.response.body", "body": reply.body, "more_body": drain is not None})
    if drain is not None:
        await throw_away(drain)
        await send({"type": "http.response.body", "body": b""})


async def _answer_preflight(scope: Scope, send: Send) -> None:
    requested = next((value for name, value in scope["headers"] if name == b"access-control-request-headers"), None)
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-length", b"0"), (b"x-content-type-options", b"nosniff"),
        *preflight_headers(_origin(scope), requested)]})
    await send({"type": "http.response.body", "body": b""})


def _with_common_headers(send: Send, origin: bytes | None) -> Send:
    """What the rest of the port answers gets the same headers, where it has not set its own."""

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name for name, _ in message["headers"]}
            more: Headers = [(name, value) for name, value in (*COMMON, *cors_headers(origin)) if name not in present]
            message["headers"] = [*message["headers"], *more]
        await send(message)

    return wrapped
