"""Everything under one command: the database, the ports, the workers; `percorso up`."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import structlog

from percorso_services.all_in_one.supervisor import Child, ChildPlan, pause_before
from percorso_services.listen import listen, port_of
from percorso_services.process_list import PORTS, WORKERS
from percorso_shared.cannot_run import CannotRun
from percorso_shared.data_folder import children_lock, data_folder_lock, write_private
from percorso_shared.embedded_postgres import EmbeddedPostgres
from percorso_shared.postgres_pidfile import clear_the_way
from percorso_shared.settings import Settings

DRAIN_SECONDS = 13.0
OURS = ("pg", "pg.new", "s", "keys.json", "secret", "first-visit", "run.json", "postgres.log", "postgres.log.1",
        "spool")
"""What `--fresh` removes. The folder of journeys stays: people write there."""

T = TypeVar("T")


class _Stopped(Exception):
    """Asked to stop before everything was ready."""


async def up(settings: Settings, *, fresh: bool) -> None:
    """Returns after a clean stop. Raises CannotRun."""
    began = time.monotonic()
    folder = settings.data_dir.absolute()
    stop = asyncio.Event()
    children: list[Child] = []
    with data_folder_lock(folder), contextlib.ExitStack() as cleanup:
        cleanup.enter_context(_signals(stop, children))
        lock = await asyncio.to_thread(children_lock, folder)
        cleanup.callback(os.close, lock)
        public = _bound(cleanup, settings.public_host, settings.public_port, "public")
        private = _bound(cleanup, settings.private_host, settings.private_port, "private")
        inner = _bound(cleanup, "127.0.0.1", 0, "private")
        settings = replace(settings, data_dir=folder, public_port=port_of(public), private_port=port_of(private))
        if fresh:
            await _remove_everything(settings)
        plans = (ChildPlan("ports", PORTS, public, private), ChildPlan("workers", WORKERS, None, inner))
        ports = Child(plans[0], lock, lambda reason: None)
        workers = Child(plans[1], lock, lambda reason: ports.tell_others({"workers": reason}))
        ports.tell_others({"workers": "starting"})
        children += [ports, workers]
        try:
            for child in children:
                await child.spawn()
            async with _database(settings, stop) as settings:
                await _run(settings, children, stop, began)
                await _stop(children, public, private)
        except _Stopped:
            pass
        finally:
            await _stop(children, public, private)
            (folder / "run.json").unlink(missing_ok=True)
    structlog.get_logger().info("stopped")


async def _run(settings: Settings, children: list[Child], stop: asyncio.Event, began: float) -> None:
    """Until `stop` is set."""
    from percorso_services.all_in_one.prepare import prepare
    from percorso_services.banner import banner
    from percorso_services.version import VERSION
    log = structlog.get_logger()
    settings, keys, first_visit = await _unless(stop, prepare(settings))
    running = [asyncio.create_task(child.keep_running(settings)) for child in children]
    try:
        everybody = asyncio.gather(*(asyncio.shield(child.ready) for child in children))
        readies = await _unless(stop, _first_failure(everybody, running))
        write_private(settings.data_dir / "run.json", json.dumps({
            "pid": os.getpid(), "public": settings.public_address, "private": settings.private_address,
            "workers": f"http://127.0.0.1:{readies[1]['private']}",
            "children": {child.plan.name: child.pid for child in children}}))
        link_file = settings.data_dir / "first-visit"
        from percorso_shared.control.first_visit import PATH
        write_private(link_file, f"{settings.private_address}{PATH}?token={first_visit}\n")
        seconds = time.monotonic() - began
        sys.stdout.write(banner(settings, keys, version=VERSION, first_visit=first_visit, seconds=seconds,
                                terminal=sys.stdout.isatty(), link_file=link_file) + "\n")
        sys.stdout.flush()
        log.info("ready", seconds=round(seconds, 2))
        await _unless(stop, _first_failure(asyncio.get_running_loop().create_future(), running))
    except _Stopped:
        log.info("stopping: finishing what is under way")
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@contextlib.asynccontextmanager
async def _database(settings: Settings, stop: asyncio.Event) -> AsyncIterator[Settings]:
    """The settings with the address of a database that takes connections; the embedded one ends with the block and is
    started again if it dies in between."""
    if settings.database_url:
        from percorso_shared.wait_for_database import wait_for_database
        if not await wait_for_database(settings.database_url, stop):
            raise _Stopped
        yield settings
        return
    server = EmbeddedPostgres(settings.data_dir)
    try:
        await _unless(stop, server.start())
        keeping = asyncio.create_task(_keep_running(server))
        try:
            yield replace(settings, database_url=server.url)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
    finally:
        await server.stop()


async def _keep_running(server: EmbeddedPostgres) -> None:
    log, restart = structlog.get_logger(), 0
    while True:
        reason = await server.exited()
        while True:
            restart += 1
            pause = pause_before(restart)
            log.error(f"the database ended ({reason}); starting it again in {pause:g} s")
            await asyncio.sleep(pause)
            try:
                await server.start()
            except CannotRun as error:
                reason = str(error)
            else:
                log.info("the database is running again")
                break


async def _stop(children: list[Child], *listening: socket.socket) -> None:
    """Nobody new is let in, then the children drain."""
    for sock in listening:
        sock.close()
    await asyncio.gather(*(child.stop(DRAIN_SECONDS) for child in children))


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. If `stop` is set before, `work` is cancelled and _Stopped raised."""
    doing, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([doing, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise _Stopped
        return doing.result()
    finally:
        stopping.cancel()
        if not doing.done():
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)


async def _first_failure(wanted: "asyncio.Future[T]", running: list[asyncio.Task[None]]) -> T:
    """The result of `wanted`, unless keeping a child running fails before."""
    everything: list[asyncio.Future[Any]] = [wanted, *running]
    await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
    for task in running:
        if task.done():
            task.result()
    return wanted.result()


def _bound(cleanup: contextlib.ExitStack, host: str, port: int, which: str) -> socket.socket:
    return cleanup.enter_context(listen(host, port, which=which))


@contextlib.contextmanager
def _signals(stop: asyncio.Event, children: list[Child]) -> Iterator[None]:
    """Ctrl-C, TERM and the end of the terminal stop cleanly; a second one does not wait for what is under way."""
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if stop.is_set():
            for child in children:
                child.kill()
        stop.set()

    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for kind in kinds:
        loop.add_signal_handler(kind, asked)
    try:
        yield
    finally:
        for kind in kinds:
            loop.remove_signal_handler(kind)


async def _remove_everything(settings: Settings) -> None:
    if settings.database_url:
        raise CannotRun("--fresh is for the embedded database; PERCORSO_DATABASE_URL names a server: it stays as it is")
    await clear_the_way(settings.data_dir / "pg")
    for name in OURS:
        path: Path = settings.data_dir / name
        if path.is_dir():
            await asyncio.to_thread(shutil.rmtree, path)
        else:
            path.unlink(missing_ok=True)
