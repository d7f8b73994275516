"""Settings come from the environment once, and say what is wrong with them in one line."""

from dataclasses import fields
from pathlib import Path

import pytest

from percorso_shared.settings import Settings, SettingsError, read_settings, variable_of


def wrong(environment: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        read_settings(environment)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = read_settings({})
    assert (settings.public_port, settings.private_port, settings.data_dir) == (8000, 8001, Path("data"))
    assert settings.embedded_database
    assert settings.embedded_bus


def test_variables_with_other_prefixes_are_none_of_our_business() -> None:
    assert read_settings({"PUBLIC_PORT": "1", "OTEL_SERVICE_NAME": "x", "percorso_public_port": "1"}) == Settings()


def test_a_value_is_read_in_the_kind_of_its_default() -> None:
    settings = read_settings({"PERCORSO_PUBLIC_PORT": "9000", "PERCORSO_DATA_DIR": "/srv/a b", "PERCORSO_SPOOL": "off"})
    assert (settings.public_port, settings.data_dir, settings.spool) == (9000, Path("/srv/a b"), "off")


def test_an_option_of_the_command_line_wins_and_none_means_not_given() -> None:
    settings = read_settings({"PERCORSO_PUBLIC_PORT": "9000", "PERCORSO_PRIVATE_PORT": "9001"},
                             public_port=9100, private_port=None)
    assert (settings.public_port, settings.private_port) == (9100, 9001)


def test_an_empty_number_is_not_given() -> None:
    assert read_settings({"PERCORSO_PUBLIC_PORT": "", "PERCORSO_DATA_DIR": ""}) == Settings()


@pytest.mark.parametrize(("unknown", "meant"), [
    ("PERCORSO_PUBIC_PORT", "PERCORSO_PUBLIC_PORT"), ("PERCORSO_DATABASE", "PERCORSO_DATABASE_URL"),
    ("PERCORSO_LOGLEVEL", "PERCORSO_LOG_LEVEL"), ("PERCORSO_SMTP_URL_FIL", "PERCORSO_SMTP_URL")])
def test_an_unknown_variable_names_the_nearest_known_one(unknown: str, meant: str) -> None:
    message = wrong({unknown: "1"})
    assert message.startswith(f"{unknown} is not a setting; did you mean {meant}?")


def test_an_unknown_variable_without_a_near_one_points_to_the_list() -> None:
    assert wrong({"PERCORSO_XYZZY": "1"}) == "PERCORSO_XYZZY is not a setting (`percorso settings` lists all)"


@pytest.mark.parametrize("variable", [
    "PERCORSO_TEST_DIR", "PERCORSO_CI", "PERCORSO_SERVICE_HOST", "PERCORSO_SERVICE_PORT", "PERCORSO_SERVICE_PORT_HTTP",
    "PERCORSO_PORT_8000_TCP", "PERCORSO_PORT_8000_TCP_ADDR", "PERCORSO_CONSOLE_SERVICE_HOST",
    "PERCORSO_CONSOLE_PORT_8001_TCP_PROTO"])
def test_what_tests_and_kubernetes_set_is_let_be(variable: str) -> None:
    assert read_settings({variable: "x"}) == Settings()


@pytest.mark.parametrize("variable", ["PERCORSO_PORT", "PERCORSO_PUBLIC_PORT", "PERCORSO_INGEST_API_PORT"])
def test_a_port_that_kubernetes_injects_as_an_address_is_let_be(variable: str) -> None:
    assert read_settings({variable: "tcp://10.0.0.1:8000"}) == Settings()


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://u:p@db/percorso\n")
    assert read_settings({"PERCORSO_DATABASE_URL_FILE": str(tmp_path / "url")}).database_url == (
        "postgresql://u:p@db/percorso")


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    message = wrong({"PERCORSO_SECRET_FILE": str(tmp_path / "none")})
    assert message == f"PERCORSO_SECRET_FILE: cannot read {tmp_path / 'none'}: No such file or directory"


def test_only_secrets_come_from_files(tmp_path: Path) -> None:
    assert "only secrets are read from files" in wrong({"PERCORSO_MAIL_FROM_FILE": str(tmp_path)})


def test_the_setting_whose_own_name_ends_in_file_is_no_file_of_a_secret() -> None:
    assert read_settings({"PERCORSO_GEO_FILE": "/geo.mmdb"}).geo_file == "/geo.mmdb"


@pytest.mark.parametrize(("variable", "value", "message"), [
    ("PUBLIC_PORT", "http", "PERCORSO_PUBLIC_PORT must be a whole number, not 'http'"),
    ("PUBLIC_PORT", "65536", "PERCORSO_PUBLIC_PORT must be between 0 and 65535, not 65536"),
    ("PRIVATE_PORT", "-1", "PERCORSO_PRIVATE_PORT must be between 0 and 65535, not -1"),
    ("PARTITIONS", "0", "PERCORSO_PARTITIONS must be between 1 and 256, not 0"),
    ("RETENTION_BUS_DAYS", "0", "PERCORSO_RETENTION_BUS_DAYS must be between 1 and 3650, not 0"),
    ("QUARANTINE_MAX_BYTES", "-1", "PERCORSO_QUARANTINE_MAX_BYTES must be 0 or more, not -1"),
    ("LOG_LEVEL", "loud", "PERCORSO_LOG_LEVEL must be debug, info, warning or error, not 'loud'"),
    ("SPOOL", "yes", "PERCORSO_SPOOL must be on or off, not 'yes'"),
    ("PUBLIC_URL", "cdp.example", "PERCORSO_PUBLIC_URL must begin with http:// or https://"),
    ("SMTP_URL", "mail.example:25", "PERCORSO_SMTP_URL must begin with smtp:// or smtps://"),
    ("DATABASE_URL", "mysql://x", "PERCORSO_DATABASE_URL must begin with postgresql:// or postgres://")])
def test_a_wrong_value_is_said_with_what_may_stand_there(variable: str, value: str, message: str) -> None:
    assert wrong({f"PERCORSO_{variable}": value}) == message


def test_a_message_never_repeats_a_secret() -> None:
    assert "hunter2" not in wrong({"PERCORSO_DATABASE_URL": "mysql://u:hunter2@db"})
    assert "hunter2" not in wrong({"PERCORSO_SMTP_URL": "smtp://u:hunter2@mail:port"})


def test_every_setting_has_a_meaning_and_a_variable() -> None:
    assert all(item.metadata["meaning"] for item in fields(Settings))
    assert variable_of("public_port") == "PERCORSO_PUBLIC_PORT"


@pytest.mark.parametrize(("given", "address"), [
    ({}, "http://127.0.0.1:8000"),
    ({"public_host": "0.0.0.0", "public_port": 80}, "http://127.0.0.1:80"),
    ({"public_host": "::1"}, "http://[::1]:8000"),
    ({"public_url": "https://t.shop.example/"}, "https://t.shop.example")])
def test_the_public_address_is_the_given_one_or_derived(given: dict[str, object], address: str) -> None:
    assert read_settings({}, **given).public_address == address
