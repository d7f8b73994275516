"""`percorso up` from its first start to its end, and what goes wrong in between."""

import asyncio
import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from percorso_command import PercorsoUp, is_running, percorso, until_ended
from percorso_shared.postgres_pidfile import PREFIX


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a space, as folders of people have."""
    return tmp_path / "data of ours"


async def test_the_first_start_makes_keys_and_a_stop_leaves_nothing_running(folder: Path) -> None:
    async with PercorsoUp(folder) as up:
        assert await up.ready() == (200, {})
        assert [source["name"] for source in up.keys["sources"]] == ["website", "backend"]
        listed = await percorso("keys", "--json", "--data", folder)
        assert listed.code == 0
        assert up.keys == json.loads(listed.out)
        pids = [up.database_pid, *up.children.values()]
        assert await up.stop() == 0
        assert not any(is_running(pid) for pid in pids)
    assert not (folder / "pg" / "postmaster.pid").exists()
    for name in ("keys.json", "secret", "first-visit"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


async def test_no_secret_is_shown_to_something_that_is_no_terminal(folder: Path) -> None:
    async with PercorsoUp(folder) as up:
        shown = up.banner + up.log()
        token = (folder / "first-visit").read_text().split("token=")[1].strip()
        secrets = [up.keys["secret_key"], *(source["write_key"] for source in up.keys["sources"]), token,
                   (folder / "secret").read_text().strip()]
        assert not [secret for secret in secrets if secret in shown]
        assert str(folder / "keys.json") in up.banner


async def test_a_terminal_is_shown_the_keys_and_ctrl_c_stops(folder: Path) -> None:
    ours, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "percorso", "up", "--data", str(folder), "--public-port", "0", "--private-port",
        "0", stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(theirs)
    shown = b""
    async with asyncio.timeout(60):
        while b"Stop" not in shown:
            shown += await asyncio.to_thread(os.read, ours, 65536)
        os.write(ours, b"\x03")
        try:
            while part := await asyncio.to_thread(os.read, ours, 65536):
                shown += part
        except OSError:
            pass  # the terminal closed
        assert await process.wait() == 0
    os.close(ours)
    keys = json.loads((folder / "keys.json").read_text())
    assert keys["sources"][0]["write_key"] in shown.decode()
    assert "/first-visit?token=" in shown.decode()
    assert b"Traceback" not in shown


async def test_after_kill_9_nothing_goes_on_and_the_next_start_recovers_by_itself(folder: Path) -> None:
    up = PercorsoUp(folder)
    await up.start()
    keys, pids = up.keys, [up.database_pid, *up.children.values()]
    assert await up.stop(signal.SIGKILL) == -signal.SIGKILL
    await until_ended(*pids)
    async with PercorsoUp(folder) as again:
        assert await again.ready() == (200, {})
        assert again.keys == keys


async def test_kill_9_of_everything_at_once_is_recovered_too(folder: Path) -> None:
    up = PercorsoUp(folder)
    await up.start()
    for pid in (up.process.pid, up.database_pid, *up.children.values()):
        os.kill(pid, signal.SIGKILL)
    await up.process.wait()
    async with PercorsoUp(folder) as again:
        assert await again.ready() == (200, {})


async def test_a_second_copy_on_the_same_folder_says_so_and_leaves(folder: Path) -> None:
    async with PercorsoUp(folder) as up:
        second = await percorso("up", "--data", folder, "--public-port", "0", "--private-port", "0")
        assert second.code == 2
        assert f"another Percorso is running on the data folder {folder} (process {up.process.pid})" in second.err
        assert "Traceback" not in second.err
        assert await up.ready() == (200, {})


@pytest.mark.parametrize("which", ["public", "private"])
async def test_a_taken_port_is_found_before_anything_starts(folder: Path, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {"public": "0", "private": "0", which: str(port)}
        result = await percorso("up", "--data", folder, "--public-port", ports["public"], "--private-port",
                                ports["private"])
    assert result.code == 2
    assert result.err.strip() == (f"percorso: the {which} port {port} is taken by another program: change it with "
                                  f"--{which}-port or PERCORSO_{which.upper()}_PORT")
    assert not (folder / "pg").exists()


async def test_a_child_that_dies_is_started_again_with_a_visible_line(folder: Path) -> None:
    async with PercorsoUp(folder) as up:
        os.kill(up.children["workers"], signal.SIGKILL)
        assert await up.until_ready(False) == {"workers": "restarting: killed by SIGKILL"}
        await up.until_ready(True)
        assert "the workers ended (killed by SIGKILL)" in up.log()
        os.kill(up.children["ports"], signal.SIGKILL)
        await up.until_ready(True)
        assert "the ports ended (killed by SIGKILL)" in up.log()


async def test_a_database_that_dies_is_started_again_and_readyz_tells(folder: Path) -> None:
    async with PercorsoUp(folder) as up:
        os.kill(up.database_pid, signal.SIGKILL)
        assert await up.until_ready(False)
        await up.until_ready(True)
        assert "the database is running again" in up.log()
        assert "Traceback" not in up.log()
        assert (await percorso("doctor", "--data", folder)).code == 0


async def test_a_data_folder_too_deep_for_a_socket_works(tmp_path: Path) -> None:
    deep = tmp_path / ("very-" * 20) / "deep"
    deep.mkdir(parents=True)
    async with PercorsoUp(deep / "data") as up:
        socket_folder = Path((deep / "data" / "pg" / "postmaster.pid").read_text().splitlines()[4])
        assert socket_folder.name.startswith(PREFIX)
        assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
        assert (await percorso("keys", "--data", deep / "data")).code == 0
        assert await up.stop() == 0
    assert not socket_folder.exists()


async def test_fresh_begins_with_new_keys(folder: Path) -> None:
    async with PercorsoUp(folder) as up:
        before = up.keys
    async with PercorsoUp(folder, "--fresh") as up:
        assert up.keys["secret_key"] != before["secret_key"]


async def test_a_server_given_by_its_address_is_used_instead_of_the_embedded_one(
        folder: Path, database_url: str) -> None:
    async with PercorsoUp(folder, environment={"PERCORSO_DATABASE_URL": database_url}) as up:
        assert await up.ready() == (200, {})
        assert not (folder / "pg").exists()
        shown = await percorso("keys", "--json", "--data", folder, PERCORSO_DATABASE_URL=database_url)
        assert up.keys["secret_key"] in shown.out


def _python_for_everybody() -> str | None:
    """A Python of our version that the user nobody can run."""
    for candidate in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        try:
            subprocess.run([candidate, "-c", ""], user=65534, group=65534, extra_groups=[], check=True, cwd="/",
                           capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    return None


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the user nobody can reach (pytest's own are closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix="percorso-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
async def test_an_ordinary_user_can_run_it(open_folder: Path) -> None:
    python = _python_for_everybody()
    if python is None:
        pytest.skip("no Python here that the user nobody can run")
    own = open_folder / "own"
    own.mkdir()
    shutil.chown(own, 65534, 65534)
    folder = own / "data of nobody"
    packages = ":".join(path for path in sys.path if path.startswith(sys.prefix) or "percorso" in "".join(
        entry.name for entry in Path(path or ".").glob("percorso_*")))
    up = PercorsoUp(folder, command=(python, "-m", "percorso_services.cli"), user=65534,
                    environment={"PYTHONPATH": packages, "PYTHONDONTWRITEBYTECODE": "1"})
    async with up:
        assert await up.ready() == (200, {})
        assert folder.stat().st_uid == (folder / "pg").stat().st_uid == 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs PostgreSQL directly")
async def test_root_runs_it_where_user_namespaces_are_refused(open_folder: Path) -> None:
    folder = open_folder / "data of root"
    refusing = open_folder / "bin"
    refusing.mkdir()
    (refusing / "unshare").write_text("#!/bin/sh\necho 'unshare: refused' >&2\nexit 1\n")
    (refusing / "unshare").chmod(0o755)
    async with PercorsoUp(folder, environment={"PATH": f"{refusing}:{os.environ['PATH']}"}) as up:
        assert await up.ready() == (200, {})
        assert (folder / "pg").stat().st_uid == 65534
    async with PercorsoUp(folder) as up:
        assert await up.ready() == (200, {})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """20 MB, less than an empty database."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk cannot be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


async def test_a_full_disk_is_said_in_one_line(small_disk: Path) -> None:
    result = await percorso("up", "--data", small_disk / "data", "--public-port", "0", "--private-port", "0")
    assert result.code == 2
    assert "the disk is full: make room" in result.err
    assert "Traceback" not in result.err
