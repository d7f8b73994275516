"""As whom the embedded PostgreSQL runs, for it refuses to run as root.

An ordinary user runs it directly. Root runs it in a user namespace in which root is somebody else (`unshare`), or,
where the system refuses that, as the user nobody. No user is added to the machine; no folder above the data folder is
changed. For nobody the database's own two folders change their owner, and others may pass through the data folder.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from percorso_shared.cannot_run import CannotRun


class EmbeddedPostgresError(CannotRun):
    """The embedded database cannot be started; the message says what to do."""


_TRIAL = 'test "$1" "$2" || { echo "$3"; exit 1; }; exec "$0" --version'


@dataclass(frozen=True)
class PostgresUser:
    """How commands of PostgreSQL are started: what stands before them, and the user to change to."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    @property
    def options(self) -> dict[str, Any]:
        """For subprocess: user and group, if they change."""
        return {} if self.uid is None else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, *folders: Path) -> None:
        """Gives the folders and what is in them to the user, if it is another than ours."""
        if self.uid is None or self.gid is None:
            return
        for folder in folders:
            for root, _, names in os.walk(folder):
                for path in (root, *(os.path.join(root, name) for name in names)):  # noqa: PTH118 thousands of files
                    if os.lstat(path).st_uid != self.uid:
                        os.chown(path, self.uid, self.gid, follow_symlinks=False)


def choose_user(cluster: Path, program: Path) -> PostgresUser:
    """The first user who can run `program` and write in `cluster`, an existing folder. Raises EmbeddedPostgresError
    with every reason."""
    owner = cluster.stat()
    if os.geteuid() != 0:
        if owner.st_uid != os.geteuid():
            raise EmbeddedPostgresError(
                f"the database in {cluster} belongs to {_name(owner.st_uid)}: run as that user or give another folder "
                "with --data")
        return PostgresUser()
    reasons = []
    for candidate in _candidates(owner.st_uid, owner.st_gid):
        if isinstance(candidate, str):
            reasons.append(candidate)
            continue
        if candidate.uid is not None:
            _let_through(cluster.parent)
        reason = _why_not(candidate, program, "-x", cluster.parent, f"cannot reach {cluster.parent}")
        if reason is None:
            candidate.own(cluster)
            reason = _why_not(candidate, program, "-w", cluster, f"cannot write to {cluster}")
        if reason is None:
            return candidate
        reasons.append(reason)
    raise EmbeddedPostgresError(
        "PostgreSQL does not run as root, and no other way works here: " + "; ".join(reasons)
        + ". Run percorso as an ordinary user, or set PERCORSO_DATABASE_URL to a PostgreSQL server")


def _candidates(uid: int, gid: int) -> list[PostgresUser | str]:
    """What may be tried as root for a database that belongs to this user; a text says why one is not possible."""
    if uid != 0:
        return [PostgresUser(uid=uid, gid=gid)]
    unshare = shutil.which("unshare")
    try:
        nobody = pwd.getpwnam("nobody")
        ids = nobody.pw_uid, nobody.pw_gid
    except KeyError:
        ids = 65_534, 65_534
    return [
        PostgresUser(prefix=(unshare, "--user", "--map-user=1000", "--map-group=1000", "--")) if unshare
        else "the program unshare (package util-linux) is missing",
        PostgresUser(uid=ids[0], gid=ids[1]),
    ]


def _let_through(folder: Path) -> None:
    """The database's user needs to pass through our data folder, not to read it."""
    mode = folder.stat().st_mode
    if not mode & 0o001:
        folder.chmod(mode & 0o7777 | 0o001)


def _why_not(user: PostgresUser, program: Path, test: str, folder: Path, otherwise: str) -> str | None:
    who = "in a user namespace" if user.prefix else f"as {_name(user.uid)}"
    try:
        tried = subprocess.run(
            [*user.prefix, "/bin/sh", "-c", _TRIAL, str(program), test, str(folder), otherwise],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", check=False,
            **user.options)
    except OSError as error:
        return f"{who}: {error.strerror}"
    if tried.returncode == 0:
        return None
    said = tried.stdout.decode(errors="replace").strip().splitlines()
    return f"{who}: {said[-1] if said else 'refused'}"


def _name(uid: int | None) -> str:
    try:
        return f"the user {pwd.getpwuid(uid or 0).pw_name}"
    except KeyError:
        return f"the user with id {uid}"
