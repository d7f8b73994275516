"""The commands beside `percorso up`, and what they say when they cannot work."""

import json
import re
import socket
from pathlib import Path

import pytest

from percorso_command import PercorsoUp, percorso

CLUSTER = {"PERCORSO_SECRET": "not-a-real-secret", "PERCORSO_KAFKA_BOOTSTRAP": "127.0.0.1:1",
           "PERCORSO_DATABASE_URL": "postgresql://percorso:hunter2@127.0.0.1:1/percorso"}


async def test_keys_and_sources_without_a_running_copy(tmp_path: Path) -> None:
    data = ("--data", tmp_path / "data")
    keys = json.loads((await percorso("keys", "--json", *data)).out)
    assert keys["workspace"] == 1
    assert keys["secret_key"].startswith("sk_1_")
    made = await percorso("source", "create", "shop", "--kind", "server", "--write-key", "KeyUsedElsewhere", *data)
    assert (made.code, made.out.strip()) == (0, "KeyUsedElsewhere")
    assert (await percorso("source", "alias", "shop", "ga4:G-XXXX", *data)).code == 0
    listed = (await percorso("source", "list", *data)).out
    assert re.search(r"shop +server +KeyUsedElsewhere +ga4:G-XXXX", listed)
    again = await percorso("source", "create", "shop", *data)
    assert (again.code, again.err) == (2, "percorso: another source has the name 'shop'\n")
    assert keys["sources"] == json.loads((await percorso("keys", "--json", *data)).out)["sources"][:1] + [
        source for source in keys["sources"] if source["name"] == "backend"]


async def test_a_key_is_made_listed_and_revoked_through_the_address_of_a_server(
        database_url: str, tmp_path: Path) -> None:
    async def command(*arguments: str) -> tuple[int, str]:
        result = await percorso(*arguments, "--data", tmp_path, PERCORSO_DATABASE_URL=database_url)
        return result.code, result.out

    code, secret = await command("key", "create", "--scope", "read", "--name", "reports")
    assert code == 0
    assert re.fullmatch(r"sk_1_\w{40}\n", secret)
    _, listed = await command("key", "list")
    assert secret.strip() not in listed
    key_id = listed.split()[0]
    assert "valid" in listed
    assert (await command("key", "revoke", key_id))[0] == 0
    assert "revoked" in (await command("key", "list"))[1]
    assert (await command("key", "revoke", key_id))[0] == 2
    assert (await command("key", "create", "--scope", "write"))[0] == 2
    assert (await command("migrate"))[0] == 0


async def test_the_doctor_finds_a_healthy_copy_healthy_and_a_lost_mail_server_wrong(tmp_path: Path) -> None:
    async with PercorsoUp(tmp_path / "data"):
        healthy = await percorso("doctor", "--data", tmp_path / "data")
        assert healthy.code == 0, healthy.out
        for part in ("versions", "disk", "ready at http", "PostgreSQL 18", "clock", "transactions", "embedded"):
            assert part in healthy.out
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        ill = await percorso("doctor", "--json", "--data", tmp_path / "data",
                             PERCORSO_SMTP_URL=f"smtp://u:hunter2@127.0.0.1:{port}")
        assert ill.code == 1
        wrong = [finding for finding in map(json.loads, ill.out.splitlines()) if finding["advice"]]
        assert [finding["about"] for finding in wrong] == ["smtp"]
        assert "hunter2" not in ill.out + ill.err


async def test_settings_are_listed_with_secrets_masked() -> None:
    result = await percorso("settings", "--json", PERCORSO_SECRET="hunter2", PERCORSO_PUBLIC_PORT="9000")
    rows = {row["name"]: row for row in json.loads(result.out)}
    assert rows["PERCORSO_SECRET"]["value"] == "(set)"
    assert (rows["PERCORSO_PUBLIC_PORT"]["default"], rows["PERCORSO_PUBLIC_PORT"]["value"]) == ("8000", "9000")
    plain = await percorso("settings", PERCORSO_SECRET="hunter2")
    assert "hunter2" not in plain.out
    assert "PERCORSO_QUARANTINE_MAX_BYTES" in plain.out


@pytest.mark.parametrize(("arguments", "environment", "message"), [
    (("up",), {"PERCORSO_PUBIC_PORT": "1"}, "PERCORSO_PUBIC_PORT is not a setting; did you mean PERCORSO_PUBLIC_PORT?"),
    (("up",), {"PERCORSO_LOG_LEVEL": "loud"}, "PERCORSO_LOG_LEVEL must be debug, info, warning or error"),
    (("up", "--public-port", "99999"), {}, "PERCORSO_PUBLIC_PORT must be between 0 and 65535"),
    (("up", "--data", "/proc/none"), {}, "cannot make the data folder /proc/none"),
    (("run", "console"), {}, "PERCORSO_DATABASE_URL and PERCORSO_KAFKA_BOOTSTRAP and PERCORSO_SECRET must be set"),
    (("run", "consolo"), CLUSTER, "'consolo' is not a process; the processes are ingest_api, "),
    (("run", "console", "console"), CLUSTER, "a process is named twice"),
    (("keys",), CLUSTER, "no connection to the database at 127.0.0.1:1: connection refused")])
async def test_what_cannot_run_says_so_in_one_line(
        arguments: tuple[str, ...], environment: dict[str, str], message: str) -> None:
    result = await percorso(*arguments, **environment)
    assert result.code == 2
    assert result.err.startswith(f"percorso: {message}")
    assert result.err.count("\n") == 1
    assert "hunter2" not in result.err


async def test_the_version_is_shown() -> None:
    result = await percorso("--version")
    assert (result.code, result.out.split()[0]) == (0, "percorso")


async def test_the_help_lists_every_command() -> None:
    result = await percorso("--help")
    assert result.code == 0
    for command in ("up", "run", "migrate", "keys", "key", "source", "settings", "doctor", "check", "journey", "demo"):
        assert re.search(rf"\b{command}\b", result.out)
