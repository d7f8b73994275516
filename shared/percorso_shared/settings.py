"""The settings of a process: one frozen object, read from `PERCORSO_*` once, at the start.

Nothing else in the project reads the environment.
"""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any


class SettingsError(Exception):
    """A setting is wrong; the message says which, why, and what to write instead."""


def _setting(default: Any, meaning: str, *, secret: bool = False) -> Any:
    return field(default=default, metadata={"meaning": meaning, "secret": secret})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Field `x_y` is read from `PERCORSO_X_Y`, a secret one also from the file named by `PERCORSO_X_Y_FILE`."""

    data_dir: Path = _setting(Path("data"), "folder of the embedded database, keys, journeys and spool")
    database_url: str = _setting("", "PostgreSQL >= 15; empty: the embedded one in the data folder", secret=True)
    kafka_bootstrap: str = _setting("", "host:port,host:port of Apache Kafka; empty: the embedded bus")
    public_host: str = _setting("127.0.0.1", "address that the public port binds to")
    public_port: int = _setting(8000, "public port: ingest, beacon, demo shop; 0 takes a free one")
    private_host: str = _setting("127.0.0.1", "address that the private port binds to")
    private_port: int = _setting(8001, "private port: query API, console; 0 takes a free one")
    public_url: str = _setting("", "address under which browsers reach the public port; empty: derived, with http")
    trusted_proxies: str = _setting("", "addresses or networks whose forwarded headers are believed")
    smtp_url: str = _setting("", "smtp://user:pass@host:port or smtps://...; empty: the built-in mailbox", secret=True)
    mail_from: str = _setting("Percorso <percorso@localhost>", "sender of mails")
    webhook_allow: str = _setting("", "host:port list exempt from the rule against private addresses")
    secret: str = _setting("", "signing secret; generated and kept in the data folder when embedded", secret=True)
    journeys_dir: str = _setting("", "folder of journeys and templates; empty: <data>/journeys")
    spool: str = _setting("on", "on or off: keep accepted touchpoints on disk while the bus is down")
    geo_file: str = _setting("", "MaxMind-format file for coarse places; empty: none")
    retention_bus_days: int = _setting(3, "days that the bus keeps its records")
    retention_quarantine_days: int = _setting(14, "days that the quarantine keeps unreadable bytes")
    quarantine_max_bytes: int = _setting(1 << 30, "bytes of originals that the quarantine keeps")
    partitions: int = _setting(4, "partitions of each topic, fixed at the first start")
    log_level: str = _setting("info", "debug, info, warning or error")

    @property
    def embedded_database(self) -> bool:
        return not self.database_url

    @property
    def embedded_bus(self) -> bool:
        return not self.kafka_bootstrap

    @property
    def journeys_path(self) -> Path:
        return Path(self.journeys_dir) if self.journeys_dir else self.data_dir / "journeys"


PREFIX = "PERCORSO_"
_IGNORED = re.compile(r"^PERCORSO_(TEST_.*|CI|.*_SERVICE_.*|.*_PORT_.*)$")


def read_settings(environment: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """`overrides` (from command-line options) win; None among them means not given. Raises SettingsError."""
    known = {item.name: item for item in fields(Settings)}
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or _IGNORED.match(variable):
            continue
        name = variable[len(PREFIX):].lower()
        if name.endswith("_port") and text.startswith("tcp://"):
            continue
        if name.endswith("_file") and name not in known:
            name, text = name[:-5], _read_secret(variable, text, known)
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {PREFIX}{near[0].upper()}?" if near else ""
            raise SettingsError(f"{variable} is not a setting{hint} (`percorso settings` lists all)")
        values[name] = _parse(variable, text, known[name].default)
    values.update({name: value for name, value in overrides.items() if value is not None})
    settings = Settings(**values)
    _check(settings)
    return settings


def _read_secret(variable: str, path: str, known: Mapping[str, Any]) -> str:
    name = variable[len(PREFIX):-5].lower()
    if name not in known or not known[name].metadata["secret"]:
        raise SettingsError(f"{variable}: only secrets are read from files, and {PREFIX}{name.upper()} is none")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{variable}: cannot read {path}: {error.strerror}") from error


def _parse(variable: str, text: str, default: Any) -> Any:
    if isinstance(default, int):
        try:
            return int(text)
        except ValueError:
            raise SettingsError(f"{variable} must be a whole number, not {text!r}") from None
    if isinstance(default, Path):
        return Path(text)
    return text


def _check(settings: Settings) -> None:
    for name in ("public_port", "private_port"):
        if not 0 <= getattr(settings, name) <= 65_535:
            raise SettingsError(f"{PREFIX}{name.upper()} must be between 0 and 65535")
    if settings.log_level not in ("debug", "info", "warning", "error"):
        raise SettingsError(f"{PREFIX}LOG_LEVEL must be debug, info, warning or error, not {settings.log_level!r}")
    if settings.spool not in ("on", "off"):
        raise SettingsError(f"{PREFIX}SPOOL must be on or off, not {settings.spool!r}")
    if not 1 <= settings.partitions <= 256:
        raise SettingsError(f"{PREFIX}PARTITIONS must be between 1 and 256")
    if settings.smtp_url and not settings.smtp_url.startswith(("smtp://", "smtps://")):
        raise SettingsError(f"{PREFIX}SMTP_URL must begin with smtp:// or smtps://")
    if settings.database_url and not settings.database_url.startswith(("postgresql://", "postgres://")):
        raise SettingsError(f"{PREFIX}DATABASE_URL must begin with postgresql://")
