"""The public port on a real uvicorn and a real socket: what only the wire can show."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from hostile_requests import CASES, filler
from ingest_world import KEY, World, ingest_world, make_sources
from percorso_services import bounded_http
from percorso_services.bounded_http import BoundedHttp
from percorso_services.ingest_api import read_body

GOOD = b'{"userId":"u","event":"x"}'
HEAD = b"POST /v1/track HTTP/1.1\r\nHost: t\r\nX-Write-Key: " + KEY.encode() + b"\r\n"


@contextlib.asynccontextmanager
async def serving(world: World, **options: Any) -> AsyncIterator[int]:
    """The port of a server with the host's options."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(
        world.parts.app, http=BoundedHttp, ws="none", lifespan="off", log_config=None, access_log=False,
        server_header=False, timeout_graceful_shutdown=1, **options))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    work = asyncio.create_task(server.serve([listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await asyncio.wait_for(work, 10)


@pytest.fixture
async def world(pool: Any) -> Any:
    await make_sources(pool)
    async with ingest_world(pool) as made:
        yield made


@pytest.fixture
async def port(world: World) -> AsyncIterator[int]:
    async with serving(world) as number:
        yield number


async def talk(port: int, *parts: bytes, close: bool = False) -> bytes:
    """Writes the parts, returns what comes back: until the server closes, or the answer if it does not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
            if close:
                return b""
            while True:
                more = await asyncio.wait_for(reader.read(65_536), 10)
                answer += more
                if not more or (b"\r\n\r\n" in answer and b"connection: close" not in answer.lower()):
                    break
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return answer


def request(body: bytes, *, head: bytes = HEAD) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def test_a_connection_carries_many_requests(port: int, world: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(5):
        writer.write(request(GOOD))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(16) == b'{"success":true}'
    writer.close()
    await writer.wait_closed()
    assert len(await world.accepted()) == 5


async def test_a_body_in_chunks_is_read_whole(port: int, world: World) -> None:
    answer = await talk(port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\n" + GOOD[:5] + b"\r\n",
                        b"%x\r\n" % (len(GOOD) - 5) + GOOD[5:] + b"\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert len(await world.accepted()) == 1


async def test_a_body_without_end_is_cut_off_at_the_limit(port: int, world: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
    with contextlib.suppress(ConnectionError):
        for _ in range(1_600):
            writer.write(chunk)
            await writer.drain()
            if reader._buffer:  # type: ignore[attr-defined]
                break
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 413")
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    [row] = await world.quarantine(1)
    assert row["size"] == 512_000
    assert world.parts.in_flight.bytes == 0


async def test_a_client_that_hangs_up_in_the_middle_leaves_nothing(port: int, world: World) -> None:
    await talk(port, HEAD + b"Content-Length: 1000\r\n\r\n{", close=True)
    assert (await talk(port, request(GOOD))).startswith(b"HTTP/1.1 200")
    assert len(await world.accepted()) == 1
    assert world.parts.in_flight.bytes == 0


async def test_a_slow_client_is_answered_408(port: int, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_body, "SECONDS", 0.05)
    monkeypatch.setattr(read_body, "DRAIN_SECONDS", 0.05)
    answer = await talk(port, HEAD + b"Content-Length: 1000\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code"' in answer


async def test_a_wrong_key_is_answered_before_the_body_has_come(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_body, "DRAIN_SECONDS", 0.05)
    answer = await talk(
        port, b"POST /v1/track HTTP/1.1\r\nHost: t\r\nX-Write-Key: no\r\nContent-Length: 100000\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 401")


async def test_a_head_that_does_not_end_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_SECONDS", 0.2)
    async with serving(world) as port:
        assert await talk(port, b"POST /v1/track HTTP/1.1\r\nHost: t\r\n") == b""
        assert await talk(port) == b""


async def test_a_head_without_measure_is_answered_431(port: int) -> None:
    answer = await talk(port, b"GET / HTTP/1.1\r\nX-Long: ", b"a" * 200_000)
    assert answer.startswith(b"HTTP/1.1 431")
    assert b'{"code"' in answer


SOCKET_CASES = [case for case in CASES if case["body"]["kind"] == "socket" and case["group"] == "HTTP"]


@pytest.mark.parametrize("case", SOCKET_CASES, ids=[case["id"] for case in SOCKET_CASES])
async def test_what_is_no_http_is_refused_and_the_next_request_works(
        port: int, case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_SECONDS", 0.3)
    fill = filler(KEY, "other", f"127.0.0.1:{port}")
    steps = [fill(step) for step in case["body"]["script"]]
    parts = [step.split(":")[1].encode() * int(step.split(":")[2]) if step.startswith("FILL:") else step.encode()
             for step in steps if step not in ("CLOSE", "RETRY")]
    answer = await talk(port, *parts, close="CLOSE" in steps)
    if "RETRY" in steps:
        answer = await talk(port, *parts)
    if answer:
        assert int(answer.split()[1]) in case["expect"]["status"]
    else:
        assert "close" in case["expect"]["status"]
    assert (await talk(port, request(GOOD))).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("method", [b"FOO", b"PUT", b"DELETE", b"PATCH"])
async def test_other_methods_are_refused(port: int, method: bytes) -> None:
    answer = await talk(port, method + b" /v1/track HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n")
    assert int(answer.split()[1]) in (400, 404, 405)


async def test_forwarded_headers_count_only_from_trusted_proxies(world: World) -> None:
    question = (b"GET /v1/projects/WK_TEST/settings HTTP/1.1\r\nHost: cdp.example\r\nX-Forwarded-Proto: https\r\n"
                b"Connection: close\r\n\r\n")
    async with serving(world, proxy_headers=False) as port:
        assert b'"protocol":"http"' in await talk(port, question)
    async with serving(world, proxy_headers=True, forwarded_allow_ips="127.0.0.1") as port:
        assert b'"protocol":"https"' in await talk(port, question)
