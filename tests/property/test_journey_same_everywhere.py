"""The virtual clock and production (PostgreSQL, batches, timers) decide the same."""

from itertools import zip_longest
from random import Random
from typing import Any

import msgspec
import pytest

from journey_world import DAY, JourneyWorld, at
from percorso_orchestrator.check_runs import check_runs
from percorso_orchestrator.model import Decision, Event
from percorso_orchestrator.read_journey import read_journey
from percorso_orchestrator.read_policies import read_policies
from percorso_orchestrator.virtual import Person, VirtualClock
from percorso_shared.clock import to_ms
from percorso_shared.names import canonical_name
from random_journeys import POLICIES, RandomJourney, random_stream

_TABLES = ("run", "timer", "subscription", "hold", "send", "decision", "tally", "person", "journey", "policy_file",
           "revision", "exposure")
_PEOPLE: dict[str, dict[str, Any]] = {
    "ada": {"tier": "gold", "timezone": "Europe/Rome"}, "bob": {"timezone": "America/New_York"}, "cy": {}}


def _line(decision: Decision) -> tuple[Any, ...]:
    return (decision.at, decision.kind, decision.step, decision.visit, decision.reason, decision.detail.get("until"),
            msgspec.json.encode(decision.detail.get("with"), order="sorted"), decision.event_id)


def _expected(text: str, stream: list[list[Event]], owners: dict[str, str], people: dict[str, Person],
              end: int) -> dict[str, list[tuple[Any, ...]]]:
    clock = VirtualClock([(read_journey(text), at(-1))], read_policies(POLICIES), people, lateness=600_000, now=at(0))
    for batch in stream:
        clock.run_to(batch[0].received)
        clock.arrive(*((owners[event.id], event) for event in batch))
    clock.run_to(end)
    found: dict[str, list[tuple[Any, ...]]] = {}
    for traced in clock.trace:
        found.setdefault(traced.run_id, []).append(_line(traced.decision))
    return found


def _differences(decided: dict[str, list[tuple[Any, ...]]], expected: dict[str, list[tuple[Any, ...]]]) -> list[str]:
    """The first line of each run that differs."""
    found = []
    for run in sorted(decided.keys() | expected.keys()):
        pairs = zip_longest(decided.get(run, []), expected.get(run, []))
        found += [f"{run}: production {ours}, virtual {theirs}" for ours, theirs in pairs if ours != theirs][:1]
    return found


async def _decided(world: JourneyWorld) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for row in await world.pool.fetch("SELECT * FROM orchestrator.decisions WHERE run_id IS NOT NULL "
                                      "ORDER BY decision_id"):
        detail = msgspec.json.decode(row["detail"])
        found.setdefault(row["run_id"].hex(), []).append((
            to_ms(row["at"]), row["kind"], row["step"], row["visit"], row["reason"], detail.get("until"),
            msgspec.json.encode(detail.get("with"), order="sorted"),
            row["event_id"].hex() if row["event_id"] else None))
    return found


@pytest.mark.parametrize("block", range(6))
async def test_the_virtual_clock_and_production_decide_the_same(pool, block):
    world = JourneyWorld(pool)
    for seed in range(block * 10, block * 10 + 10):
        random = Random(seed)
        await pool.execute(f"TRUNCATE {', '.join(f'orchestrator.{table}' for table in _TABLES)}, profile.event")
        world.__init__(pool)  # type: ignore[misc]
        text = RandomJourney(random, f"j{seed}").text()
        await world.publish(text, POLICIES)
        profiles, people = {}, {}
        for name, traits in _PEOPLE.items():
            consent = {"marketing": random.random() < 0.7}
            account = "acme" if name != "cy" else None
            profiles[name] = (await world.person(name, consent=consent, account=account, **traits)).hex()
            people[profiles[name]] = Person(profiles[name], {"email": f"{name}@example.com"} | traits, consent, account)
        stream: list[list[Event]] = []
        owners: dict[str, str] = {}
        batches = []
        for batch in random_stream(random, list(_PEOPLE)):
            touchpoints = [world.touchpoint(item.who, item.name, item.time, item.received, **item.properties)
                           for item in batch]
            batches.append(touchpoints)
            stream.append([Event(touchpoint["event_id"], item.name, canonical_name(item.name), item.time, item.received,
                                 item.properties) for touchpoint, item in zip(touchpoints, batch, strict=True)])
            owners |= {touchpoint["event_id"]: profiles[item.who]
                       for touchpoint, item in zip(touchpoints, batch, strict=True)}
        end = stream[-1][0].received + 8 * DAY
        expected = _expected(text, stream, owners, people, end)
        for touchpoints in batches:
            await world.run_to(touchpoints[0]["received_at"])
            await world.arrive(*touchpoints)
            await world.quiesce()
        await world.run_to(end)
        decided = await _decided(world)
        assert _differences(decided, expected) == [], f"seed {seed}\n{text}"
        async with pool.acquire() as connection:
            check = await check_runs(connection, 1)
        assert (check.stuck, check.unbalanced) == (0, {}), f"seed {seed}\n{text}"
