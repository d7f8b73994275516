"""Runs every case many times, each in empty workspaces of one temporary database."""

import asyncio
import random
from collections.abc import Callable, Sequence

import asyncpg

from percorso_services.commands.check_identity.cases import Case
from percorso_services.commands.check_identity.compare import Found
from percorso_services.commands.check_identity.load import Engine
from percorso_shared.clock import SystemClock
from percorso_shared.database import open_pool
from percorso_shared.temporary_database import temporary_database

SHUFFLES = 20
AT_ONCE = 2
"""Cases under way at the same time, each on a connection of its own."""
WORKSPACES_PER_RUN = 16


async def check(cases: Sequence[Case], seed: str, say: Callable[[str], None]) -> tuple[int, int]:
    """(passed, failed). Says what is different, with the seed that repeats it."""
    async with temporary_database() as url:
        pool = await open_pool(url, name="percorso check", max_size=AT_ONCE)
        try:
            return await check_on(pool, cases, seed, say)
        finally:
            await pool.close()


async def check_on(pool: "asyncpg.Pool", cases: Sequence[Case], seed: str, say: Callable[[str], None],
                   shuffles: int = SHUFFLES) -> tuple[int, int]:
    """The same on a database at hand, whose workspaces from 1,000 on are not in use."""
    engine = Engine(pool, SystemClock().now_ms())
    turns = asyncio.Semaphore(AT_ONCE)

    async def run(number: int, case: Case) -> bool:
        for shuffle in range(shuffles):
            base = 1_000 + (number * shuffles + shuffle) * WORKSPACES_PER_RUN
            run_seed = f"{seed}/{case.case}/{shuffle}"
            async with turns:
                await engine.load(case, base, run_seed)
                async with pool.acquire() as connection:
                    differences = await Found(connection, case, base).differences()
            if differences:
                say(f"failed: {case.case} (shuffle {shuffle} of --seed {seed})")
                for difference in differences:
                    say(f"    {difference}")
                return False
        return True

    results = await asyncio.gather(*(run(number, case) for number, case in enumerate(cases)))
    return sum(results), len(results) - sum(results)


def draw_seed() -> str:
    return str(random.SystemRandom().randrange(1_000_000))
