import pytest

from percorso_shared.database import is_open, open_pool, terminate
from percorso_shared.wait_for_database import LOST


async def test_each_test_has_an_empty_migrated_database(pool) -> None:
    assert await pool.fetchval("SELECT count(*) FROM bus.migration") >= 0
    assert await pool.fetchval("SELECT $1::uuid", b"0123456789abcdef") == b"0123456789abcdef"


async def test_a_connection_that_the_server_ended_while_it_was_idle_is_not_open(database_url: str) -> None:
    pool = await open_pool(database_url, name="victim", min_size=1, max_size=2)
    lent = await pool.acquire()
    try:
        other = await pool.acquire()
        await other.execute("SELECT pg_terminate_backend($1)", lent.get_server_pid())
        await pool.release(other)
        with pytest.raises(LOST):
            await lent.execute("SELECT 1")
        assert not is_open(lent)
        terminate(lent)
        await pool.release(lent)
        assert await pool.fetchval("SELECT 1") == 1
    finally:
        pool.terminate()
