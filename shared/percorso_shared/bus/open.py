"""Which of the two buses a process gets."""

import asyncio
from typing import Any

from prometheus_client import CollectorRegistry

from percorso_shared.bus.port import Bus
from percorso_shared.clock import Clock
from percorso_shared.settings import Settings


async def open_bus(settings: Settings, pool: Any, *, name: str, stop: asyncio.Event, clock: Clock,
                   metrics: CollectorRegistry) -> Bus:
    """The bus that `settings` ask for, connected; its topics exist. `name` is the process's. `run` returns after
    `stop` is set. Raises BusUnavailable when the broker cannot be reached, BusMismatch when the database's positions
    belong to another bus."""
    if settings.embedded_bus:
        from percorso_shared.bus.embedded import EmbeddedBus
        return await EmbeddedBus.open(settings, pool, name=name, stop=stop, clock=clock, metrics=metrics)
    from percorso_shared.bus.kafka import KafkaBus
    return await KafkaBus.open(settings, pool, name=name, stop=stop, clock=clock, metrics=metrics)
