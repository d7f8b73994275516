"""CPU and memory of process trees, and how much of the machine was used by others meanwhile."""

import os
import time
from dataclasses import dataclass

import psutil


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _private_mib(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().uss) / 2**20
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return 0.0


@dataclass(frozen=True)
class Reading:
    """CPU seconds and private MiB per part, at one instant."""

    at: float
    cpu: dict[str, float]
    private_mib: dict[str, float]
    machine_busy: float
    own_generator: float


@dataclass(frozen=True)
class Spent:
    """Between two readings."""

    seconds: float
    cpu: dict[str, float]
    foreign_share: float
    """Share of the machine's CPU time that neither the measured processes nor the generator used."""

    def per_touchpoint_us(self, touchpoints: int) -> dict[str, float]:
        return {part: 1e6 * seconds / max(touchpoints, 1) for part, seconds in self.cpu.items()}


class Meter:
    """`parts`: name -> root process id; children are counted with their root unless they are a part themselves.
    PostgreSQL is recognised by its processes' names and shown as a part of its own."""

    def __init__(self, parts: dict[str, int], generator: int | None = None) -> None:
        self.parts = parts
        self.generator = generator
        self._gone: dict[str, float] = {}
        self._last: dict[int, tuple[str, float]] = {}

    def read(self) -> Reading:
        roots = set(self.parts.values())
        cpu: dict[str, float] = dict.fromkeys(self.parts, 0.0) | self._gone
        memory: dict[str, float] = dict.fromkeys(self.parts, 0.0)
        seen: dict[int, tuple[str, float]] = {}
        for part, root in self.parts.items():
            for process, name in self._tree(part, root, roots):
                try:
                    spent = _cpu_seconds(process)
                except psutil.NoSuchProcess:
                    continue
                seen[process.pid] = (name, spent)
                cpu[name] = cpu.get(name, 0.0) + spent
                memory[name] = memory.get(name, 0.0) + _private_mib(process)
        for pid, (name, spent) in self._last.items():
            if pid not in seen:
                self._gone[name] = self._gone.get(name, 0.0) + spent
                cpu[name] = cpu.get(name, 0.0) + spent
        self._last = seen
        busy = psutil.cpu_times()
        own = 0.0
        if self.generator is not None and psutil.pid_exists(self.generator):
            own = _cpu_seconds(psutil.Process(self.generator))
        return Reading(time.monotonic(), cpu, memory, float(sum(busy) - busy.idle - busy.iowait - busy.guest), own)

    def _tree(self, part: str, root: int, roots: set[int]) -> list[tuple[psutil.Process, str]]:
        try:
            top = psutil.Process(root)
        except psutil.NoSuchProcess:
            return []
        found = [(top, _part_of(part, top))]
        stack = top.children()
        while stack:
            process = stack.pop()
            if process.pid in roots:
                continue
            try:
                found.append((process, _part_of(part, process)))
                stack += process.children()
            except psutil.NoSuchProcess:
                continue
        return found


def _part_of(part: str, process: psutil.Process) -> str:
    name = process.name()
    if name.startswith("postgres"):
        return "postgresql"
    command = process.cmdline()
    for word in ("ports", "workers"):
        if "percorso_services.all_in_one.child" in command and word in command:
            return word
    return part


def between(before: Reading, after: Reading) -> Spent:
    cpu = {part: after.cpu[part] - before.cpu.get(part, 0.0) for part in after.cpu}
    seconds = after.at - before.at
    own = sum(cpu.values()) + after.own_generator - before.own_generator
    foreign = after.machine_busy - before.machine_busy - own
    return Spent(seconds, cpu, max(0.0, foreign) / (seconds * (os.cpu_count() or 1)))
