"""`make bench`: achieved rates, CPU per touchpoint split by process, latencies and memory; ratios from one run.

    python -m benchmarks [--seconds N] [--rounds N] [--only PART]     PART: ingest, embedded, kafka
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.meter import Meter, between
from benchmarks.systems import ROOT, System, broker, cluster, embedded, reference, temporary_folder, wait_drained

DISTURBED = 0.10
"""A round in which others used more of the machine than this is repeated, at most twice."""
console = Console(width=150)


def measure(system: System, *, rate: float, batch: int, seconds: float, seed: int, drained: bool) -> dict[str, Any]:
    """One round. With `drained` the cost is counted until every acknowledged touchpoint is folded and judged."""
    options = {"port": system.public, "write_key": system.write_key, "rate": rate, "batch": batch, "seconds": seconds,
               "seed": seed, "run": f"b{int(time.time())}", "warmup": min(3.0, seconds / 4)}
    generator = subprocess.Popen([sys.executable, "-m", "benchmarks.generate", json.dumps(options)], cwd=ROOT,
                                 stdout=subprocess.PIPE)
    assert generator.stdout is not None
    generator.stdout.readline()
    meter = Meter(system.parts, generator.pid)
    before = meter.read()
    answer = json.loads(generator.stdout.readline())
    behind = 0.0
    if drained:
        begin = time.monotonic()
        wait_drained(system)
        behind = time.monotonic() - begin
    after = meter.read()
    generator.wait()
    spent = between(before, after)
    per_touchpoint = {part: round(value, 1) for part, value in
                      sorted(spent.per_touchpoint_us(answer["acknowledged"]).items()) if value >= 0.05}
    return {
        "system": system.name, "batch": batch, "offered_rate": rate, "rate": round(answer["rate"]),
        "through_rate": round(answer["acknowledged"] / spent.seconds), "behind_s": round(behind, 2),
        "acknowledged": answer["acknowledged"], "not_acknowledged": answer["not_acknowledged"],
        "p50_ms": round(answer["p50_ms"], 1), "p99_ms": round(answer["p99_ms"], 1), "cpu_us": per_touchpoint,
        "cpu_us_total": round(sum(per_touchpoint.values()), 1),
        "private_mib": {part: round(value) for part, value in after.private_mib.items() if value},
        "foreign_share": round(spent.foreign_share, 3)}


def undisturbed(round_: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    for _ in range(3):
        result = round_()
        if result["foreign_share"] <= DISTURBED:
            return result
        console.print(f"  [yellow]disturbed round ({result['foreign_share']:.0%} of the machine used by others)[/]")
    return result


@contextmanager
def started(context: Any, what: str) -> Iterator[System]:
    with ExitStack() as stack:
        with console.status(f"starting {what} ..."):
            system = stack.enter_context(context)
        yield system


def show(title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=title)
    for column in ("system", "batch", "rate /s", "through /s", "CPU us", "p50 ms", "p99 ms", "others", "split"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(row["system"], str(row["batch"]), f"{row['rate']:,}", f"{row['through_rate']:,}",
                      f"{row['cpu_us_total']:.1f}", f"{row['p50_ms']}", f"{row['p99_ms']}",
                      f"{row['foreign_share']:.0%}", ", ".join(f"{k} {v}" for k, v in row["cpu_us"].items()))
    console.print(table)


def ratio(rows: list[dict[str, Any]], name: str, batch: int, cpu: Callable[[dict[str, Any]], float]) -> float | None:
    ours = [cpu(row) for row in rows if row["system"] == name and row["batch"] == batch]
    theirs = [row["cpu_us"]["reference"] for row in rows if row["system"] == "reference" and row["batch"] == batch]
    return round(median(theirs) / median(ours), 1) if ours and theirs else None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rate", type=float, default=6000.0, help="touchpoints/s offered end to end")
    parser.add_argument("--only", choices=["ingest", "embedded", "kafka"])
    options = parser.parse_args()
    ingest: list[dict[str, Any]] = []
    whole: list[dict[str, Any]] = []
    plans = [(100, 2000.0), (1, 300.0)]
    with temporary_folder() as folder, ExitStack() as stack:
        bootstrap, pid = ("", 0)
        if options.only != "embedded":
            with console.status("starting Apache Kafka ..."):
                bootstrap, pid = stack.enter_context(broker(folder))
        if options.only in (None, "ingest"):
            with started(reference(folder, bootstrap), "the reference") as plain, \
                    started(cluster(folder, bootstrap, pid), "every process on Kafka") as ours:
                for number in range(options.rounds):
                    for batch, rate in plans:
                        for system in (plain, ours):
                            ingest.append(undisturbed(partial(
                                measure, system, rate=rate, batch=batch, seconds=options.seconds, seed=number,
                                drained=False)))
                            show("ingest", ingest[-1:])
        if options.only in (None, "kafka"):
            (folder / "k").mkdir()
            with started(cluster(folder / "k", bootstrap, pid), "every process on Kafka") as ours:
                for number in range(options.rounds):
                    whole.append(undisturbed(partial(
                        measure, ours, rate=options.rate, batch=100, seconds=options.seconds, seed=100 + number,
                        drained=True)))
                    show("end to end", whole[-1:])
        if options.only in (None, "embedded"):
            with started(embedded(folder), "percorso up") as ours:
                for number in range(options.rounds):
                    whole.append(undisturbed(partial(
                        measure, ours, rate=options.rate, batch=100, seconds=options.seconds, seed=200 + number,
                        drained=True)))
                    show("end to end", whole[-1:])
    ratios = {
        "ingest process, batches of 100": ratio(ingest, "kafka", 100, lambda row: row["cpu_us"]["ingest_api"]),
        "ingest process, single events": ratio(ingest, "kafka", 1, lambda row: row["cpu_us"]["ingest_api"]),
    }
    if ingest:
        show("ingest", ingest)
        console.print("CPU of the plain reference / CPU of ours:", ratios)
    if whole:
        show("end to end", whole)
    results = ROOT / "benchmarks/results"
    results.mkdir(exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    path: Path = results / f"{stamp}.json"
    path.write_text(json.dumps({"at": stamp, "python": platform.python_version(), "cores": 2, "ratios": ratios,
                                "ingest": ingest, "end_to_end": whole}, indent=1) + "\n")
    console.print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
