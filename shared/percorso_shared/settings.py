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
from urllib.parse import urlsplit

from percorso_shared.cannot_run import CannotRun


class SettingsError(CannotRun):
    """A setting is wrong; the message says which, why, and what to write instead."""


def _setting(default: Any, meaning: str, *, secret: bool = False, low: int | None = None, high: int | None = None,
             choices: tuple[str, ...] = (), schemes: tuple[str, ...] = ()) -> Any:
    """`low` and `high` are the limits of a number; `schemes` how a non-empty address may begin."""
    return field(default=default, metadata={
        "meaning": meaning, "secret": secret, "low": low, "high": high, "choices": choices, "schemes": schemes})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Field `x_y` is read from `PERCORSO_X_Y`, a secret one also from the file named by `PERCORSO_X_Y_FILE`."""

    data_dir: Path = _setting(  # noqa: RUF009 each call makes a field
        Path("data"), "folder of the embedded database, keys, journeys and spool")
    database_url: str = _setting("", "PostgreSQL >= 15; empty: the embedded one in the data folder", secret=True,
                                 schemes=("postgresql", "postgres"))
    kafka_bootstrap: str = _setting("", "host:port,host:port of Apache Kafka; empty: the embedded bus")
    kafka_prefix: str = _setting("", "put before the names of topics and consumer groups on Kafka, e.g. `shop.`")
    public_host: str = _setting("127.0.0.1", "address that the public port binds to")
    public_port: int = _setting(8000, "public port: ingest, beacon, demo shop; 0 takes a free one", low=0, high=65_535)
    private_host: str = _setting("127.0.0.1", "address that the private port binds to")
    private_port: int = _setting(8001, "private port: query API, console; 0 takes a free one", low=0, high=65_535)
    public_url: str = _setting("", "address under which browsers reach the public port; empty: derived, with http",
                               schemes=("http", "https"))
    trusted_proxies: str = _setting("", "addresses or networks whose forwarded headers are believed, with commas")
    smtp_url: str = _setting("", "smtp://user:pass@host:port or smtps://...; empty: the built-in mailbox", secret=True,
                             schemes=("smtp", "smtps"))
    mail_from: str = _setting("Percorso <percorso@localhost>", "sender of mails")
    webhook_allow: str = _setting("", "host:port list exempt from the rule against private addresses")
    secret: str = _setting("", "signing secret; generated and kept in the data folder when embedded", secret=True)
    journeys_dir: str = _setting("", "folder of journeys and templates; empty: <data>/journeys")
    spool: str = _setting("off", "on or off: keep accepted touchpoints on disk while the bus is down",
                          choices=("on", "off"))
    geo_file: str = _setting("", "MaxMind-format file for coarse places; empty: none")
    retention_bus_days: int = _setting(3, "days that the bus keeps its records", low=1, high=3_650)
    retention_quarantine_days: int = _setting(14, "days that the quarantine keeps unreadable bytes", low=1, high=3_650)
    quarantine_max_bytes: int = _setting(1 << 30, "bytes of originals that the quarantine keeps", low=0)
    partitions: int = _setting(4, "partitions of each topic, fixed at the first start", low=1, high=256)
    log_level: str = _setting("info", "debug, info, warning or error", choices=("debug", "info", "warning", "error"))

    @property
    def embedded_database(self) -> bool:
        return not self.database_url

    @property
    def embedded_bus(self) -> bool:
        return not self.kafka_bootstrap

    @property
    def journeys_path(self) -> Path:
        return Path(self.journeys_dir) if self.journeys_dir else self.data_dir / "journeys"

    @property
    def public_address(self) -> str:
        """What others use to reach the public port, without a slash at its end."""
        return self.public_url.rstrip("/") or _address(self.public_host, self.public_port)

    @property
    def private_address(self) -> str:
        """What the console and the query API are reached by from this machine."""
        return _address(self.private_host, self.private_port)


def _address(host: str, port: int) -> str:
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


PREFIX = "PERCORSO_"
_IGNORED = re.compile(r"^PERCORSO_(TEST_.*|CI)$|_SERVICE_|_PORT_")
"""For our own tests, and what Kubernetes injects for a service called percorso."""


def variable_of(name: str) -> str:
    """`public_port` -> `PERCORSO_PUBLIC_PORT`."""
    return PREFIX + name.upper()


def read_settings(environment: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """`overrides` (from command-line options) win; None among them means not given. Raises SettingsError."""
    known = {item.name: item for item in fields(Settings)}
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or _IGNORED.search(variable):
            continue
        name = variable[len(PREFIX):].lower()
        if name.endswith("port") and text.startswith("tcp://"):
            continue
        if name.endswith("_file") and name not in known and name[:-5] in known:
            name, text = name[:-5], _read_secret(variable, text, known[name[:-5]].metadata["secret"])
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {variable_of(near[0])}?" if near else ""
            raise SettingsError(f"{variable} is not a setting{hint} (`percorso settings` lists all)")
        default = known[name].default
        if text or isinstance(default, str):
            values[name] = _parse(variable, text, default)
    values.update({name: value for name, value in overrides.items() if value is not None})
    settings = Settings(**values)
    for name, item in known.items():
        _check(variable_of(name), getattr(settings, name), item.metadata)
    return settings


def _read_secret(variable: str, path: str, secret: bool) -> str:
    if not secret:
        raise SettingsError(f"{variable}: only secrets are read from files, and {variable[:-5]} is none")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{variable}: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}: {path} is not a text file") from None


def _parse(variable: str, text: str, default: Any) -> Any:
    if isinstance(default, int):
        try:
            return int(text)
        except ValueError:
            raise SettingsError(f"{variable} must be a whole number, not {text!r}") from None
    if isinstance(default, Path):
        return Path(text)
    return text


def _check(variable: str, value: Any, rules: Mapping[str, Any]) -> None:
    """Messages never repeat a secret."""
    low, high, choices, schemes = rules["low"], rules["high"], rules["choices"], rules["schemes"]
    if low is not None and (value < low or (high is not None and value > high)):
        raise SettingsError(f"{variable} must be " + (f"between {low} and {high}" if high is not None
                                                      else f"{low} or more") + f", not {value}")
    if choices and value not in choices:
        raise SettingsError(f"{variable} must be {', '.join(choices[:-1])} or {choices[-1]}, not {value!r}")
    if schemes and value:
        forms = " or ".join(f"{scheme}://" for scheme in schemes)
        if not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise SettingsError(f"{variable} must begin with {forms}")
        try:
            urlsplit(value).port  # noqa: B018 reading it checks it
        except ValueError:
            raise SettingsError(f"{variable} is not a valid address: its port is no number up to 65535") from None
