"""What a process of Percorso is given when it starts, and what it offers to its host.

Each folder of `percorso_services` has a `process.py` with

* `async def run(context) -> None`: works until `context.stop` is set, then drains and returns; an exception ends the
  process with its message;
* optionally `def public_app(context) -> ASGIApp` and `def private_app(context) -> ASGIApp`: served by the host on the
  public and private port. `/healthz`, `/readyz` and `/metrics` belong to the host.

The host (`percorso_services/host.py`) runs one or several processes in one operating-system process.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from prometheus_client import CollectorRegistry

from percorso_shared.bus.port import Bus
from percorso_shared.clock import Clock
from percorso_shared.settings import Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
ASGIApp = Callable[[Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


@dataclass
class Context:
    """Everything a process may use; nothing else is global."""

    settings: Settings
    pool: "asyncpg.Pool"
    bus: Bus
    clock: Clock
    stop: asyncio.Event
    metrics: CollectorRegistry
    ready: dict[str, str] = field(default_factory=dict)
    """process name -> why it cannot work yet; an empty dict is ready. Shown by /readyz."""
