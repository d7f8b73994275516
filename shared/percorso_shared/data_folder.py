"""The data folder: one Percorso at a time works in it.

    lock            held by `percorso up`, or by a command that starts the database for a moment
    children.lock   held by the processes that `percorso up` started, so that the next start waits for their end
    keys.json       write keys and the secret key, mode 0600
    secret          the signing secret, mode 0600
    run.json        addresses and process ids of the running copy
    pg/ s/          the database and its socket
"""

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from percorso_shared.cannot_run import CannotRun


class FolderInUse(CannotRun):
    """Another Percorso works in this data folder."""


def make_data_folder(folder: Path) -> None:
    """Creates the folder (mode 0700, for it holds personal data), if it is not there; never changes one that is."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotRun(f"cannot make the data folder {folder}: {reason_of(error)}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CannotRun(f"cannot write to the data folder {folder}: it belongs to another user; "
                        "run as that user or give another folder with --data")


def reason_of(error: OSError) -> str:
    """The reason in words; a full disk says what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left on the disk: make room, nothing that was accepted is lost"
    return error.strerror or str(error)


@contextlib.contextmanager
def data_folder_lock(folder: Path) -> Iterator[None]:
    """Holds the folder until the end of the block. Raises FolderInUse at once if somebody else does. The lock belongs
    to the process: the system releases it whatever happens."""
    make_data_folder(folder)
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotRun(f"cannot write to the data folder {folder}: {reason_of(error)}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            raise FolderInUse(
                f"another Percorso is running on the data folder {folder}" + (f" (process {holder})" if holder else "")
                + ": stop it first, or give this one a folder of its own with --data") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def folder_is_in_use(folder: Path) -> bool:
    """True while a copy of Percorso, or a command of it, holds the folder."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def children_lock(folder: Path, seconds: float = 15.0) -> int:
    """A descriptor for the children to inherit: the lock lasts until the last of them has ended. Waits for the children
    of a copy that was killed. Raises FolderInUse if they do not end."""
    descriptor = os.open(folder / "children.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                pids = " ".join(str(pid) for pid in read_json(folder / "run.json").get("children", {}).values())
                raise FolderInUse(
                    f"processes of a Percorso that was killed are still running on the data folder {folder}"
                    + (f": end them with `kill {pids}`" if pids else "")) from None
            time.sleep(0.05)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file of the data folder; {} if there is none or it was cut off by a crash."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_private(path: Path, text: str) -> None:
    """Replaces the file as a whole, mode 0600 from its first moment. Raises CannotRun."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CannotRun(f"cannot write {path}: {reason_of(error)}") from error
