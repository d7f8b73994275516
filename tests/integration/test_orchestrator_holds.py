"""Holds and caps in production: opened and closed by touchpoints, for a person and for an account."""

import pytest

from journey_world import JourneyWorld, at

POLICIES = """
holds:
  ticket:
    open: {event: ticket_opened, key: event.ticket}
    close: {event: ticket_closed, key: event.ticket}
    covers: [person, account]
    max: 14d
policies:
  held: {hold_while: [ticket], stale_after: 10d, quiet: {from: "21:00", to: "08:00"}}
  capped: {cap: {group: g, max: 1, per: 1d, when_full: hold}}
"""
JOURNEY = """
journey: cart
policy: held
entry: {event: cart_updated, key: event.cart}
exit: [{event: ordered, match: cart}]
steps:
  - {id: idle, wait: {for: 2h}}
  - {id: nudge, send: email, template: t}
"""


@pytest.fixture
async def world(pool) -> JourneyWorld:
    made = JourneyWorld(pool)
    await made.publish(JOURNEY, POLICIES)
    await made.person("ada", account="acme")
    await made.person("bob", account="acme")
    return made


async def test_an_open_ticket_of_a_colleague_holds_the_mail_until_it_closes(world):
    await world.happens("bob", "ticket_opened", at(0, 9), ticket="T9")
    await world.happens("ada", "cart_updated", at(0, 10), cart="k1")
    await world.run_to(at(0, 15))
    assert await world.sends() == [("nudge", "held", at(0, 12))]
    await world.happens("bob", "ticket_closed", at(0, 16), ticket="T9")
    await world.run_to(at(0, 17))
    assert await world.sends() == [("nudge", "sent", at(0, 16))]


async def test_the_last_of_two_tickets_releases_and_quiet_hours_are_judged_again(world):
    await world.happens("ada", "ticket_opened", at(0, 9), ticket="T1")
    await world.happens("ada", "cart_updated", at(0, 10), cart="k1")
    await world.happens("ada", "ticket_opened", at(0, 11), ticket="T2")
    await world.run_to(at(0, 13))
    await world.happens("ada", "ticket_closed", at(0, 14), ticket="T1")
    await world.run_to(at(0, 22))
    assert await world.sends() == [("nudge", "held", at(0, 14))]
    await world.happens("ada", "ticket_closed", at(0, 23), ticket="T2")
    await world.run_to(at(2))
    assert await world.sends() == [("nudge", "sent", at(1, 8))]


async def test_a_ticket_that_is_never_closed_releases_after_its_maximum_and_the_mail_is_stale(world):
    await world.happens("ada", "ticket_opened", at(0, 9), ticket="T1")
    await world.happens("ada", "cart_updated", at(0, 10), cart="k1")
    await world.run_to(at(15))
    assert await world.sends() == [("nudge", "skipped", at(14, 9))]
    assert ("skipped", "nudge", "stale") in await world.trace()


async def test_an_order_while_the_mail_is_held_means_that_nothing_is_sent(world):
    await world.happens("ada", "ticket_opened", at(0, 9), ticket="T1")
    await world.happens("ada", "cart_updated", at(0, 10), cart="k1")
    await world.run_to(at(0, 13))
    await world.happens("ada", "ordered", at(0, 14), cart="k1")
    await world.happens("ada", "ticket_closed", at(0, 15), ticket="T1")
    await world.run_to(at(1))
    assert await world.sends() == [("nudge", "skipped", at(0, 12))]


async def test_opening_and_closing_in_one_batch_holds_nothing_afterwards(world):
    await world.happens("ada", "cart_updated", at(0, 8), cart="k1")
    await world.arrive(world.touchpoint("ada", "ticket_opened", at(0, 9), ticket="T1"),
                       world.touchpoint("ada", "ticket_closed", at(0, 9, 1), ticket="T1"))
    await world.run_to(at(0, 11))
    assert await world.sends() == [("nudge", "sent", at(0, 10))]
    assert await world.pool.fetchval("SELECT count(*) FROM orchestrator.hold") == 0


async def test_sends_of_both_sides_of_a_merge_count_for_the_cap(world):
    await world.publish(JOURNEY.replace("journey: cart", "journey: capped").replace("policy: held", "policy: capped")
                        .replace("cart_updated", "basket_updated"), POLICIES)
    await world.happens("ada", "basket_updated", at(0, 8), cart="k1")
    await world.run_to(at(0, 11))
    await world.merge("ada", "bob")
    await world.happens("bob", "basket_updated", at(0, 12), cart="k2")
    await world.run_to(at(0, 20))
    assert await world.sends() == [("nudge", "sent", at(0, 10)), ("nudge", "held", at(0, 14))]
    await world.run_to(at(2))
    assert await world.sends() == [("nudge", "sent", at(0, 10)), ("nudge", "sent", at(1, 10))]
