"""The systems under measurement: started, made ready, stopped. Everything on 127.0.0.1 and in a temporary folder."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PERCORSO = str(Path(sys.executable).parent / "percorso")
PROCESSES = ("ingest_api", "identity_worker", "profile_worker", "orchestrator_worker", "delivery_worker", "profile_api")


@dataclass(frozen=True)
class System:
    """Where to send, where to look, and which processes cost."""

    name: str
    public: int
    private: int
    write_key: str
    secret_key: str
    parts: dict[str, int]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(check: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return
        time.sleep(0.1)
    raise RuntimeError(f"{what} did not get ready in {seconds:.0f} s")


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def get(system: System, path: str) -> dict[str, object]:
    request = urllib.request.Request(f"http://127.0.0.1:{system.private}{path}",
                                     headers={"Authorization": f"Bearer {system.secret_key}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return dict(json.load(answer))


def wait_drained(system: System, seconds: float = 300.0) -> None:
    """Until every accepted touchpoint has gone through every stage, as the accounting says."""
    def drained() -> bool:
        rows: Any = get(system, "/v1/accounting")["data"]
        return bool(rows) and not any(row["in_flight"] for row in rows)

    wait_until(drained, "the drained pipeline", seconds)


def stop(process: "subprocess.Popen[bytes]", seconds: float = 30.0) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="percorso-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keys(data: Path, environment: dict[str, str]) -> tuple[str, str]:
    done = subprocess.run([PERCORSO, "keys", "--json", "--data", str(data)], env=environment, capture_output=True,
                          text=True, check=True)
    keys = json.loads(done.stdout)
    server = next(source for source in keys["sources"] if source["name"] == "backend")
    return server["write_key"], keys["secret_key"]


@contextmanager
def embedded(folder: Path) -> Iterator[System]:
    """`percorso up`: one command."""
    public, private = free_port(), free_port()
    data = folder / "data"
    environment = {**os.environ, "PERCORSO_LOG_LEVEL": "warning"}
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen([PERCORSO, "up", "--data", str(data), "--public-port", str(public),
                                    "--private-port", str(private)], stdout=log, stderr=log, env=environment)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{private}/readyz"), "percorso up")
        write_key, secret_key = _keys(data, environment)
        yield System("embedded", public, private, write_key, secret_key, {"supervisor": process.pid})
    finally:
        stop(process)


@contextmanager
def broker(folder: Path) -> Iterator[tuple[str, int]]:
    """A real Apache Kafka broker with its stock heap; (bootstrap, process id)."""
    with (folder / "kafka.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, str(ROOT / "tests/kafka_broker.py")], stdout=subprocess.PIPE,
                                   stderr=log)
    try:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        yield line["bootstrap"], process.pid
    finally:
        stop(process)


@dataclass
class Service:
    """One process of a cluster on fixed ports, so that it can come back where it was."""

    name: str
    public: int
    private: int
    environment: dict[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> int:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [PERCORSO, "run", self.name, "--public-port", str(self.public), "--private-port", str(self.private)],
                stdout=log, stderr=log, env=self.environment)
        return self.process.pid


@contextmanager
def cluster(folder: Path, bootstrap: str, broker_pid: int | None, *, revive: bool = False,
            settings: dict[str, str] | None = None) -> Iterator[System]:
    """Every process on its own, a PostgreSQL of our own beside them. With `revive` a process that dies is started again
    on its ports, as an orchestrator of containers would; `System.parts` then names the present process ids."""
    database = subprocess.Popen([sys.executable, "-m", "benchmarks.database", str(folder / "pg")],
                                stdout=subprocess.PIPE, cwd=ROOT)
    services: list[Service] = []
    done = threading.Event()
    watcher: threading.Thread | None = None
    try:
        assert database.stdout is not None
        url = json.loads(database.stdout.readline())["url"]
        environment = {**os.environ, "PERCORSO_DATABASE_URL": url, "PERCORSO_KAFKA_BOOTSTRAP": bootstrap,
                       "PERCORSO_SECRET": "benchmark-secret-benchmark-secret", "PERCORSO_SPOOL": "off",
                       "PERCORSO_LOG_LEVEL": "warning", "PERCORSO_DATA_DIR": str(folder / "data"), **(settings or {})}
        subprocess.run([PERCORSO, "migrate"], env=environment, check=True, capture_output=True)
        write_key, secret_key = _keys(folder / "data", environment)
        parts = {"postgresql": database.pid} | ({"kafka": broker_pid} if broker_pid else {})
        for name in PROCESSES:
            service = Service(name, free_port(), free_port(), environment, folder / f"{name}.log")
            parts[name] = service.start()
            services.append(service)
        for service in services:
            wait_until(partial(answers, f"http://127.0.0.1:{service.private}/readyz"), service.name)
        if revive:
            watcher = threading.Thread(target=_revive, args=(services, parts, done))
            watcher.start()
        by_name = {service.name: service for service in services}
        yield System("kafka", by_name["ingest_api"].public, by_name["profile_api"].private, write_key, secret_key,
                     parts)
    finally:
        done.set()
        if watcher is not None:
            watcher.join()
        for service in services:
            if service.process is not None:
                service.process.send_signal(signal.SIGTERM)
        for service in services:
            if service.process is not None:
                stop(service.process)
        stop(database)


def _revive(services: list[Service], parts: dict[str, int], done: threading.Event) -> None:
    while not done.wait(0.2):
        for service in services:
            if service.process is not None and service.process.poll() is not None:
                parts[service.name] = service.start()


@contextmanager
def reference(folder: Path, bootstrap: str) -> Iterator[System]:
    """The plain FastAPI application on the same broker."""
    port = free_port()
    with (folder / "reference.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.reference_app", bootstrap, str(port)],
                                   stdout=log, stderr=log, cwd=ROOT)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/openapi.json"), "the reference application")
        yield System("reference", port, 0, "reference", "", {"reference": process.pid})
    finally:
        stop(process)
