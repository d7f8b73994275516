"""The embedded server ends when its owner ends, and the next start copes with whatever the last one left."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from percorso_command import clean_environment, is_running, until_ended
from percorso_shared.data_folder import data_folder_lock
from percorso_shared.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError, running_url
from percorso_shared.postgres_pidfile import read_pid_file
from percorso_shared.reach_database import reach_database
from percorso_shared.settings import Settings
from percorso_shared.temporary_database import temporary_database
from percorso_shared.wait_for_database import place_of

OWNER = """
import asyncio, sys
from pathlib import Path
from percorso_shared.embedded_postgres import EmbeddedPostgres
async def main():
    await EmbeddedPostgres(Path(sys.argv[1]), durable=False).start()
    print("started", flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cluster, made once; each test takes a copy."""
    folder = tmp_path_factory.mktemp("made")

    async def make() -> None:
        async with EmbeddedPostgres(folder, durable=False):
            pass

    asyncio.run(make())
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Iterator[Path]:
    copy = tmp_path / "a folder"
    shutil.copytree(made, copy, ignore=shutil.ignore_patterns("*.log", "s"))
    yield copy
    found = read_pid_file(copy / "pg")
    assert found is None or not is_running(found.pid), "a server was left running"


async def owner_of(folder: Path) -> asyncio.subprocess.Process:
    """Another process that started the server."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(folder), env=clean_environment(), stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"started\n"
    return process


def pid_in(folder: Path) -> int:
    found = read_pid_file(folder / "pg")
    assert found is not None
    return found.pid


async def test_the_server_ends_when_its_owner_is_killed(folder: Path) -> None:
    owner = await owner_of(folder)
    pid = pid_in(folder)
    owner.kill()
    await owner.wait()
    await until_ended(pid)


async def test_a_server_that_outlived_its_owner_and_the_watcher_is_ended_by_the_next_start(folder: Path) -> None:
    owner = await owner_of(folder)
    pid = pid_in(folder)
    watchers = subprocess.run(["pgrep", "-P", str(owner.pid), "sh"], capture_output=True, text=True, check=True)  # noqa: ASYNC221
    for watcher in watchers.stdout.split():
        os.kill(int(watcher), signal.SIGKILL)
    owner.kill()
    await owner.wait()
    assert is_running(pid)
    async with EmbeddedPostgres(folder, durable=False) as server:
        assert not is_running(pid)
        assert pid_in(folder) != pid
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()


async def test_a_process_id_that_belongs_to_somebody_else_now_does_not_stop_the_start(folder: Path) -> None:
    (folder / "pg" / "postmaster.pid").write_text(
        f"{os.getpid()}\n{folder / 'pg'}\n1700000000\n5432\n{folder / 's'}\n\n  5432001    123456\nready   \n")
    async with EmbeddedPostgres(folder, durable=False):
        assert pid_in(folder) != os.getpid()


async def test_a_first_start_that_was_cut_off_leaves_nothing_that_looks_like_a_database(tmp_path: Path) -> None:
    (tmp_path / "pg.new" / "base").mkdir(parents=True)
    (tmp_path / "pg.new" / "PG_VERSION").write_text("18\n")
    async with EmbeddedPostgres(tmp_path, durable=False):
        assert not (tmp_path / "pg.new").exists()


async def test_a_server_started_again_keeps_its_address(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 25)
    async with EmbeddedPostgres(deep, durable=False) as server:
        before = server.url
        os.kill(pid_in(deep), signal.SIGKILL)
        await server.exited()
        await server.start()
        assert server.url == before
        assert (await asyncpg.connect(before)).terminate() is None
    assert not Path(place_of(before)).exists()


async def test_what_the_server_says_is_in_the_message(folder: Path) -> None:
    (folder / "pg" / "PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedPostgresError, match="PostgreSQL does not start: database files are incompatible"):
        await EmbeddedPostgres(folder, durable=False).start()


async def test_variables_of_the_users_own_servers_change_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGPORT": "6000", "PGDATA": "/none", "PGHOST": "db.example", "PGDATABASE": "x"}.items():
        monkeypatch.setenv(name, value)
    async with EmbeddedPostgres(folder, durable=False) as server:
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("SELECT current_database()") == "percorso"
        await connection.close()


async def test_a_command_starts_the_database_for_a_moment_or_uses_the_running_one(folder: Path) -> None:
    settings = Settings(data_dir=folder)
    async with reach_database(settings) as url:
        assert url == running_url(folder)
    assert running_url(folder) is None
    with data_folder_lock(folder):
        async with EmbeddedPostgres(folder, durable=False) as server, reach_database(settings) as url:
            assert url == server.url


async def test_a_temporary_database_is_migrated_and_leaves_no_file() -> None:
    async with temporary_database() as url:
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT count(*) FROM console.workspace WHERE workspace_id = 1") == 1
        await connection.close()
        folder = Path(place_of(url)).parent
        assert folder.parent == Path(tempfile.gettempdir())
    assert not folder.exists()
