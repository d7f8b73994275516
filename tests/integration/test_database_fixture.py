async def test_each_test_has_an_empty_migrated_database(pool) -> None:
    assert await pool.fetchval("SELECT count(*) FROM bus.migration") >= 0
    assert await pool.fetchval("SELECT $1::uuid", b"0123456789abcdef") == b"0123456789abcdef"
