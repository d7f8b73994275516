"""What holds messages back, such as an open ticket: opened by an event, closed by its key, whoever's event that is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from percorso_orchestrator.calendar import add
from percorso_orchestrator.definition import HoldRule, Policies
from percorso_orchestrator.expressions import Expression
from percorso_orchestrator.model import Event
from percorso_orchestrator.world import World, event_variables, key_text


@dataclass(frozen=True, slots=True)
class HoldChange:
    """One event opened or closed the hold (name, key)."""

    what: Literal["opens", "closes"]
    name: str
    key: str
    at: int
    expires_at: int | None
    """Of an opening; None = never."""
    covers_account: bool


def hold_names(policies: Policies) -> frozenset[str]:
    """Events that open or close holds."""
    return frozenset(name for rule in policies.holds.values() for name in (rule.open_event, rule.close_event))


def hold_changes(policies: Policies, event: Event, world: World) -> Iterator[HoldChange]:
    """What an event does to holds. A second opening of an open key changes nothing: the caller keeps the first."""
    for rule in policies.holds.values():
        if event.canonical == rule.open_event and _true(rule.open_where, event, world):
            key = _key(rule, rule.open_key, event, world)
            if key is not None:
                expires = add(event.time, rule.max, world.zone) if rule.max else None
                yield HoldChange("opens", rule.name, key, event.time, expires, "account" in rule.covers)
        if event.canonical == rule.close_event and _true(rule.close_where, event, world):
            key = _key(rule, rule.close_key, event, world)
            if key is not None:
                yield HoldChange("closes", rule.name, key, event.time, None, "account" in rule.covers)


def _true(where: Expression | None, event: Event, world: World) -> bool:
    return where is None or where.evaluate(
        event=event_variables(event), context=event.context, person=world.traits,
        account=world.account_traits).value is True


def _key(rule: HoldRule, key: Expression | None, event: Event, world: World) -> str | None:
    """Without a key a hold is the person's own."""
    if key is None:
        return f"person:{world.person}"
    return key_text(key.evaluate(event=event_variables(event), context=event.context, person=world.traits,
                                 account=world.account_traits).value)
