"""Why, and why not, for one person and one journey."""

import msgspec
import pytest

from journey_world import JourneyWorld, at
from percorso_orchestrator.why import Why, tell, why_answer

POLICIES = "policies: {marketing: {consent: marketing}, free: {}}"
JOURNEY = """
journey: hello
policy: free
entry: {event: begin, where: "event.n > 0", key: event.k}
steps:
  - {id: first, send: email, template: t}
  - {id: w, wait: {for: 2h}}
  - {id: second, send: email, template: t, policy: marketing}
"""


@pytest.fixture
async def world(pool) -> JourneyWorld:
    made = JourneyWorld(pool)
    await made.publish(JOURNEY, POLICIES)
    made.ada = await made.person("ada")  # type: ignore[attr-defined]
    return made


async def ask(world, journey: str = "hello") -> Why | None:
    async with world.pool.acquire() as connection:
        return await why_answer(connection, 1, world.ada, journey, world.now)


async def test_a_run_under_way_says_where_it_stands(world):
    await world.happens("ada", "begin", at(0, 10), n=1, k="a")
    await world.run_to(at(0, 11))
    found = await ask(world)
    assert found.summary == "under way: in step w (waiting) until 2026-03-02 12:00:00"


async def test_a_skipped_step_is_told_gate_by_gate(world):
    await world.happens("ada", "begin", at(0, 10), n=1, k="a")
    await world.run_to(at(0, 13))
    found = await ask(world)
    assert found.summary == "entered 1 time; the latest run ended: finished"
    told = "\n".join(tell(found))
    assert "second         skipped: consent" in told
    assert "consent            stops (marketing)" in told
    assert msgspec.json.decode(msgspec.json.encode(found))["runs"][0]["trace"][0]["kind"] == "entered"


@pytest.mark.parametrize(("properties", "says"), [
    ({"n": 0, "k": "a"}, "never entered: does not fit: event.n > 0"), ({"n": 1}, "never entered: key missing")])
async def test_somebody_who_did_not_enter_is_told_why_not(world, properties, says):
    await world.happens("ada", "begin", at(0, 10), **properties)
    assert (await ask(world)).summary == says


async def test_without_any_touchpoint_of_the_entrys_name_it_says_so(world):
    found = await ask(world)
    assert found.summary == "never entered: there is no touchpoint with the name of the entry"


async def test_an_unknown_journey_is_none(world):
    assert await ask(world, "goodbye") is None


async def test_what_happened_before_a_merge_is_told_of_the_merged_person(world):
    bob = await world.person("bob")
    await world.happens("ada", "begin", at(0, 10), n=1, k="a")
    await world.happens("ada", "begin", at(0, 10, 30), n=1)
    await world.merge("ada", "bob")
    world.ada = bob
    found = await ask(world)
    assert len(found.runs) == 1
    assert [line.reason for line in found.not_entered] == ["key missing"]
