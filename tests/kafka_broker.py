"""A real Apache Kafka for tests, benchmarks and people: `python tests/kafka_broker.py [--port N]`.

`PERCORSO_TEST_KAFKA` (host:port) names a running one. Otherwise one is started on 127.0.0.1: from Apache's jars, which
Maven fetches once from wherever it is set up to fetch from, on the local Java (it can be stopped and started again with
the same data); else in Docker, if an engine answers. Single node, KRaft, its data in a temporary folder.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

KAFKA_VERSION = "4.1.0"
HEAP = "1g"
"""The stock heap of a broker."""

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>percorso</groupId><artifactId>kafka</artifactId><version>1</version><dependencies><dependency>
<groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version>
</dependency></dependencies></project>
"""
_LOGGING = """status=off
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c: %m%n
"""
_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=2000
controlled.shutdown.enable=true
"""


class NoKafka(Exception):
    """No Apache Kafka can be had here; the message says why."""


def cache_folder() -> Path:
    return Path(os.environ.get("PERCORSO_TEST_CACHE") or Path.home() / ".cache" / "percorso-kafka")


def jars() -> Path:
    """The folder of the broker's jars, fetched by Maven on first use. Raises NoKafka."""
    folder = cache_folder() / f"kafka-{KAFKA_VERSION}"
    if (folder / "complete").exists():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise NoKafka("Maven (mvn) is needed once to fetch Apache Kafka, and is not installed")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        work = Path(name)
        (work / "pom.xml").write_text(_POM, encoding="utf-8")
        done = subprocess.run(
            [maven, "-B", "-q", "-f", str(work / "pom.xml"), "dependency:copy-dependencies", "-DincludeScope=runtime",
             f"-DoutputDirectory={work / 'jars'}"], capture_output=True, text=True, timeout=600, check=False)
        if done.returncode != 0 or not list((work / "jars").glob("kafka_2.13-*.jar")):
            raise NoKafka(f"Maven could not fetch Apache Kafka {KAFKA_VERSION}: {(done.stdout + done.stderr)[-800:]}")
        (work / "jars" / "complete").touch()
        with contextlib.suppress(OSError):  # another process was quicker
            (work / "jars").rename(folder)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class JavaBroker:
    """A broker on the local Java. It can be stopped and started again on the same port with the same data."""

    def __init__(self, folder: Path, *, port: int = 0, heap: str = HEAP) -> None:
        self._java = shutil.which("java")
        if self._java is None:
            raise NoKafka("Java 17 or later is needed to run Apache Kafka, and is not installed")
        self._jars = jars()
        self.folder = folder
        self.heap = heap
        self.port = port or free_port()
        self.version = KAFKA_VERSION
        self._controller = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._format()

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _command(self, main: str, *arguments: str, heap: str) -> list[str]:
        assert self._java is not None
        # -XX: what Kafka's own start script sets.
        return [self._java, f"-Xms{heap}", f"-Xmx{heap}", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
                "-XX:InitiatingHeapOccupancyPercent=35", "-Djava.awt.headless=true",
                f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}", "-cp", f"{self._jars}/*", main,
                *arguments]

    def _format(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")
        properties = self.folder / "server.properties"
        properties.write_text(_PROPERTIES.format(
            port=self.port, controller=self._controller, data=self.folder / "data"), encoding="utf-8")
        cluster = subprocess.run(
            self._command("kafka.tools.StorageTool", "format", "-t", uuid.uuid4().hex[:22], "-c", str(properties),
                          heap="64m"), capture_output=True, text=True, check=False)
        if cluster.returncode != 0:
            raise NoKafka(f"Kafka's storage could not be formatted: {(cluster.stdout + cluster.stderr)[-800:]}")

    def start(self) -> None:
        """Returns when the broker takes connections. Raises NoKafka."""
        with (self.folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("kafka.Kafka", str(self.folder / "server.properties"), heap=self.heap),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.folder)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise NoKafka(f"the broker stopped at once: {self._log_end()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.1)
        raise NoKafka(f"the broker did not get ready in 60 s: {self._log_end()}")

    def _log_end(self) -> str:
        return (self.folder / "broker.log").read_text(encoding="utf-8", errors="replace")[-800:]

    def stop(self, *, hard: bool = False) -> None:
        """`hard` kills it."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL if hard else signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None


class DockerBroker:
    """The official image in Docker, through testcontainers."""

    def __init__(self) -> None:
        try:
            import docker
            docker.from_env(timeout=5).ping()
        except Exception as error:  # whatever it is: there is no engine
            raise NoKafka(f"no Docker engine answers ({type(error).__name__})") from error
        from testcontainers.core.container import DockerContainer
        self.version = KAFKA_VERSION
        self.port = free_port()
        self._container = DockerContainer(f"apache/kafka:{KAFKA_VERSION}").with_bind_ports(9092, self.port)
        for line in _PROPERTIES.format(port=9092, controller=9093, data="/tmp/kraft").splitlines():  # its own folder
            name, _, value = line.partition("=")
            self._container.with_env("KAFKA_" + name.replace(".", "_").upper(), value)
        self._container.with_env("KAFKA_LISTENERS", "PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093")
        self._container.with_env("KAFKA_ADVERTISED_LISTENERS", f"PLAINTEXT://127.0.0.1:{self.port}")

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        from testcontainers.core.waiting_utils import wait_for_logs
        self._container.start()
        wait_for_logs(self._container, "Kafka Server started", timeout=60)

    def stop(self, *, hard: bool = False) -> None:
        self._container.stop(force=hard)


class RunningBroker:
    """One that somebody else runs; it is left alone."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.version = "given by PERCORSO_TEST_KAFKA"

    def start(self) -> None:
        """It runs."""

    def stop(self, *, hard: bool = False) -> None:
        """Not ours to stop."""


def any_broker(folder: Path, *, port: int = 0, heap: str = HEAP) -> Any:
    """A broker that is not started yet. Raises NoKafka, which says what was tried."""
    given = os.environ.get("PERCORSO_TEST_KAFKA")
    if given:
        return RunningBroker(given)
    try:
        return JavaBroker(folder, port=port, heap=heap)
    except NoKafka as java:
        try:
            return DockerBroker()
        except NoKafka as docker:
            raise NoKafka(f"{java}; {docker}") from docker


def main() -> None:
    """Runs a broker until SIGTERM or Ctrl-C; prints {"bootstrap", "version", "pid"} on one line when it is ready."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, default=0, help="0 takes a free one")
    options.add_argument("--heap", default=HEAP, help="of the Java process; stock: 1g")
    options.add_argument("--data", type=Path, help="folder of its data; else a temporary one")
    chosen = options.parse_args()
    folder = chosen.data or Path(tempfile.mkdtemp(prefix="percorso-kafka-"))
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    broker = None
    try:
        broker = any_broker(folder, port=chosen.port, heap=chosen.heap)
        broker.start()
        ready = {"bootstrap": broker.bootstrap, "version": broker.version, "pid": getattr(broker, "pid", None)}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        while True:
            signal.pause()
    except KeyboardInterrupt:
        pass
    except NoKafka as error:
        sys.exit(str(error))
    finally:
        if broker is not None:
            broker.stop()
        if chosen.data is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
