"""Both buses, for tests that must hold on either."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from bus_world import World
from percorso_shared.settings import Settings


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def world(request: pytest.FixtureRequest, database_url: str, pool: Any) -> AsyncIterator[World]:
    """Empty, with topics of its own."""
    settings = Settings(database_url=database_url, partitions=3)
    if request.param == "kafka":
        broker = request.getfixturevalue("kafka")
        settings = replace(settings, kafka_bootstrap=broker.bootstrap, kafka_prefix=f"t{uuid4().hex[:8]}.")
    world = World(settings, database_url, pool)
    yield world
    for worker in world.workers:
        if worker.running or not worker.stop.is_set():
            await worker.end()
