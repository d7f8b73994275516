"""The unit of work: state, outputs and consumer position in one transaction, behind a fence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from percorso_shared.bus.codec import head_of, splice_behind
from percorso_shared.bus.errors import LostPartition, describe
from percorso_shared.bus.place import Place, as_json
from percorso_shared.bus.port import Stop

_FENCE = """
UPDATE bus.position SET next = $4, seen = $5::text::jsonb, sent = greatest(sent, $6), mark = greatest(mark, $7)
WHERE grp = $1 AND topic = $2 AND partition = $3 AND next = $8 AND epoch = $9
"""
_WHERE_WE_STAND = "SELECT next, epoch FROM bus.position WHERE grp = $1 AND topic = $2 AND partition = $3"


@dataclass(slots=True)
class Output:
    """What one unit of work writes to one partition, already bearing stage, origin and seq."""

    topic: str
    partition: int
    values: list[bytes] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    head: bytes = b""
    """What its records begin with, up to the origin."""
    seq: int = 0
    """The highest given."""


class Outlet(Protocol):
    """How an adapter writes the outputs of units of work."""

    def partitions_of(self, topic: str) -> int: ...

    async def write(self, connection: Any, place: Place, out: dict[str, int], outputs: Sequence[Output],
                    now_ms: int) -> Any:
        """Inside the transaction: the outputs, and `out` into the place's row if the epoch is still ours, else
        LostPartition. Returns what `committed` needs."""

    async def taken_over(self, connection: Any, place: Place) -> None:
        """Right after a claim, outside a transaction: what the last owner wrote and perhaps did not send."""

    async def settled(self, place: Place) -> None:
        """Waits a while for what is on its way from a place that is about to be released."""

    async def committed(self, place: Place, outputs: Sequence[Output], token: Any) -> None:
        """Once it is durable. May wait while too much is under way."""


class UnitOfWork:
    """The `Tx` of handlers and ticks."""

    def __init__(self, connection: Any, now_ms: int, place: Place, outlet: Outlet, *, primary: bool,
                 partition: int | None) -> None:
        self._connection = connection
        self._now_ms = now_ms
        self._place = place
        self._outlet = outlet
        self._primary = primary
        self._partition = partition
        self._outputs: dict[tuple[str, int], Output] = {}
        self._asked: dict[tuple[str, int | None], Output] = {}
        self._callbacks: list[Callable[[], None]] = []

    @property
    def connection(self) -> Any:
        return self._connection

    @property
    def now_ms(self) -> int:
        return self._now_ms

    def publish(self, topic: str, value: bytes, *, origin: tuple[int, int], partition: int | None = None,
                key: bytes | None = None) -> None:
        output = self._asked.get((topic, partition))
        if output is None:
            output = self._asked[topic, partition] = self._open(topic, partition)
        output.seq += 1
        output.values.append(splice_behind(output.head, value, origin, output.seq))
        output.keys.append(key)

    def _open(self, topic: str, partition: int | None) -> Output:
        target = self._partition if partition is None else partition
        if target is None:
            raise ValueError(f"{topic}: a tick must name the partition that it writes to")
        target %= self._outlet.partitions_of(topic)
        if (topic, target) not in self._outputs:
            self._outputs[topic, target] = Output(
                topic, target, head=head_of(self._place.producer(self._primary, target)),
                seq=self._place.out.get(f"{topic}/{target}", 0))
        return self._outputs[topic, target]

    def after_commit(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def commit_outputs(self) -> "Written":
        """Inside the transaction, last."""
        outputs = list(self._outputs.values())
        out = self._place.out | {f"{output.topic}/{output.partition}": output.seq for output in outputs}
        if outputs:
            token = await self._outlet.write(self._connection, self._place, out, outputs, self._now_ms)
        else:
            # A handler that swallowed an SQL error has a dead transaction, whose COMMIT would roll back in silence.
            token = await self._connection.fetchval("SELECT 1")
        return Written(outputs, out, token, self._callbacks)


@dataclass(slots=True)
class Written:
    """What a unit of work has written, to be told to others once it is durable."""

    outputs: list[Output]
    out: dict[str, int]
    token: Any
    callbacks: list[Callable[[], None]]


async def pass_fence(connection: Any, place: Place, next_: int, seen: dict[str, int]) -> None:
    """The first statement of a unit of work. Raises LostPartition."""
    status = await connection.execute(
        _FENCE, place.grp, place.topic, place.partition, next_, as_json(seen), place.sent, place.mark, place.next,
        place.epoch)
    if status != "UPDATE 1":
        raise LostPartition(f"{place.grp} no longer owns {place.topic}/{place.partition}")


async def stands_at(connection: Any, place: Place) -> int | None:
    """The committed position if the place is still ours, else None: tells after a lost connection whether the commit
    that was under way came through."""
    row = await connection.fetchrow(_WHERE_WE_STAND, place.grp, place.topic, place.partition)
    return row["next"] if row is not None and row["epoch"] == place.epoch else None


def run_callbacks(written: Written) -> None:
    """After the commit. The work is done and must not be tried again, so an error here halts the process."""
    for callback in written.callbacks:
        try:
            callback()
        except Exception as error:
            raise Stop(f"what was to follow a commit failed: {describe(error)}") from error
