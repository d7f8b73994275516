"""The tests inside a journey file, run on the virtual clock.

d0 is Monday 2026-03-02 on the person's wall clock (UTC without `tz`); the clock runs to 60 d after the last event, or
to `horizon` after d0 00:00. Lateness is 0 unless the test names one.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from percorso_orchestrator.calendar import add, choose_zone, instant_of, local
from percorso_orchestrator.definition import Definition, Policies, Split
from percorso_orchestrator.durations import Duration
from percorso_orchestrator.model import Event, Json
from percorso_orchestrator.read_policies import duration_at, needed
from percorso_orchestrator.read_yaml import Located, YamlProblem
from percorso_orchestrator.virtual import Person, VirtualClock, make_event

_FIELDS = ("name", "person", "others", "events", "expect", "skipped", "renders", "card_at", "ends", "horizon",
           "lateness", "journeys")
_TIME = re.compile(r"d(-?\d{1,5})\s+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{3}))?)?")
_MONDAY = datetime(2026, 3, 2)  # noqa: DTZ001 a wall-clock time of whatever zone the person is in
_AFTERWARDS = Duration(60, "d")


@dataclass(frozen=True, slots=True)
class Result:
    """One test; `problems` is empty if it passed."""

    name: str
    problems: tuple[str, ...]


def run_file_tests(definition: Definition, policies: Policies,
                   other: Callable[[str], Definition | None] = lambda name: None) -> list[Result]:
    """Every test of a file. `other` finds the journeys that a test names. Where the journey uses what cannot be run
    yet, each test fails and says so. Raises YamlProblem for wrong notation."""
    unsupported = next((item for item in definition.unsupported if item.in_tests), None)
    if unsupported:
        return [Result(_name(item), (f"{unsupported.what} is not supported yet ({unsupported.place})",))
                for item in definition.tests]
    return [_run(definition, policies, item, other) for item in definition.tests]


def _name(test: Located) -> str:
    return str(needed(test.mapping("a test", _FIELDS), "name", test, "a test").value)


@dataclass(frozen=True, slots=True)
class _Step:
    """`d0 21:30 remind`"""

    at: int
    step: str


def _run(definition: Definition, policies: Policies, test: Located,
         other: Callable[[str], Definition | None]) -> Result:
    fields = test.mapping("a test", _FIELDS)
    name = _name(test)
    person = _person(fields.get("person"), "person")
    people = {person.id: person}
    for item in fields["others"].items("others") if "others" in fields else []:
        another = _person(item, None)
        if another.id in people:
            item.refuse(f"there is a person {another.id!r} already")
        people[another.id] = another
    zone = choose_zone(person.traits.get("tz"))
    lateness = duration_at(fields.get("lateness"), "lateness")
    journeys = [(definition, None)]
    for item in fields["journeys"].items("journeys") if "journeys" in fields else []:
        if item.value == definition.name:
            continue
        found = other(item.text("journeys"))
        if found is None:
            item.refuse(f"there is no journey {item.value!r} beside this one")
        journeys.append((found, None))
    clock = VirtualClock(journeys, policies, people, lateness=lateness.milliseconds if lateness else 0)
    start = instant_of(_MONDAY, zone)
    clock.now = start
    arrivals = [_event(item, index, zone, people, person.id) for index, item in
                enumerate(fields["events"].items("events") if "events" in fields else [])]
    horizon = duration_at(fields.get("horizon"), "horizon")
    last = max((event.received for _, event in arrivals), default=start)
    end = add(start, horizon, zone) if horizon else add(last, _AFTERWARDS, zone)
    probes = _probes(fields.get("card_at"), zone)
    problems = _play(clock, definition, person.id, arrivals, probes, end, zone)
    if "expect" in fields:
        problems += _compare_steps(clock, definition, person.id, fields["expect"], zone)
    if "skipped" in fields:
        problems += _compare_skipped(clock, definition, person.id, fields["skipped"])
    if "renders" in fields:
        problems += _compare_renders(clock, definition, person.id, fields["renders"])
    if "ends" in fields:
        problems += _compare_end(clock, definition, person.id, fields["ends"])
    return Result(name, tuple(problems))


# --- reading the notation --------------------------------------------------------------------------------------------


def _person(at: Located | None, default: str | None) -> Person:
    fields = at.mapping("person") if at else {}
    id_ = str(fields["id"].value) if "id" in fields else default
    if id_ is None:
        assert at is not None
        at.refuse("each of `others` needs an id")
    if "tz" in fields and choose_zone(fields["tz"].value) != fields["tz"].value:
        fields["tz"].refuse(f"there is no zone {fields['tz'].value!r}")
    consent = {item.text("consent"): True for item in fields["consent"].items("consent")} if "consent" in fields else {}
    account = str(fields["account"].value) if "account" in fields and fields["account"].value is not None else None
    traits = {name: item.plain() for name, item in fields.items() if name not in ("id", "consent", "account")}
    return Person(id_, traits, consent, account)


def parse_test_time(text: str, zone: str) -> int:
    """`d0 19:30` -> the instant on that zone's wall clock. Raises ValueError."""
    found = _TIME.fullmatch(text.strip())
    if not found or int(found[2]) > 23 or int(found[3]) > 59 or int(found[4] or 0) > 59:
        raise ValueError(f"{text!r} is not a time such as d0 19:30")
    wall = _MONDAY + timedelta(days=int(found[1]), hours=int(found[2]), minutes=int(found[3]),
                               seconds=int(found[4] or 0), milliseconds=int(found[5] or 0))
    return instant_of(wall, zone)


def write_test_time(instant: int, zone: str) -> str:
    """The other way round."""
    wall = local(instant, zone).replace(tzinfo=None)
    text = f"d{(wall.date() - _MONDAY.date()).days} {wall:%H:%M}"
    if wall.second or wall.microsecond:
        text += f":{wall:%S}"
    if wall.microsecond:
        text += f".{wall.microsecond // 1000:03d}"
    return text


def _time(at: Located, what: str, zone: str) -> int:
    try:
        return parse_test_time(at.text(what), zone)
    except ValueError as error:
        at.refuse(f"{what}: {error}")


def _event(at: Located, index: int, zone: str, people: Mapping[str, Person], default: str) -> tuple[str, Event]:
    fields = at.mapping("an event")
    time = _time(needed(fields, "t", at, "an event"), "t", zone)
    received = _time(fields["arrives"], "arrives", zone) if "arrives" in fields else time
    if received < time:
        fields["arrives"].refuse("an event cannot arrive before it happens")
    who = str(fields["who"].value) if "who" in fields else default
    if who not in people:
        fields["who"].refuse(f"there is no person {who!r} in this test")
    properties = {name: item.plain() for name, item in fields.items() if name not in ("t", "arrives", "who", "type")}
    name = needed(fields, "type", at, "an event").text("type")
    return who, make_event(f"{index:032x}", name, time, received, properties)


def _probes(at: Located | None, zone: str) -> list[tuple[int, str, Json]]:
    found: list[tuple[int, str, Json]] = []
    for text, item in (at.mapping("card_at").items() if at else ()):
        try:
            found.append((parse_test_time(text, zone), text, item.plain()))
        except ValueError as error:
            assert at is not None
            raise YamlProblem(str(error), at.keys[text]) from None
    return sorted(found, key=lambda probe: probe[0])


# --- playing ---------------------------------------------------------------------------------------------------------


def _play(clock: VirtualClock, definition: Definition, who: str, arrivals: list[tuple[str, Event]],
          probes: list[tuple[int, str, Json]], end: int, zone: str) -> list[str]:
    problems: list[str] = []
    waiting = list(probes)

    def look(until: int) -> None:
        """Cards asked for before `until`: at an instant, what happens then has happened."""
        while waiting and waiting[0][0] < until:
            at, text, wanted = waiting.pop(0)
            clock.run_to(at)
            seen = clock.card(who, definition.name)
            shown = dict(seen) if seen is not None else None
            if (shown is None) != (wanted is None) or (wanted is not None and any(
                    (shown or {}).get(name) != value for name, value in wanted.items())):
                problems.append(f"card at {text}: expected {_words(wanted)}, got {_words(shown)}")

    ordered = sorted(enumerate(arrivals), key=lambda pair: (pair[1][1].received, pair[0]))
    for _, (person, event) in ordered:
        if event.received > end:
            break
        look(event.received)
        clock.run_to(event.received)
        clock.arrive((person, _about_message(clock, definition, person, event)))
    look(end + 1)
    clock.run_to(end)
    return problems


def _about_message(clock: VirtualClock, definition: Definition, who: str, event: Event) -> Event:
    """A touchpoint about a message that names no run belongs to the person's latest send (of its `step`, if named)."""
    if not event.is_about_message or "run" in event.properties:
        return event
    step = event.properties.get("step")
    for sent in reversed(clock.sent):
        if sent.person == who and sent.journey == definition.name and step in (None, sent.change.step):
            more = {"journey": sent.journey, "run": sent.run_id, "step": sent.change.step}
            return make_event(event.id, event.name, event.time, event.received, {**more, **event.properties})
    return event


# --- comparing -------------------------------------------------------------------------------------------------------


def _words(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_words(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_words(item) for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _compare_steps(clock: VirtualClock, definition: Definition, who: str, expect: Located, zone: str) -> list[str]:
    wanted: list[_Step] = []
    for item in expect.items("expect"):
        when, _, step = item.text("expect").rpartition(" ")
        try:
            wanted.append(_Step(parse_test_time(when, zone), step))
        except ValueError as error:
            item.refuse(str(error))
        if step not in definition.program:
            item.refuse(f"there is no step {step!r}")
    got = [_Step(sent.at, sent.change.step) for sent in clock.sent
           if (sent.person, sent.journey) == (who, definition.name)]
    got.sort(key=lambda step: step.at)
    if got == wanted:
        return []
    lines = ["steps differ:"]
    left, right = list(got), list(wanted)
    for taken in sorted({*left, *right}, key=lambda taken: (taken.at, taken.step)):
        surplus = left.count(taken) - right.count(taken)
        mark = " " if not surplus else "-" if surplus < 0 else "+"
        meaning = {" ": "", "-": "   expected, did not happen", "+": "   happened, not expected"}[mark]
        lines.append(f"  {mark} {write_test_time(taken.at, zone)} {taken.step}{meaning}")
    if sorted(left, key=str) == sorted(right, key=str):
        lines.append("  expected order: " + ", ".join(step.step for step in wanted))
    lines += [f"    {split} has the arms {', '.join(f'{arm} ({percent} %)' for arm, percent in parts)}; "
              f"this person was given {arm_taken}" for split, parts, arm_taken in _splits(clock, definition, who)]
    skipped = [f"{row.change.step} ({row.change.reason})" for row in clock.skipped
               if (row.person, row.journey) == (who, definition.name)]
    if skipped:
        lines.append("    skipped: " + ", ".join(skipped))
    for run in clock.runs.values():
        if run.state == "active" and (run.person, run.journey) == (who, definition.name):
            lines.append(f"    a run is still in step {run.step}")
    return ["\n".join(lines)]


def _splits(clock: VirtualClock, definition: Definition,
            who: str) -> list[tuple[str, tuple[tuple[str, int], ...], str]]:
    """(step, its arms, the arm given) of each split that the person met."""
    return [(node.step.id, node.step.parts, run.arms[node.step.id])
            for run in clock.runs.values() if (run.person, run.journey) == (who, definition.name)
            for node in definition.program.values()
            if isinstance(node.step, Split) and node.step.id in run.arms]


def _compare_skipped(clock: VirtualClock, definition: Definition, who: str, at: Located) -> list[str]:
    wanted = sorted(item.text("skipped") for item in at.items("skipped"))
    got = sorted(f"{row.change.step} {row.change.reason}" for row in clock.skipped
                 if (row.person, row.journey) == (who, definition.name))
    return [] if got == wanted else [f"skipped: expected {_words(wanted)}, got {_words(got)}"]


def _compare_renders(clock: VirtualClock, definition: Definition, who: str, at: Located) -> list[str]:
    problems: list[str] = []
    for step, item in at.mapping("renders").items():
        sent = [row for row in clock.sent if (row.person, row.journey, row.change.step) == (who, definition.name, step)]
        if not sent:
            problems.append(f"renders: {step} was not sent")
            continue
        values = sent[-1].change.payload.get("with", {})
        for name, wanted in item.mapping(step).items():
            if values.get(name) != wanted.plain():
                problems.append(f"renders: {step}.{name}: expected {_words(wanted.plain())}, got "
                                f"{_words(values.get(name))}")
    return problems


def _compare_end(clock: VirtualClock, definition: Definition, who: str, at: Located) -> list[str]:
    wanted = at.text("ends").strip()
    runs = [run for run in clock.runs.values() if (run.person, run.journey) == (who, definition.name)]
    if not runs:
        return [f"ends: expected {wanted}, but nobody entered"]
    run = runs[-1]
    if run.state == "active":
        got = f"active (in step {run.step})"
    else:
        got = f"exit {run.ended_as}" if run.ended_reason == "exit" else str(run.ended_reason)
    return [] if got == wanted else [f"ends: expected {wanted}, got {got}"]
