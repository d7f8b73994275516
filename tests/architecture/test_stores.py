"""Whoever keeps personal data says how it is exported and erased."""

from percorso_shared.migrate import CONTEXTS
from percorso_shared.stores import registry

_TABLES = """
SELECT n.nspname || '.' || c.relname AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname = ANY($1)
"""


async def _tables(pool) -> set[str]:
    return {row["name"] for row in await pool.fetch(_TABLES, [schema for schema, _ in CONTEXTS])}


async def test_every_table_is_a_store_or_declared_free_of_personal_data(pool):
    found = registry()
    held = {place for store in found.stores for place in store.holds}
    assert await _tables(pool) - held - found.without_personal_data.keys() == set()


async def test_nothing_is_registered_that_does_not_exist_and_nothing_twice(pool):
    found = registry()
    held = [place for store in found.stores for place in store.holds]
    declared = {place for place in [*held, *found.without_personal_data] if not place.endswith("/")}
    assert declared - await _tables(pool) == set()
    assert len(held) == len(set(held))
    assert set(held) & found.without_personal_data.keys() == set()
    assert len({store.name for store in found.stores}) == len(found.stores)


async def test_whoever_has_a_schema_of_their_own_has_no_tables_outside_of_it(pool):
    schemas = await pool.fetch(
        "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'")
    assert {row["nspname"] for row in schemas} - {"public"} == {schema for schema, _ in CONTEXTS}
    assert await pool.fetchval("SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                               "WHERE n.nspname = 'public'") == 0
