"""What `postmaster.pid` in the database's folder says, and how a server that outlived its Percorso is ended."""

import asyncio
import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from percorso_shared.postgres_user import EmbeddedPostgresError

PREFIX = "percorso-socket-"
"""Socket folders outside of the data folder begin so."""
_NO_PROCESS = 4_194_305
"""Above the highest process id that Linux gives."""


@dataclass(frozen=True)
class PidFile:
    """The server's process, and the folder of its socket."""

    pid: int
    socket_folder: Path
    ready: bool


def read_pid_file(cluster: Path) -> PidFile | None:
    """None: no server was running, or its file was cut off."""
    try:
        lines = (cluster / "postmaster.pid").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        return PidFile(pid=int(lines[0]), socket_folder=Path(lines[4]),
                       ready=len(lines) > 7 and lines[7].strip() == "ready")
    except (FileNotFoundError, IndexError, ValueError):
        return None


async def clear_the_way(cluster: Path, *, keep: Path | None = None) -> bool:
    """Ends a server that still runs on this folder though its Percorso was killed, and sees to it that the file of one
    that ended does not stop the next from starting. The caller holds the data folder.
    Its socket folder goes, if it is a temporary one and not `keep`. True: there was one to end."""
    found = read_pid_file(cluster)
    if found is None:
        return False
    was_running = _is_server(found.pid, cluster)
    if was_running:
        await _end(found.pid, cluster)
    elif _exists(found.pid):
        _disown(cluster)
    old = found.socket_folder
    if old != keep and old.name.startswith(PREFIX) and old.parent == Path(tempfile.gettempdir()):
        shutil.rmtree(old, ignore_errors=True)
    return was_running


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_server(pid: int, cluster: Path) -> bool:
    """Whether this process is PostgreSQL on this very folder: a process id may have been given to another since."""
    try:
        words = [os.fsdecode(word) for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self").exists():
            return False
        shown = subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False)
        return "postgres" in shown.stdout and str(cluster) in shown.stdout
    return Path(words[0]).name == "postgres" and any(
        word == "-D" and Path(folder).resolve() == cluster.resolve() for word, folder in itertools.pairwise(words))


async def _end(pid: int, cluster: Path) -> None:
    """Fast shutdown, then immediate, each given its time."""
    for kind, seconds in ((signal.SIGINT, 20.0), (signal.SIGQUIT, 10.0)):
        try:
            os.kill(pid, kind)
        except ProcessLookupError:
            return
        except PermissionError:
            break
        for _ in range(int(seconds / 0.02)):
            if not _is_server(pid, cluster):
                return
            await asyncio.sleep(0.02)
    raise EmbeddedPostgresError(
        f"the PostgreSQL of a Percorso that was killed is still running (process {pid}) and does not end: "
        f"end it with `kill -QUIT {pid}`")


def _disown(cluster: Path) -> None:
    """The process id now belongs to somebody else. PostgreSQL would take that one for a server of its own: an id that
    nobody has makes it look at the shared memory instead, which tells the truth."""
    path = cluster / "postmaster.pid"
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    path.write_text(re.sub(r"^\d+", str(_NO_PROCESS), text, count=1), encoding="utf-8", errors="surrogateescape")
