"""Which errors pass by themselves, and what may be told of the others."""

import traceback

import asyncpg

from percorso_shared.bus.port import BusUnavailable

_TRANSIENT_CLASSES = ("08", "40", "53", "58")
"""Connection, transaction rollback, insufficient resources (disk full, too many connections), system error."""
_TRANSIENT_STATES = frozenset({"25P03", "55P03", "57014", "57P01", "57P02", "57P03", "57P04", "57P05"})
"""Idle in transaction too long, lock not available, cancelled, server stopping or starting."""


class LostPartition(Exception):
    """Another worker owns this partition now."""


def is_transient(error: BaseException) -> bool:
    """True if the same work may succeed later, without anybody changing it."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return (state[:2] in _TRANSIENT_CLASSES or state in _TRANSIENT_STATES
                or isinstance(error, asyncpg.InvalidCachedStatementError))
    if isinstance(error, asyncpg.InterfaceError):
        return "connection" in str(error)
    return isinstance(error, OSError | TimeoutError | BusUnavailable | asyncpg.InternalClientError)


def describe(error: BaseException) -> str:
    """The error's type, and where in our code it arose. Never its message, which may quote personal data."""
    name = type(error).__name__
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate:
        name = f"{name} ({error.sqlstate})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/percorso_" in frame.filename]
    if not frames:
        return name
    frame = frames[-1]
    return f"{name} at {frame.filename[frame.filename.rindex('percorso_'):]}:{frame.lineno}"
