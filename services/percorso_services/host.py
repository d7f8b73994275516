"""The host: runs one or several processes of Percorso in one operating-system process.

It opens the pool and the bus, serves the processes' apps on the public and the private port, and sees to it that
everything drains at the end. One process that fails ends the host, with its reason.
"""

import asyncio
import contextlib
import gc
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import structlog
import uvicorn
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from percorso_services.bounded_http import BoundedHttp
from percorso_services.health import PATHS, health_app, respond, watch_broker, watch_database
from percorso_services.listen import port_of
from percorso_services.process_list import PROCESSES
from percorso_shared.bus.errors import describe
from percorso_shared.bus.open import open_bus
from percorso_shared.bus.port import Bus, BusUnavailable, Stop
from percorso_shared.cannot_run import CannotRun
from percorso_shared.clock import SystemClock
from percorso_shared.database import open_pool
from percorso_shared.migrate import migrate
from percorso_shared.process import ASGIApp, Context, Message, Scope
from percorso_shared.settings import Settings
from percorso_shared.wait_for_database import stopped_within, wait_for_database, why

DRAIN_SECONDS = 10.0


class ProcessFailed(Exception):
    """A process of this host ended though nobody asked it to; the message names it and says why."""

    def __init__(self, process: str, error: BaseException | None) -> None:
        super().__init__(f"{process} stopped: {reason_of(error)}")


def reason_of(error: BaseException | None) -> str:
    """In one line. Only messages that we wrote or that come from the system are repeated: others may quote personal
    data, and are told by their kind and place."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is None:
        return "it ended by itself"
    if isinstance(error, CannotRun | Stop | BusUnavailable | OSError):
        return why(error)
    return describe(error)


@dataclass(frozen=True)
class Ready:
    """Said once everything listed works. `public` is None if none of the processes has a public app."""

    process: str
    public: int | None
    private: int


def load_processes(names: Sequence[str]) -> dict[str, Any]:
    """The module of each process, imported. Raises CannotRun for a name that is none."""
    for name in names:
        if name not in PROCESSES:
            raise CannotRun(f"{name!r} is not a process; the processes are {', '.join(PROCESSES)}")
    if len(set(names)) != len(names):
        raise CannotRun("a process is named twice")
    modules = {name: import_module(f"percorso_services.{name}.process") for name in names}
    _calm_collector()
    return modules


def _calm_collector() -> None:
    """Batches of 1,000 touchpoints make tens of thousands of objects that die by reference count. With Python's own
    thresholds the search for cycles among them took a quarter of the time of a busy process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 10)


def has_public_app(processes: dict[str, Any]) -> bool:
    return any(hasattr(module, "public_app") for module in processes.values())


async def run_host(settings: Settings, processes: dict[str, Any], *, public: socket.socket | None,
                   private: socket.socket, stop: asyncio.Event, announce: Callable[[Ready], None],
                   context_made: Callable[[Context], None] = lambda context: None) -> None:
    """Returns when `stop` is set and everything has drained. Raises ProcessFailed, CannotRun."""
    settings = replace(settings, private_port=port_of(private),
                       public_port=port_of(public) if public else settings.public_port)
    if not await wait_for_database(settings.database_url, stop):
        return
    name = ",".join(processes)
    pool = await open_pool(settings.database_url, name=name, min_size=1, max_size=8 + 2 * len(processes))
    try:
        async with pool.acquire() as connection:
            await migrate(connection)
        metrics, inner_stop = _registry(), asyncio.Event()
        bus = await _wait_for_bus(stop, place=settings.kafka_bootstrap or "the database", connect=lambda: open_bus(
            settings, pool, name=name, stop=inner_stop, clock=SystemClock(), metrics=metrics))
        if bus is None:
            return
        try:
            context = Context(settings=settings, pool=pool, bus=bus, clock=SystemClock(), stop=inner_stop,
                              metrics=metrics)
            context_made(context)
            await _serve(context, processes, public, private, stop, lambda: announce(Ready(
                name, settings.public_port if public else None, settings.private_port)))
        finally:
            await bus.close()
    finally:
        try:
            await asyncio.wait_for(pool.close(), 2)
        except TimeoutError:
            pool.terminate()


async def _wait_for_bus(stop: asyncio.Event, *, place: str, connect: Callable[[], Awaitable[Bus]]) -> Bus | None:
    """None: `stop` was set while the broker could not be reached. Every failed try is a line in the log."""
    log, attempt = structlog.get_logger(), 0
    while not stop.is_set():
        attempt += 1
        try:
            return await connect()
        except BusUnavailable as error:
            log.warning(f"waiting for the bus at {place} (attempt {attempt}): {why(error)}")
            await stopped_within(stop, min(attempt, 5))
    return None


async def _serve(context: Context, processes: dict[str, Any], public: socket.socket | None, private: socket.socket,
                 stop: asyncio.Event, announce: Callable[[], None]) -> None:
    private_apps = {
        name: module.private_app(context) for name, module in processes.items() if hasattr(module, "private_app")}
    servers = [_Server(_config(context, private_app(health_app(context), private_apps)))]
    tasks: dict[asyncio.Task[None], str] = {}

    def start(name: str, work: Coroutine[Any, Any, None]) -> None:
        tasks[asyncio.create_task(work, name=name)] = name

    start("private port", servers[0].serve([private]))
    if public is not None:
        servers.append(_Server(_config(context, _public_app(context, processes))))
        start("public port", servers[1].serve([public]))
    start("health", watch_database(context, context.settings.database_url))
    if not context.settings.embedded_bus:
        start("health of the bus", watch_broker(context, context.settings.kafka_bootstrap))
    for name, module in processes.items():
        start(name, module.run(context))
    stopping = asyncio.create_task(stop.wait())
    announcing = asyncio.create_task(_announce_when_ready(context, servers, announce))
    everything: list[asyncio.Task[Any]] = [*tasks, stopping]
    await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
    failed = next((task for task in tasks if task.done()), None)
    announcing.cancel()
    stopping.cancel()
    await _drain(context, servers, set(tasks))
    if failed is not None:
        error = failed.exception()
        raise ProcessFailed(tasks[failed], error) from error


async def _announce_when_ready(context: Context, servers: Sequence["_Server"], announce: Callable[[], None]) -> None:
    """A condition that uvicorn and the processes set without telling: looked at 50 times a second."""
    while context.ready or not all(server.started for server in servers):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    announce()


async def _drain(context: Context, servers: Sequence["_Server"], tasks: set[asyncio.Task[None]]) -> None:
    """First nothing new comes in, then everything that was begun is finished; what has not ended after 10 s is
    cancelled (nothing acknowledged is lost by that)."""
    for server in servers:
        server.should_exit = True
    await asyncio.sleep(0.15 if len(servers) > 1 else 0)
    context.stop.set()
    _, late = await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
    for task in late:
        structlog.get_logger().warning(f"{task.get_name()} did not end within {DRAIN_SECONDS:g} s and is cut off")
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=2)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the host's caller."""
        yield


def _config(context: Context, app: ASGIApp) -> uvicorn.Config:
    proxies = context.settings.trusted_proxies
    return uvicorn.Config(
        app, loop="none", http=BoundedHttp, ws="none", lifespan="off", log_config=None, access_log=False,
        server_header=False, proxy_headers=bool(proxies), forwarded_allow_ips=proxies or "",
        timeout_keep_alive=75, timeout_graceful_shutdown=int(DRAIN_SECONDS) - 2)


def _public_app(context: Context, processes: dict[str, Any]) -> ASGIApp:
    apps = [module.public_app(context) for module in processes.values() if hasattr(module, "public_app")]
    if len(apps) != 1:
        raise CannotRun("only one of the processes may own the public port")
    app: ASGIApp = apps[0]
    return app


def private_app(health: ASGIApp, apps: Mapping[str, ASGIApp]) -> ASGIApp:
    """/v1 and its documentation are profile_api's, the rest is the console's; health is the host's."""
    api = apps.get("profile_api", _not_found)
    rest = next((app for name, app in apps.items() if name != "profile_api"), api)

    async def app(scope: Scope, receive: Callable[[], Awaitable[Message]],
                  send: Callable[[Message], Awaitable[None]]) -> None:
        path: str = scope["path"]
        if path in PATHS:
            await health(scope, receive, send)
        elif path.startswith(("/v1/", "/docs")) or path == "/openapi.json":
            await api(scope, receive, send)
        else:
            await rest(scope, receive, send)

    return app


async def _not_found(scope: Scope, receive: Callable[[], Awaitable[Message]],
                     send: Callable[[Message], Awaitable[None]]) -> None:
    await respond(send, 404, "application/json", b'{"code":"not_found","message":"no such page here"}')


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
