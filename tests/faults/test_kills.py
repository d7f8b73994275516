"""`make faults`: each process in turn gets kill -9 under load; nothing acknowledged is lost, nothing counts twice.

Truth is the generator's log of acknowledged message ids, compared with `GET /v1/events` and the profiles' counters; our
own accounting must agree with both. N kills per mode (default 20).
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from benchmarks.systems import (
    PERCORSO,
    PROCESSES,
    ROOT,
    System,
    answers,
    cluster,
    embedded,
    get,
    stop,
    wait_drained,
    wait_until,
)

KILLS = int(os.environ.get("N", "20"))
TOUCHPOINTS = 20_000
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def generator(system: System, log: Path, seconds: float) -> "subprocess.Popen[bytes]":
    options = {"port": system.public, "write_key": system.write_key, "rate": TOUCHPOINTS / seconds, "batch": 20,
               "seconds": seconds, "warmup": 0, "run": "fault", "visitors": 500, "acknowledged": str(log),
               "retry": True}
    return subprocess.Popen([sys.executable, "-m", "benchmarks.generate", json.dumps(options)], cwd=ROOT,
                            stdout=subprocess.PIPE)


def stored(system: System) -> Iterator[dict[str, Any]]:
    cursor = ""
    while True:
        page: Any = get(system, f"/v1/events?source=backend&limit=1000{cursor}")
        yield from page["data"]
        if page["next"] is None:
            return
        cursor = f"&cursor={page['next']}"


def judge(system: System, log: Path) -> None:
    acknowledged = set(log.read_text().split())
    wait_drained(system, 120)
    events = Counter(event["message_id"] for event in stored(system))
    lost = acknowledged - events.keys()
    twice = [key for key, count in events.items() if count > 1]
    assert not lost, f"{len(lost)} acknowledged touchpoints lost, such as {sorted(lost)[:3]}"
    assert not twice, f"{len(twice)} stored twice, such as {twice[:3]}"
    visitors = {f"fault-1-visitor-{number}" for number in range(500)}
    total, seen = 0, set()
    for visitor in sorted(visitors):
        profile: Any = get(system, f"/v1/profiles/anonymous_id:{visitor}")
        if profile["id"] not in seen:
            seen.add(profile["id"])
            total += profile["counters"]["touchpoints"]
    assert total == len(events)
    rows: Any = get(system, "/v1/accounting")["data"]
    identity = next(row for row in rows if row["source"] == "backend" and row["stage"] == "identity_worker")
    assert identity["resolved"] == len(events)
    print(f"{system.name}: {len(acknowledged):,} acknowledged, {len(events):,} stored, 0 lost, 0 twice, "  # noqa: T201
          f"{identity['duplicate']:,} repeats dropped")


def test_embedded_killed_as_a_whole_loses_nothing(tmp_path: Path) -> None:
    log = tmp_path / "acknowledged"
    log.touch()
    with embedded(tmp_path) as system:
        running = psutil.Process(system.parts["supervisor"])
        again: subprocess.Popen[bytes] | None = None
        try:
            with generator(system, log, seconds=KILLS * 6.0) as sender:
                for _ in range(KILLS):
                    time.sleep(2)
                    for victim in (running, *running.children(recursive=True)):
                        with contextlib.suppress(psutil.NoSuchProcess):
                            victim.kill()
                    if again is not None:
                        again.wait()
                    again = _restart(tmp_path, system)
                    running = psutil.Process(again.pid)
                sender.wait(600)
            judge(system, log)
        finally:
            if again is not None:
                stop(again)


def _restart(folder: Path, system: System) -> "subprocess.Popen[bytes]":
    with (folder / "up.log").open("ab") as log:
        process = subprocess.Popen([PERCORSO, "up", "--data", str(folder / "data"), "--public-port",
                                    str(system.public), "--private-port", str(system.private)], stdout=log, stderr=log)
    wait_until(lambda: answers(f"http://127.0.0.1:{system.private}/readyz"), "percorso up after kill -9")
    return process


@pytest.mark.kafka
def test_each_process_killed_in_turn_on_kafka_loses_nothing(tmp_path: Path, kafka: Any) -> None:
    log = tmp_path / "acknowledged"
    log.touch()
    victims = [name for name in PROCESSES if name != "profile_api"]
    with cluster(tmp_path, kafka.bootstrap, None, revive=True) as system:
        with generator(system, log, seconds=KILLS * 3.0) as sender:
            for number in range(KILLS):
                time.sleep(2)
                psutil.Process(system.parts[victims[number % len(victims)]]).send_signal(signal.SIGKILL)
            sender.wait(600)
        judge(system, log)
