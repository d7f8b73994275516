"""A unit of work without the bus: a real transaction, and the outputs kept in a list to look at."""

from collections.abc import Callable
from typing import Any

import msgspec

from percorso_shared.bus.port import Connection


class RecordingTx:
    """Satisfies `Tx`. `connection` is inside a transaction that the test opened.

    `published` holds (topic, partition, value): the value is the decoded record with `origin` in it as a list;
    `partition` is what the handler asked for, None = the partition that was read.
    """

    def __init__(self, connection: Connection, now_ms: int = 1_772_409_600_000) -> None:
        self._connection = connection
        self._now_ms = now_ms
        self.published: list[tuple[str, int | None, dict[str, Any]]] = []
        self.keys: list[bytes | None] = []
        self.callbacks: list[Callable[[], None]] = []

    @property
    def connection(self) -> Any:
        return self._connection

    @property
    def now_ms(self) -> int:
        return self._now_ms

    def publish(self, topic: str, value: bytes, *, origin: tuple[int, int], partition: int | None = None,
                key: bytes | None = None) -> None:
        record = msgspec.json.decode(value)
        assert isinstance(record, dict), f"{topic}: a record is a JSON object"
        assert not record.keys() & {"stage", "origin", "seq"}, f"{topic}: stage, origin and seq belong to the bus"
        self.published.append((topic, partition, record | {"origin": list(origin)}))
        self.keys.append(key)

    def after_commit(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def of(self, topic: str) -> list[dict[str, Any]]:
        """The records published to one topic, in order."""
        return [record for name, _, record in self.published if name == topic]

    def run_after_commit(self) -> None:
        """What the runner does once the transaction is durable."""
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback()
