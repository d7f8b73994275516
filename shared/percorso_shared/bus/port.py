"""The bus as everybody else sees it: batches in, one transaction, batches out.

A worker is one function `handle(batch, tx)`. Everything it does goes through `tx`; the runner (`runner.py`) commits
state, outputs and consumer position in ONE PostgreSQL transaction. Delivery is at least once at the wire and exactly
once in effect: the fence and `seq` see to that.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import asyncpg

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
"""A connection on which the unit of work's transaction is open."""


class Record(NamedTuple):
    """One record of a partition."""

    position: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of one partition, already freed of what was seen before (by `seq`)."""

    topic: str
    partition: int
    records: Sequence[Record]
    """Never empty, at most 1,000 and about 1 MiB."""


class Tx(Protocol):
    """One unit of work."""

    @property
    def connection(self) -> Any:
        """The asyncpg connection, inside the open transaction. Ids (`uuid`) go in and come out as 16 bytes."""

    @property
    def now_ms(self) -> int:
        """The instant at which this unit of work began."""

    def publish(self, topic: str, value: bytes, *, origin: tuple[int, int], partition: int | None = None,
                key: bytes | None = None) -> None:
        """Adds one record to the outputs. `value` is a JSON object WITHOUT stage, origin and seq: they are written
        into it behind its opening brace. `partition` is by default the one that the batch was read from."""

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Called once the transaction is durable, never if it rolled back."""


Handler = Callable[[Batch, Tx], Awaitable[None]]
"""Raises PoisonRecord, or anything else, for what it cannot digest: the batch is rolled back and halved until the
record is found and set aside alone. Raises Stop to halt the process. Connection errors, deadlocks and serialisation
failures are retried as they are."""

Tick = Callable[[Tx], Awaitable[bool]]
"""A unit of work that no record caused (due timers, settled sends). True = there may be more: call again at once."""


class PoisonRecord(Exception):
    """This record cannot be processed: {0}"""

    def __init__(self, position: int, reason: str, detail: str) -> None:
        super().__init__(f"record at position {position}: {reason}: {detail}")
        self.position, self.reason, self.detail = position, reason, detail


class Stop(Exception):
    """Going on would do harm; the process halts and says why."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One consumer group: its name is the process name, the topics it reads and what it does with a batch."""

    name: str
    topics: tuple[str, ...]
    handle: Handler
    tick: Tick | None = None
    tick_seconds: float = 0.25
    max_records: int = 1000


class Receipt(NamedTuple):
    """Where a published record landed."""

    partition: int
    position: int


class Bus(Protocol):
    """What a process is given. `publish` is for records that no unit of work causes (ingest, delivery)."""

    partitions: int
    """Of each topic in PARTITIONED_ALIKE."""
    ingest_partitions: int
    """Ingest writes to the accepted partitions 0 .. ingest_partitions - 1."""
    own_partition: int
    """What workers add to `touchpoints.accepted` (email_sent ...) goes to this one, the last."""

    @property
    def trouble(self) -> Mapping[str, str]:
        """Stage, or "publish" -> why it cannot work at present. Empty when all is well; shown by /readyz."""

    def partition_for(self, key: bytes) -> int:
        """The partition of `touchpoints.accepted` for a key (an identifier's bytes): stable, spread evenly."""

    async def publish(self, topic: str, values: Mapping[int, Sequence[bytes]]) -> dict[int, int]:
        """partition -> values, in order. Returns partition -> position of the FIRST of them, only when all are
        durable (embedded: committed; Kafka: acks=all from an idempotent producer). Raises BusUnavailable."""

    async def run(self, stage: Stage) -> None:
        """Works until the process stops. One call per stage; several stages may run in one process."""

    async def stream_clock_ms(self, stage: str) -> int | None:
        """The smallest progress mark, in received time, over the accepted partitions as seen by this stage. None
        while a partition has no mark yet."""

    async def unread(self, stage: str, topic: str) -> dict[int, int]:
        """Partition -> records that the stage has not worked on yet. Raises BusUnavailable."""

    async def hold_clock(self, name: str, received_at: int | None) -> None:
        """For whoever keeps touchpoints that are not on the bus yet (a spool): no stream clock passes `received_at`,
        of the oldest of them, until None is given or 10 s have gone by without a call."""

    async def close(self) -> None:
        """Drains what is under way and lets go of everything."""


class BusUnavailable(Exception):
    """The bus cannot make records durable now; try again later."""


class BusMismatch(Exception):
    """The positions in this database do not belong to this bus; the message says what to do."""
