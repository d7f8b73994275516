"""Batches and ticks of orchestrator_worker on the real database."""

import pytest

from identity_rows import IdentityRows
from journey_world import JourneyWorld, at
from percorso_orchestrator.check_runs import check_runs
from percorso_orchestrator.publish import set_paused
from recording_tx import RecordingTx

POLICIES = """
policies:
  service: {}
  marketing:
    consent: marketing
    quiet: {from: "21:00", to: "08:00"}
    stale_after: 10d
"""

CONFIRM = """
journey: confirm
policy: service
lateness: 30s
entry: {event: form_submitted, where: "event.form == 'registration'", key: event.registration_id, reentry: never}
exit: [{event: registration_confirmed, match: registration_id, as: confirmed}]
goal: {event: registration_confirmed, match: registration_id, within: 14d}
steps:
  - {id: grace, wait: {for: 2h}}
  - {id: remind, send: email, template: registration/confirm-link}
  - {id: patience, wait: {for: 3d}}
  - {id: benefits, send: email, template: registration/benefits, policy: marketing}
"""


@pytest.fixture
async def world(pool) -> JourneyWorld:
    made = JourneyWorld(pool)
    await made.publish(CONFIRM, POLICIES)
    await made.person("thomas", consent={"marketing": True})
    return made


async def balanced(world: JourneyWorld) -> bool:
    async with world.pool.acquire() as connection:
        found = await check_runs(connection, 1)
    return not found.stuck and not found.unbalanced


async def test_who_never_confirms_is_reminded_and_then_hears_the_benefits(world):
    await world.happens("thomas", "Form Submitted", at(0, 10), form="registration", registration_id="r1")
    await world.run_to(at(10))
    assert await world.sends() == [("remind", "sent", at(0, 12)), ("benefits", "sent", at(3, 12))]
    [run] = await world.runs()
    assert (run["state"], run["ended_reason"], run["key"]) == ("ended", "finished", "r1")
    assert await balanced(world)


async def test_a_confirmation_in_time_prevents_the_reminder(world):
    await world.happens("thomas", "form_submitted", at(0, 10), form="registration", registration_id="r1")
    await world.happens("thomas", "registration_confirmed", at(0, 11, 59), registration_id="r1")
    await world.run_to(at(10))
    assert await world.sends() == []
    [run] = await world.runs()
    assert (run["ended_reason"], run["ended_as"], run["goal_at"] is not None) == ("exit", "confirmed", True)
    assert await balanced(world)


async def test_a_touchpoint_that_concerns_no_journey_leaves_no_trace(world):
    await world.happens("thomas", "page_view", at(0, 10))
    await world.happens("thomas", "form_submitted", at(0, 10), form="newsletter", registration_id="r1")
    assert await world.runs() == []
    assert await world.trace() == []


async def test_absence_is_judged_by_the_stream_clock_and_not_by_the_real_one(world):
    await world.happens("thomas", "form_submitted", at(0, 10), form="registration", registration_id="r1")
    await world.tick(at(0, 15), stream=at(0, 12, 0, 29))
    assert await world.sends() == []
    await world.tick(at(0, 15), stream=at(0, 12, 0, 30))
    assert await world.sends() == [("remind", "planned", at(0, 12))]


async def test_after_an_outage_no_timer_overtakes_touchpoints_still_unread(world):
    await world.happens("thomas", "form_submitted", at(0, 10), form="registration", registration_id="r1")
    unread = world.touchpoint("thomas", "registration_confirmed", at(0, 11), registration_id="r1")
    await world.tick(at(1, 10), stream=at(0, 10, 30))
    await world.arrive(unread)
    await world.tick(at(1, 10))
    assert await world.sends() == []


async def test_a_send_that_was_not_held_lets_the_next_wait_count_from_the_due_instant(world):
    await world.happens("thomas", "form_submitted", at(0, 10), form="registration", registration_id="r1")
    await world.tick(at(0, 12, 1))
    await world.settle(sent_at=at(0, 12, 7))
    await world.tick(at(0, 12, 7))
    [run] = await world.runs()
    assert run["due_at"].timestamp() * 1000 == at(3, 12)


async def test_a_send_after_retries_lets_the_next_wait_count_from_the_real_one(world):
    await world.happens("thomas", "form_submitted", at(0, 10), form="registration", registration_id="r1")
    await world.tick(at(0, 12, 1))
    await world.settle(sent_at=at(0, 13), attempts=4)
    await world.tick(at(0, 13))
    [run] = await world.runs()
    assert run["due_at"].timestamp() * 1000 == at(3, 13)


async def test_an_exit_while_the_mail_is_planned_takes_it_back(world):
    await world.happens("thomas", "form_submitted", at(0, 10), form="registration", registration_id="r1")
    await world.tick(at(0, 12, 1))
    assert await world.sends() == [("remind", "planned", at(0, 12))]
    await world.happens("thomas", "registration_confirmed", at(0, 12, 2), registration_id="r1")
    assert await world.sends() == [("remind", "skipped", at(0, 12))]
    assert await balanced(world)


async def test_an_exit_between_claim_and_data_takes_the_row_from_its_claimant(world):
    await world.happens("thomas", "form_submitted", at(0, 10), form="registration", registration_id="r1")
    await world.tick(at(0, 12, 1))
    await world.pool.execute("UPDATE orchestrator.send SET state = 'claimed', epoch = epoch + 1")
    await world.happens("thomas", "registration_confirmed", at(0, 12, 2), registration_id="r1")
    row = await world.pool.fetchrow("SELECT state, epoch FROM orchestrator.send")
    assert tuple(row) == ("skipped", 2)


async def test_a_mail_that_was_being_sent_when_its_run_ended_stands_in_the_trace(world):
    await world.happens("thomas", "form_submitted", at(0, 10), form="registration", registration_id="r1")
    await world.tick(at(0, 12, 1))
    await world.pool.execute("UPDATE orchestrator.send SET state = 'sending', epoch = epoch + 1")
    await world.happens("thomas", "registration_confirmed", at(0, 12, 2), registration_id="r1")
    await world.pool.execute("UPDATE orchestrator.send SET state = 'sent', sent_at = updated_at")
    await world.tick(at(0, 12, 3))
    assert [kind for kind, _, _ in await world.trace()][-3:] == ["goal", "exit", "sent"]
    assert await balanced(world)
    assert await world.tick() is False


async def test_a_row_returned_by_delivery_is_judged_again(world):
    await world.happens("thomas", "form_submitted", at(0, 10), form="registration", registration_id="r1")
    await world.run_to(at(3, 11))
    await world.tick(at(3, 12, 1))
    await world.person("thomas", consent={"marketing": False})
    await world.settle("held", reason="consent")
    await world.tick(at(3, 12, 2))
    assert (await world.sends())[-1] == ("benefits", "skipped", at(3, 12, 2))
    assert ("skipped", "benefits", "consent") in await world.trace()
    [run] = await world.runs()
    assert run["ended_reason"] == "finished"


async def test_quiet_hours_hold_on_the_real_clock_and_the_step_acts_at_their_end(world):
    await world.happens("thomas", "form_submitted", at(0, 19, 30), form="registration", registration_id="r1")
    await world.run_to(at(10))
    assert await world.sends() == [("remind", "sent", at(0, 21, 30)), ("benefits", "sent", at(4, 8))]


async def test_an_address_that_is_missing_is_unreachable_and_the_run_goes_on(world):
    await world.person("thomas", email=None)
    await world.happens("thomas", "form_submitted", at(0, 10), form="registration", registration_id="r1")
    await world.run_to(at(10))
    assert [(kind, reason) for kind, _, reason in await world.trace() if kind == "skipped"] == [
        ("skipped", "unreachable"), ("skipped", "consent")]


async def test_touchpoints_before_publish_imported_or_a_day_late_enter_nobody(world):
    registration = {"form": "registration", "registration_id": "r1"}
    await world.arrive(world.touchpoint("thomas", "form_submitted", at(-2), **registration))
    await world.arrive(world.touchpoint("thomas", "form_submitted", at(0, 9), at(1, 9), **registration))
    await world.arrive(world.touchpoint("thomas", "form_submitted", at(1, 9), flags=["imported"], **registration))
    assert await world.runs() == []
    counted = await world.pool.fetch("SELECT name, n FROM orchestrator.tallies ORDER BY name")
    assert [tuple(row) for row in counted] == [
        ("refused:before publish", 1), ("refused:imported", 1), ("refused:received too late", 1)]


async def test_a_missing_key_makes_no_run_and_is_counted(world):
    await world.happens("thomas", "form_submitted", at(0, 10), form="registration")
    assert await world.runs() == []
    assert await world.trace() == [("not entered", None, "key missing")]


async def test_the_same_record_delivered_again_changes_nothing(world):
    touchpoint = world.touchpoint("thomas", "form_submitted", at(0, 10), form="registration", registration_id="r1")
    await world.arrive(touchpoint)
    before = await world.runs()
    async with world.pool.acquire() as connection:
        await connection.execute("DELETE FROM profile.event")
    await world.arrive(touchpoint)
    assert [run["run_id"] for run in await world.runs()] == [run["run_id"] for run in before]
    assert await balanced(world)


async def test_a_run_stays_with_its_version_and_an_unchanged_file_makes_none(world):
    await world.happens("thomas", "form_submitted", at(0, 10), form="registration", registration_id="r1")
    await world.publish(CONFIRM, POLICIES, at(0, 11))
    assert await world.pool.fetchval("SELECT count(*) FROM orchestrator.journey") == 1
    await world.publish(CONFIRM.replace("for: 2h", "for: 4h"), POLICIES, at(0, 11))
    await world.happens("thomas", "form_submitted", at(0, 11, 30), form="registration", registration_id="r2")
    await world.run_to(at(1))
    assert await world.sends() == [("remind", "sent", at(0, 12)), ("remind", "sent", at(0, 15, 30))]


async def test_a_paused_journey_lets_nobody_in_and_goes_on_when_it_is_resumed(world):
    await world.happens("thomas", "form_submitted", at(0, 10), form="registration", registration_id="r1")
    async with world.pool.acquire() as connection:
        assert await set_paused(connection, 1, "confirm", True, at(0, 11))
    await world.happens("thomas", "form_submitted", at(0, 11), form="registration", registration_id="r2")
    await world.run_to(at(0, 14))
    assert await world.sends() == [("remind", "held", at(0, 12))]
    async with world.pool.acquire() as connection:
        await set_paused(connection, 1, "confirm", False, at(0, 14))
    await world.run_to(at(0, 15))
    assert await world.sends() == [("remind", "sent", at(0, 14))]


async def test_runs_merge_with_their_people_and_part_again(world):
    await world.person("tom", consent={})
    await world.happens("thomas", "form_submitted", at(0, 10), form="registration", registration_id="r1")
    await world.happens("tom", "form_submitted", at(0, 11), form="registration", registration_id="r1")
    world.now = at(0, 11, 30)
    await world.merge("tom", "thomas")
    assert [(run["state"], run["ended_reason"]) for run in await world.runs()] == [
        ("active", None), ("suspended", "merged")]
    assert await balanced(world)
    await world.run_to(at(1))
    assert await world.sends() == [("remind", "sent", at(0, 12))]
    await world.merge("tom", "tom")
    assert [run["state"] for run in await world.runs()] == ["active", "active"]
    await world.run_to(at(1, 1))
    assert await world.sends() == [("remind", "sent", at(0, 12)), ("remind", "sent", at(0, 13))]
    assert await balanced(world)


async def test_a_touchpoint_of_a_merged_person_finds_the_run_before_the_news_of_the_merge_is_read(world):
    await world.person("tom", consent={})
    await world.happens("tom", "form_submitted", at(0, 10), form="registration", registration_id="r1")
    async with world.pool.acquire() as connection:
        await IdentityRows(connection).point(["user_id:tom"], "user_id:thomas")
    await world.happens("thomas", "registration_confirmed", at(0, 11), registration_id="r1")
    assert [run["ended_as"] for run in await world.runs()] == ["confirmed"]


async def test_timers_are_claimed_in_batches_of_200_and_each_fires_once(world):
    for block in range(3):
        names = [f"p{block * 150 + number}" for number in range(150)]
        for name in names:
            await world.person(name)
        await world.arrive(*(world.touchpoint(name, "form_submitted", at(0, 10), form="registration",
                                              registration_id="r") for name in names))
    world.now = at(0, 13)
    assert await world.tick() is True
    assert await world.tick() is True
    assert await world.tick() is False
    assert await world.pool.fetchval("SELECT count(*) FROM orchestrator.send WHERE state = 'planned'") == 450
    assert await world.pool.fetchval("SELECT count(*) FROM orchestrator.timer") == 0
    assert await balanced(world)


async def test_the_number_of_statements_does_not_depend_on_the_size_of_the_batch(world):
    counts = []
    async with world.pool.acquire() as connection:
        seen: list[str] = []
        connection.add_query_logger(lambda record: seen.append(record.query))
        for size in (1, 2, 40):  # the first also asks for the types of columns
            names = [f"s{size}x{number}" for number in range(size)]
            for name in names:
                await world.person(name)
            batch = [world.touchpoint(name, "form_submitted", at(0, 10), form="registration", registration_id="r")
                     for name in names]
            await world.remember(*batch)
            seen.clear()
            async with connection.transaction():
                await world.worker.handle(world.batch(*batch), RecordingTx(connection, at(0, 10)))
            counts.append(len(seen))
    assert counts[1] == counts[2]


async def test_a_late_touchpoint_sets_a_timer_in_the_past_and_it_is_found_at_once(world):
    await world.tick(at(0, 18))
    await world.happens("thomas", "form_submitted", at(0, 10), at(0, 19), form="registration", registration_id="r1")
    await world.tick(at(0, 19))
    assert await world.sends() == [("remind", "planned", at(0, 12))]
