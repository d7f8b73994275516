"""Sources and keys as the first start and the commands make them."""

import stat
from pathlib import Path
from typing import Any

import pytest

from percorso_services.installation_keys import ensure_keys, ensure_signing_secret, keys_file
from percorso_services.sources import add_alias, create_source, list_sources
from percorso_shared.cannot_run import CannotRun
from percorso_shared.control import WORKSPACE
from percorso_shared.control.access import Access, list_api_keys, revoke_api_key
from percorso_shared.data_folder import read_json


async def test_the_first_start_makes_two_sources_and_a_key_that_works(pool: Any, tmp_path: Path) -> None:
    async with pool.acquire() as connection:
        keys = await ensure_keys(connection, WORKSPACE, tmp_path)
    assert [(source.name, source.kind) for source in keys.sources] == [("website", "browser"), ("backend", "server")]
    grant = await Access(pool).verify(keys.secret_key or "")
    assert grant is not None
    assert grant.scope == "admin"
    assert read_json(keys_file(tmp_path)) == keys.as_json()
    assert stat.S_IMODE(keys_file(tmp_path).stat().st_mode) == 0o600


async def test_later_starts_change_nothing(pool: Any, tmp_path: Path) -> None:
    async with pool.acquire() as connection:
        first = await ensure_keys(connection, WORKSPACE, tmp_path)
        assert await ensure_keys(connection, WORKSPACE, tmp_path) == first
        assert len(await list_api_keys(connection, WORKSPACE)) == 1


async def test_a_key_that_is_not_kept_here_is_not_replaced(pool: Any, tmp_path: Path) -> None:
    async with pool.acquire() as connection:
        await ensure_keys(connection, WORKSPACE, tmp_path / "there")
        here = await ensure_keys(connection, WORKSPACE, tmp_path / "here")
    assert here.secret_key is None
    assert len(here.sources) == 2


async def test_a_new_key_is_made_when_the_last_was_revoked(pool: Any, tmp_path: Path) -> None:
    async with pool.acquire() as connection:
        first = await ensure_keys(connection, WORKSPACE, tmp_path)
        (key,) = await list_api_keys(connection, WORKSPACE)
        await revoke_api_key(connection, WORKSPACE, key.key_id)
        second = await ensure_keys(connection, WORKSPACE, tmp_path)
    assert second.secret_key not in (None, first.secret_key)


def test_the_signing_secret_is_made_once(tmp_path: Path) -> None:
    secret = ensure_signing_secret(tmp_path)
    assert len(secret) >= 32
    assert ensure_signing_secret(tmp_path) == secret


async def test_a_source_keeps_the_write_key_used_elsewhere(pool: Any) -> None:
    assert await create_source(pool, WORKSPACE, "shop", "server", "KeyUsedElsewhere") == "KeyUsedElsewhere"
    (source,) = await list_sources(pool, WORKSPACE)
    assert (source.name, source.kind, source.write_key, source.enabled) == ("shop", "server", "KeyUsedElsewhere", True)


async def test_names_and_write_keys_are_taken_once(pool: Any) -> None:
    await create_source(pool, WORKSPACE, "shop", "browser", "key")
    with pytest.raises(CannotRun, match="the name 'shop'"):
        await create_source(pool, WORKSPACE, "shop", "browser")
    with pytest.raises(CannotRun, match="that write key"):
        await create_source(pool, WORKSPACE, "other", "browser", "key")


@pytest.mark.parametrize(("name", "kind", "key"), [
    ("Shop", "browser", None), ("", "browser", None), ("shop", "app", None), ("shop", "browser", "with space"),
    ("shop", "browser", "with:colon"), ("shop", "browser", "")])
async def test_what_cannot_be_a_source_is_said(pool: Any, name: str, kind: str, key: str | None) -> None:
    with pytest.raises(CannotRun):
        await create_source(pool, WORKSPACE, name, kind, key)


async def test_an_alias_belongs_to_one_source(pool: Any) -> None:
    for name in ("shop", "blog"):
        await create_source(pool, WORKSPACE, name, "browser")
    for _ in range(2):
        await add_alias(pool, WORKSPACE, "shop", "plausible:shop.example")
    assert [source.aliases for source in await list_sources(pool, WORKSPACE)] == [("plausible:shop.example",), ()]
    with pytest.raises(CannotRun, match="alias of the source 'shop' already"):
        await add_alias(pool, WORKSPACE, "blog", "plausible:shop.example")
    with pytest.raises(CannotRun, match="there is no source 'none'"):
        await add_alias(pool, WORKSPACE, "none", "umami:1")
    with pytest.raises(CannotRun, match="is not PROTOCOL:ID"):
        await add_alias(pool, WORKSPACE, "shop", "plausible")
