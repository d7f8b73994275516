"""Fixtures for every suite: a real PostgreSQL, started once, and an empty migrated database per test."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

import real_components
from kafka_broker import NoKafka, any_broker
from percorso_shared.database import open_pool
from percorso_shared.embedded_postgres import EmbeddedPostgres
from percorso_shared.migrate import migrate


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One server for the whole run, with fsync off; its template database `percorso` is migrated."""
    folder = Path(tempfile.mkdtemp(prefix="percorso-test-", dir=os.environ.get("PERCORSO_TEST_DIR")))
    server = EmbeddedPostgres(folder, durable=False)

    async def begin() -> None:
        await server.start()
        connection = await asyncpg.connect(server.url)
        try:
            await migrate(connection)
        finally:
            await connection.close()

    with asyncio.Runner() as runner:
        runner.run(begin())
        yield server
        runner.run(server.stop())
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def database_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """The address of an empty, migrated database that only this test uses."""
    name = f"t_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(postgres.url_of("postgres"))
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE percorso STRATEGY file_copy")
        yield postgres.url_of(name)
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    finally:
        await admin.close()


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator["asyncpg.Pool"]:
    """A pool on this test's own database."""
    opened = await open_pool(database_url, name="test", min_size=1, max_size=6)
    yield opened
    opened.terminate()


@pytest.fixture(scope="session")
def kafka() -> Iterator[Any]:
    """A real Apache Kafka broker (see kafka_broker.py), one for the whole run. Without one the tests that need it are
    skipped, and in CI they fail."""
    folder = Path(tempfile.mkdtemp(prefix="percorso-kafka-", dir=os.environ.get("PERCORSO_TEST_DIR")))
    broker = None
    try:
        try:
            broker = any_broker(folder, heap=os.environ.get("PERCORSO_TEST_KAFKA_HEAP", "512m"))
            broker.start()
        except NoKafka as error:
            if os.environ.get("PERCORSO_CI") or os.environ.get("CI"):
                pytest.fail(f"no Apache Kafka for the tests: {error}", pytrace=False)
            pytest.skip(f"no Apache Kafka for the tests: {error}")
        real_components.note("kafka", f"Apache Kafka {broker.version}")
        yield broker
    finally:
        if broker is not None:
            broker.stop(hard=True)
        shutil.rmtree(folder, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in real_components.lines(terminalreporter.getreports("passed")):
        terminalreporter.write_line(line)
