"""What folding one touchpoint costs: Python and PostgreSQL apart, in batches of 1,000, on a throwaway database.

    .venv/bin/python benchmarks/profile_micro.py [--batches 40] [--profile]

The mix: 2,000 people of three identifiers, 10 % of touchpoints identify with five traits, the others say nothing.
"""

import argparse
import asyncio
import cProfile
import pstats
import random
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import psutil

from percorso_services.profile_worker.worker import ProfileWorker
from percorso_shared.bus.codec import splice
from percorso_shared.bus.port import Batch, Record
from percorso_shared.database import open_pool
from percorso_shared.embedded_postgres import EmbeddedPostgres
from percorso_shared.ids import atom_id, event_id, link_id
from percorso_shared.migrate import migrate
from percorso_shared.topics import RESOLVED

NOW = 1_772_452_800_000
NAMES = ["page_view", "Product Viewed", "Product Added", "Order Completed", "Search"]


class BusLikeTx:
    """Does with outputs what the real unit of work does, but keeps them."""

    def __init__(self, connection: Any) -> None:
        self.connection, self.now_ms = connection, NOW
        self.values: list[bytes] = []

    def publish(self, topic: str, value: bytes, *, origin: tuple[int, int], partition: int | None = None,
                key: bytes | None = None) -> None:
        self.values.append(splice(value, "profile_worker", origin, len(self.values)))

    def after_commit(self, callback: Any) -> None:
        callback()


async def seed(pool: Any, people: int) -> list[tuple[bytes, bytes]]:
    """(link, home) of each person."""
    found, atoms, pointers, links, members = [], [], [], [], []
    for number in range(people):
        own = [(type_, f"{type_}{number}") for type_ in ("user_id", "email", "anonymous_id")]
        ids = [atom_id(1, *identifier) for identifier in own]
        link = link_id(1, ids)
        found.append((link, ids[0]))
        for (type_, value), atom in zip(own, ids, strict=True):
            atoms.append((1, atom, type_, value))
            pointers.append((1, atom, ids[0], type_))
            members.append((1, atom, link))
        links.append((1, link, sorted(ids), ids[0]))
    async with pool.acquire() as connection:
        await connection.executemany(
            "INSERT INTO identity.atom (workspace_id, atom_id, type, value, first_seen) VALUES ($1, $2, $3, $4, now())",
            atoms)
        await connection.executemany(
            "INSERT INTO identity.pointer (workspace_id, atom_id, profile_id, type, state, replay) "
            "VALUES ($1, $2, $3, $4, 0, false)", pointers)
        await connection.executemany(
            "INSERT INTO identity.link (workspace_id, link_id, atoms, home, server_time) "
            "VALUES ($1, $2, $3, $4, now())", links)
        await connection.executemany(
            "INSERT INTO identity.membership (workspace_id, atom_id, link_id) VALUES ($1, $2, $3)", members)
    return found


def batches(people: list[tuple[bytes, bytes]], count: int, size: int, rng: random.Random) -> list[Batch]:
    made, number = [], 0
    for _ in range(count):
        records = []
        for position in range(size):
            number += 1
            link, home = rng.choice(people)
            identify = rng.random() < 0.10
            message = f"m{number}"
            touchpoint = {
                "schema": 1, "workspace": 1, "source": "website", "trust": "browser",
                "event_id": event_id(1, "website", message).hex(), "message_id": message,
                "type": "identify" if identify else "track", "name": "identified" if identify else rng.choice(NAMES),
                "timestamp": NOW + number, "received_at": NOW + number + 5,
                "identifiers": [["user_id", "u1"], ["anonymous_id", "a" * 32]],
                "traits": {"name": f"P{number % 7}", "plan": rng.choice(["free", "pro"]), "city": "Rome", "age": 30,
                           "tz": "Europe/Rome"} if identify else {},
                "properties": {"url": "https://shop.example/products/4711", "title": "A product", "price": 12.5,
                               "sku": "4711-XL", "list": "search results"},
                "context": {"userAgent": "Mozilla/5.0 (X11; Linux x86_64)", "locale": "it-IT",
                            "page": {"path": "/products/4711", "referrer": "https://search.example/"}}}
            records.append(Record(position, msgspec.json.encode({
                "schema": 1, "stage": "identity_worker", "origin": [0, number], "seq": number, "workspace": 1,
                "event_id": touchpoint["event_id"], "link": link.hex(), "home": home.hex(), "profile": home.hex(),
                "touchpoint": touchpoint})))
        made.append(Batch(RESOLVED, 0, records))
    return made


def cpu_of_postgres() -> float:
    """CPU seconds of all PostgreSQL processes below us, the ended ones not counted."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
            total += times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return total


async def measure(count: int, size: int, profiled: bool) -> None:
    with TemporaryDirectory(prefix="percorso-bench-") as folder:
        server = EmbeddedPostgres(Path(folder))
        await server.start()
        pool = await open_pool(server.url, name="bench", min_size=1, max_size=2)
        try:
            async with pool.acquire() as connection:
                await migrate(connection)
            work = batches(await seed(pool, 2000), count + 5, size, random.Random(7))
            worker, profiler = ProfileWorker(), cProfile.Profile()

            async def run(batch: Batch) -> None:
                async with pool.acquire() as connection, connection.transaction():
                    await worker.handle(batch, BusLikeTx(connection))

            for batch in work[:5]:
                await run(batch)
            ours, theirs, began = resource.getrusage(resource.RUSAGE_SELF), cpu_of_postgres(), time.perf_counter()
            if profiled:
                profiler.enable()
            for batch in work[5:]:
                await run(batch)
            profiler.disable()
            took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
            touchpoints = count * size
            python = after.ru_utime + after.ru_stime - ours.ru_utime - ours.ru_stime
            print(  # noqa: T201
                  f"{touchpoints} touchpoints in batches of {size}: {touchpoints / took:,.0f}/s; CPU per touchpoint: "
                  f"Python {python / touchpoints * 1e6:.1f} us, "
                  f"PostgreSQL {(cpu_of_postgres() - theirs) / touchpoints * 1e6:.1f} us")
            if profiled:
                pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
        finally:
            await pool.close()
            await server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    asyncio.run(measure(options.batches, options.size, options.profile))
