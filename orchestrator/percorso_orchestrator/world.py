"""What a journey can know about one person at one moment. Production fills it from PostgreSQL, tests by hand; the
interpreter sees no difference."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from percorso_orchestrator.calendar import subtract
from percorso_orchestrator.definition import Definition, EntryByEvent, EventMatch, Policy
from percorso_orchestrator.durations import Duration, parse_duration
from percorso_orchestrator.expressions import Expression
from percorso_orchestrator.gates import Facts, OpenHold
from percorso_orchestrator.model import Channel, Event, Json, Run
from percorso_shared.conditions import Call
from percorso_shared.names import canonical_name

_PART = re.compile(r"\d+[smhdw]")


class Unreadable(Exception):
    """A condition on a touchpoint asks for state that could not be read; the unit of work must be tried again."""


@dataclass(slots=True)
class World:
    """One person. `history` may hold more than is known yet: what was received after `known_until`, or stands in
    `unseen`, is not seen."""

    person: str
    traits: Mapping[str, Json] = field(default_factory=dict)
    consent: Mapping[str, bool] | None = field(default_factory=dict)
    """None = could not be read."""
    account: str | None = None
    account_traits: Mapping[str, Json] = field(default_factory=dict)
    zone: str = "UTC"
    history: Sequence[Event] = ()
    """By (event time, id)."""
    history_names: Collection[str] | None = None
    """Canonical names that `history` is complete for; None = all."""
    history_from: int | None = None
    """It is complete from this instant on; None = from the beginning."""
    known_until: int | None = None
    unseen: set[str] = field(default_factory=set)
    holds: list[OpenHold] | None = field(default_factory=list)
    """Open ones that cover the person."""
    cap_sends: dict[str, list[int]] = field(default_factory=dict)
    """Group -> instants of the sends that count."""
    addresses: Mapping[Channel, str] | None = field(default_factory=dict)
    """None = could not be read."""
    reachable_configured: bool = False
    blocked_addresses: Collection[str] = ()
    paused: Collection[str] = ()
    """Journeys that are paused."""
    exposures: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """(journey, step, atom) -> arm of a split, at first exposure."""

    def known(self, names: Collection[str], since: int | None) -> list[Event]:
        """Known touchpoints with these names from `since` on, in order. Raises Unreadable if the history at hand does
        not reach that far."""
        if (self.history_names is not None and not set(names) <= set(self.history_names)) or (
                self.history_from is not None and (since is None or since < self.history_from)):
            raise Unreadable(f"history of {', '.join(sorted(names))}")
        return [event for event in self.history
                if event.canonical in names and (since is None or event.time >= since) and self.sees(event)]

    def sees(self, event: Event) -> bool:
        return (self.known_until is None or event.received <= self.known_until) and event.id not in self.unseen

    def facts(self, policy: Policy, channel: Channel, address: str, journey: str, wanted_at: int) -> Facts:
        """What the gates are judged by."""
        consent: bool | None = None
        if policy.consent is not None and self.consent is not None:
            consent = self.consent.get(policy.consent) is True
        reachable: bool | None = True
        if channel == "email":
            reachable = None if self.addresses is None else bool(address) and address not in self.blocked_addresses
        return Facts(
            run_active=True, paused=journey in self.paused, consent=consent, zone=self.zone, wanted_at=wanted_at,
            holds=self.holds, cap_sends=self.cap_sends.get(policy.cap.group, []) if policy.cap else [],
            reachable=reachable, reachable_configured=channel != "email" or self.reachable_configured)


def variables(run: Run | None) -> Mapping[str, Any] | None:
    """`run` in expressions: `run.key`, `run.entry.x`, `run.<name of keep>.x`."""
    if run is None:
        return None
    return {"key": run.key_value, "entry": run.entry, "id": run.run_id} | {
        name: kept.properties for name, kept in run.keep.items()}


def event_variables(event: Event | None) -> Mapping[str, Any] | None:
    """`event` in expressions: its properties, and its name as sent."""
    return None if event is None else {**event.properties, "name": event.name}


def property_of(values: Mapping[str, Any], path: str) -> Any:
    """`a` or `a.b`; a property whose name holds the dot wins. None where it is missing."""
    if path in values:
        return values[path]
    found: Any = values
    for name in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def same(a: Any, b: Any) -> bool:
    """Equal as JSON values: numbers are doubles, true is no number. What is missing equals nothing."""
    if a is None or b is None or isinstance(a, bool) != isinstance(b, bool):
        return False
    return bool(a == b)


def key_text(value: Any) -> str | None:
    """A correlation key as text; None for what is none (missing, a list, an object)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    return value if isinstance(value, str) and value else None


def key_of(definition: Definition, event: Event, world: World) -> tuple[str, Json] | None:
    """The correlation key of a touchpoint as (text, value); ('', None) where the journey has none; None where the
    touchpoint lacks it."""
    expression = getattr(definition.entry, "key", None)
    if expression is None:
        return "", None
    found = expression.evaluate(event=event_variables(event), context=event.context, person=world.traits,
                                account=world.account_traits).value
    text = key_text(found)
    return None if text is None else (text, found)


def is_of_run(definition: Definition, run: Run, event: Event, world: World) -> bool:
    """Whether a touchpoint belongs to this run's key (a message's: to this run)."""
    if event.is_about_message:
        return event.properties.get("run") == run.run_id
    if getattr(definition.entry, "key", None) is None:
        return True
    key = key_of(definition, event, world)
    return key is not None and key[0] == run.key


def fits(definition: Definition, match: EventMatch, run: Run, event: Event, world: World,
         errors: list[str]) -> bool:
    """Whether a touchpoint satisfies `{event, match, where}` of a run. An error of the condition makes it false and is
    added to `errors`. Raises Unreadable."""
    if event.canonical != match.event:
        return False
    if event.is_about_message and not match.any_run and event.properties.get("run") != run.run_id:
        return False
    if not all(same(property_of(event.properties, name), property_of(run.entry, name)) for name in match.match):
        return False
    return holds_true(definition, match.where, run, event, world, event.time, True, errors)


def holds_true(definition: Definition, where: Expression | None, run: Run | None, event: Event | None, world: World,
               at: int, inclusive: bool, errors: list[str]) -> bool:
    """A condition on a touchpoint. Raises Unreadable."""
    if where is None:
        return True
    found = where.evaluate(event=event_variables(event), context=event.context if event else None,
                           person=world.traits, account=world.account_traits, run=variables(run),
                           functions=answers(definition, where, run, world, at, inclusive))
    if found.unreadable:
        raise Unreadable(where.text)
    if found.error:
        errors.append(found.error)
    return found.value is True


def answers(definition: Definition, expression: Expression, run: Run | None, world: World, at: int,
            inclusive: bool) -> dict[Call, Any]:
    """The answers to what an expression asks; an unreadable one is left out. Touchpoints count up to `at`: that very
    instant is included if a touchpoint is the cause."""
    found: dict[Call, Any] = {}
    for call in expression.calls:
        if call.function == "sent":
            found[call] = run is not None and bool(run.sent.get(call.event))
            continue
        try:
            events = _asked(definition, call, run, world, at, inclusive)
        except Unreadable:
            continue
        if call.function == "count":
            found[call] = len(events)
        else:
            values = [property_of(event.properties, call.property or "") for event in events]
            found[call] = (values[-1] if values else None) if call.function == "last" else [
                value for value in values if value is not None]
    return found


def _asked(definition: Definition, call: Call, run: Run | None, world: World, at: int, inclusive: bool) -> list[Event]:
    names = (canonical_name(call.event),)
    if call.since is None and run is not None:
        events = [event for event in world.known(names, run.entered_at) if is_of_run(definition, run, event, world)]
    elif call.since is None or call.since == "ever":
        events = world.known(names, None)
    else:
        start = window_start(call.since, at, world.zone)
        events = [event for event in world.known(names, start) if event.time > start]
    return [event for event in events if event.time < at or (inclusive and event.time == at)]


def window_start(since: str, at: int, zone: str) -> int:
    """The start of the window `since` (`7d`, `1d12h`) that ends at `at`."""
    parts: list[Duration] = [parse_duration(part) for part in _PART.findall(since)]
    for part in sorted(parts, key=lambda part: not part.is_calendar):
        at = subtract(at, part, zone)
    return at


def names_asked(definition: Definition) -> frozenset[str]:
    """Events whose history the expressions of a journey ask for."""
    return frozenset(canonical_name(call.event) for expression in definition.expressions()
                     for call in expression.calls if call.function != "sent")


def widest_window(definition: Definition) -> str | None:
    """`ever` if an expression or a wait of the journey looks at the whole history; else None: the run's own time and
    windows that end at the present."""
    if any(call.since == "ever" for expression in definition.expressions() for call in expression.calls):
        return "ever"
    if any(getattr(node.step, "since", None) == "ever" for node in definition.program.values()):
        return "ever"
    entry = definition.entry
    where = entry.where if isinstance(entry, EntryByEvent) else None
    if where is not None and any(call.since is None and call.function != "sent" for call in where.calls):
        return "ever"
    return None


def window_lengths(definition: Definition) -> int:
    """The longest window (`7d`) that an expression looks back over, in milliseconds (with two days to spare for
    calendar days); 0 if none does."""
    lengths = [sum(parse_duration(part).milliseconds for part in _PART.findall(call.since))
               for expression in definition.expressions() for call in expression.calls
               if call.since not in (None, "ever")]
    return max(lengths) + 2 * 86_400_000 if lengths else 0
