"""The plain reference: what a competent team writes in an afternoon. It stays as it is, so that ratios keep a meaning.

One uvicorn worker (uvloop, httptools), FastAPI, pydantic v2, aiokafka with acks=all, idempotent, linger 5 ms; the
futures of a request gathered.

    python -m benchmarks.reference_app BOOTSTRAP PORT
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

import uvicorn
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError
from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel, ConfigDict

TOPIC = "reference.touchpoints"


class Event(BaseModel):
    """One event of the Segment protocol."""

    model_config = ConfigDict(extra="allow")

    type: str | None = None
    messageId: str | None = None
    userId: str | None = None
    anonymousId: str | None = None
    event: str | None = None
    timestamp: datetime | None = None
    properties: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    context: dict[str, Any] = {}


class EventBatch(BaseModel):
    """The body of /v1/batch."""

    batch: list[Event]
    sentAt: datetime | None = None


def application(bootstrap: str) -> FastAPI:
    producer: AIOKafkaProducer | None = None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal producer
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        with suppress(TopicAlreadyExistsError):
            await admin.create_topics([NewTopic(TOPIC, num_partitions=4, replication_factor=1)])
        await admin.close()
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=5)
        await producer.start()
        yield
        await producer.stop()

    app = FastAPI(lifespan=lifespan)

    async def publish(events: list[Event]) -> None:
        assert producer is not None
        futures = [await producer.send(TOPIC, event.model_dump_json().encode(),
                                       key=(event.userId or event.anonymousId or "").encode()) for event in events]
        await asyncio.gather(*futures)

    @app.post("/v1/batch")
    async def batch(body: EventBatch, authorization: str | None = Header(None)) -> dict[str, bool]:
        if authorization is None:
            raise HTTPException(401)
        await publish(body.batch)
        return {"success": True}

    @app.post("/v1/{kind}")
    async def single(kind: str, body: Event, authorization: str | None = Header(None)) -> dict[str, bool]:
        if authorization is None:
            raise HTTPException(401)
        await publish([body])
        return {"success": True}

    return app


def main() -> None:
    uvicorn.run(application(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), loop="uvloop", http="httptools",
                access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
