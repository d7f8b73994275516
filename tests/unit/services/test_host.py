"""The host says which process failed and why, in one line and without quoting data."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from percorso_services.host import load_processes, private_app, reason_of
from percorso_services.process_list import PROCESSES
from percorso_shared.bus.port import Stop
from percorso_shared.cannot_run import CannotRun


@pytest.mark.parametrize(("error", "reason"), [
    (None, "it ended by itself"),
    (Stop("positions belong to another bus"), "positions belong to another bus"),
    (CannotRun("no journeys folder"), "no journeys folder"),
    (ConnectionRefusedError(111, "x"), "connection refused"),
    (ExceptionGroup("in a group", [ExceptionGroup("again", [Stop("why")])]), "why"),
    (KeyError("ada@example.com"), "KeyError")])
def test_reasons(error: BaseException | None, reason: str) -> None:
    assert reason_of(error) == reason


def test_a_name_that_is_no_process_is_answered_with_those_that_are() -> None:
    with pytest.raises(CannotRun, match=", ".join(PROCESSES)):
        load_processes(["consolo"])


async def _body(app: Any, path: str) -> bytes:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "method": "GET", "path": path, "headers": []}, receive, send)
    return b"".join(message.get("body", b"") for message in sent)


def _answering(word: bytes) -> Callable[..., Awaitable[None]]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": word})
    return app


@pytest.mark.parametrize(("path", "owner"), [
    ("/", b"console"), ("/person/1", b"console"), ("/v1", b"console"), ("/healthz", b"health"), ("/readyz", b"health"),
    ("/metrics", b"health"), ("/v1/profiles/user_id:1", b"api"), ("/docs", b"api"), ("/openapi.json", b"api")])
async def test_the_private_port_is_divided(path: str, owner: bytes) -> None:
    app = private_app(_answering(b"health"), {"profile_api": _answering(b"api"), "console": _answering(b"console")})
    assert await _body(app, path) == owner


async def test_a_process_alone_has_the_whole_port_and_a_worker_none_of_it() -> None:
    alone = private_app(_answering(b"health"), {"console": _answering(b"console")})
    assert await _body(alone, "/") == b"console"
    assert b"not_found" in await _body(alone, "/v1/events")
    worker = private_app(_answering(b"health"), {})
    assert b"not_found" in await _body(worker, "/")
    assert await _body(worker, "/metrics") == b"health"
