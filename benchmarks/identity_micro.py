"""What identity alone costs: batches of 1,000 touchpoints, of which by default 8 % are new joins and 10 % new visitors,
through the real handler, on one writer.

    python benchmarks/identity_micro.py [--batches N] [--joins SHARE] [--visitors SHARE] [--profile]

Prints microseconds per touchpoint of our process and of the PostgreSQL backend (CPU time, so that other load on the
machine matters little), statements per batch, and the rate that follows from both on one core each.
"""

import argparse
import asyncio
import cProfile
import pstats
import random
import sys
import time
from collections import Counter
from typing import Any

import msgspec
import psutil

from percorso_services.identity_worker.worker import IdentityWorker
from percorso_shared import ids
from percorso_shared.bus.port import Batch, Record
from percorso_shared.database import open_pool
from percorso_shared.temporary_database import temporary_database
from percorso_shared.topics import ACCEPTED, ENCODER, SCHEMA, Accepted

SIZE = 1_000
START = 1_772_409_600_000


class Population:
    """Visitors that come back, of whom some log in, on one device or several."""

    def __init__(self, seed: int, joins: float, visitors: float) -> None:
        self._joins, self._newcomers = joins, visitors
        self._chance = random.Random(seed)
        self._links: list[list[tuple[str, str]]] = []
        self._unknown: list[list[tuple[str, str]]] = []
        self._users = 0
        self._visitors = 0
        self._n = 0

    def batch(self) -> list[bytes]:
        return [self._touch() for _ in range(SIZE)]

    def _touch(self) -> bytes:
        chance, self._n = self._chance, self._n + 1
        draw = chance.random()
        if draw < self._newcomers or len(self._links) < 10:
            self._visitors += 1
            identifiers = [("anonymous_id", f"visitor-{self._visitors}")]
            self._links.append(identifiers)
            self._unknown.append(identifiers)
        elif draw < self._newcomers + self._joins:
            if self._users and chance.random() < 0.5:  # one more device of somebody known
                self._visitors += 1
                user = chance.randrange(self._users)
                identifiers = [("anonymous_id", f"visitor-{self._visitors}"), ("user_id", f"user-{user}")]
            else:
                self._users += 1
                identifiers = self._unknown.pop(chance.randrange(len(self._unknown))) if self._unknown else []
                name = f"user-{self._users}"
                identifiers = [*identifiers, ("user_id", name), ("email", f"{name}@example.com")]
            self._links.append(identifiers)
        else:
            identifiers = self._any()
        message = f"message-{self._n}"
        return ENCODER.encode(Accepted(
            schema=SCHEMA, workspace=1, source="web", trust="server", event_id=ids.event_id(1, "web", message).hex(),
            message_id=message, type="track", name="Product Viewed", timestamp=START + self._n, received_at=START,
            identifiers=identifiers,
            properties=msgspec.Raw(b'{"sku":"A-1","price":19.9}'), context=msgspec.Raw(b'{"page":{"path":"/x"}}')))

    def _any(self) -> list[tuple[str, str]]:
        """Somebody seen lately, mostly."""
        newest = int(self._chance.expovariate(1 / 3_000))
        return self._links[-1 - min(newest, len(self._links) - 1)]


class _Tx:
    def __init__(self, connection: Any) -> None:
        self.connection, self.now_ms = connection, START
        self.published: list[bytes] = []
        self.callbacks: list[Any] = []

    def publish(self, topic: str, value: bytes, *, origin: tuple[int, int], partition: int | None = None,
                key: bytes | None = None) -> None:
        self.published.append(value)

    def after_commit(self, callback: Any) -> None:
        self.callbacks.append(callback)


def _short(query: str) -> str:
    return " ".join(query.split())[:90]


async def measure(batches: int, joins: float, visitors: float, profile: bool) -> None:
    population, worker = Population(7, joins, visitors), IdentityWorker()
    async with temporary_database() as url:
        pool = await open_pool(url, name="benchmark")
        async with pool.acquire() as connection:
            backend = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
            statements: Counter[str] = Counter()
            elapsed: Counter[str] = Counter()
            connection.add_query_logger(lambda query: elapsed.update({_short(query.query): query.elapsed or 0.0}))
            ours = theirs = wall = 0.0
            profiler = cProfile.Profile()
            for number in range(batches):
                values = population.batch()
                if number == batches // 4:
                    ours = theirs = wall = 0.0
                    elapsed.clear()
                records = [Record(index, value) for index, value in enumerate(values)]
                used, before, began = sum(backend.cpu_times()[:2]), time.process_time(), time.perf_counter()
                if profile:
                    profiler.enable()
                async with connection.transaction():
                    tx = _Tx(connection)
                    await worker.handle(Batch(ACCEPTED, 0, records), tx)
                for callback in tx.callbacks:
                    callback()
                profiler.disable()
                ours += time.process_time() - before
                wall += time.perf_counter() - began
                theirs += sum(backend.cpu_times()[:2]) - used
            with connection.query_logger(lambda query: statements.update([query.query.split()[0]])):
                async with connection.transaction():
                    await worker.handle(Batch(ACCEPTED, 0, [
                        Record(index, value) for index, value in enumerate(population.batch())]), _Tx(connection))
        await pool.close()
    count = (batches - batches // 4) * SIZE
    us = 1e6 / count
    sys.stdout.write(
        f"{count} touchpoints after {batches // 4 * SIZE} to warm up: python {ours * us:.1f} us, "
        f"postgresql {theirs * us:.1f} us each; wall {count / wall:.0f}/s, by CPU {count / (ours + theirs):.0f}/s; "
        f"{sum(statements.values())} statements per batch\n")
    for query, seconds in elapsed.most_common(15):
        sys.stdout.write(f"{seconds * us:7.2f} us  {query}\n")
    if profile:
        pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(28)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--batches", type=int, default=80)
    arguments.add_argument("--joins", type=float, default=0.08)
    arguments.add_argument("--visitors", type=float, default=0.10)
    arguments.add_argument("--profile", action="store_true")
    given = arguments.parse_args()
    asyncio.run(measure(given.batches, given.joins, given.visitors, given.profile))
