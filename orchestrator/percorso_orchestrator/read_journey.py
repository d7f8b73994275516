"""A journey file, read from text into a Definition; every refusal names line and column.

The whole format is read. What this version does not run yet stands in `Definition.unsupported` and is refused at
publish, so that nothing is half done.
"""

import re
from typing import NoReturn

from percorso_orchestrator import expressions
from percorso_orchestrator.calendar import DAYS
from percorso_orchestrator.definition import (
    Arm,
    Branch,
    Card,
    Definition,
    End,
    Entry,
    EntryByAudience,
    EntryByEvent,
    EntryByPattern,
    EntryBySchedule,
    EntryByScore,
    EventMatch,
    Goal,
    Notify,
    Outward,
    PatternPart,
    Reenter,
    Repeat,
    SetTraits,
    Since,
    Split,
    Step,
    Unsupported,
    Until,
    Wait,
    flatten,
)
from percorso_orchestrator.model import Channel
from percorso_orchestrator.read_policies import choice, duration_at, needed, time_at
from percorso_orchestrator.read_yaml import Located, Place, YamlProblem, read_yaml
from percorso_shared.names import canonical_name

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_TOP = ("journey", "policy", "entry", "exit", "goal", "keep", "card", "excludes", "steps", "migrate", "tests",
        "lateness", "backdated", "causes")
_OUTWARD: tuple[Channel, ...] = ("email", "webhook", "onsite", "task")
_ACTIONS = ("wait", "send", "onsite", "webhook", "task", "set", "notify", "branch", "split", "repeat", "end")


def read_journey(text: str) -> Definition:
    """Raises YamlProblem."""
    return _Reader(text).read()


def _name(at: Located, what: str) -> str:
    text = str(at.value) if isinstance(at.value, int) and not isinstance(at.value, bool) else at.text(what)
    if not _NAME.fullmatch(text):
        at.refuse(f"{what} may hold letters, digits, _ . - and begins with a letter or digit, not {text!r}")
    return text


class _Reader:
    """One file; collects what is not run yet and the ids of steps."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.unsupported: list[Unsupported] = []
        self.ids: dict[str, Place] = {}

    def later(self, what: str, place: Place, *, in_tests: bool = False) -> None:
        self.unsupported.append(Unsupported(what, place, in_tests))

    def read(self) -> Definition:
        top = read_yaml(self.text)
        fields = top.mapping("a journey", _TOP)
        name = _name(needed(fields, "journey", top, "a journey"), "journey")
        policy = fields["policy"].text("policy") if "policy" in fields else None
        entry = self.entry(needed(fields, "entry", top, "a journey"))
        exits = tuple(self.match(item, "exit") for item in fields["exit"].items("exit")) if "exit" in fields else ()
        goal = self.goal(fields["goal"]) if "goal" in fields else None
        keep = self.keep(fields["keep"]) if "keep" in fields else {}
        card = self.card(fields["card"]) if "card" in fields else None
        excludes: tuple[str, ...] = ()
        if "excludes" in fields:
            excludes = tuple(_name(item, "excludes") for item in fields["excludes"].items("excludes"))
            self.later("excludes", fields["excludes"].place)
        steps = self.steps(needed(fields, "steps", top, "a journey"))
        causes: tuple[str, ...] = ()
        if "causes" in fields:
            causes = tuple(item.text("causes") for item in fields["causes"].items("causes"))
        migrate: dict[str, str] = {}
        if "migrate" in fields:
            migrate = self.migrate(fields["migrate"])
            self.later("migrate", fields["migrate"].place)
        program = flatten(steps)
        for target in migrate.values():
            if target not in ("keep", "exit") and target not in program:
                fields["migrate"].refuse(f"there is no step {target!r}")
        tests = tuple(fields["tests"].items("tests")) if "tests" in fields else ()
        return Definition(
            name=name, text=self.text, policy=policy, entry=entry, exits=exits, goal=goal, keep=keep, card=card,
            excludes=excludes, steps=steps, program=program, first=steps[0].id if steps else None,
            lateness=duration_at(fields.get("lateness"), "lateness"),
            backdated=duration_at(fields.get("backdated"), "backdated"),
            causes=causes, migrate=migrate, tests=tests, unsupported=tuple(self.unsupported),
            place_of_policy=fields["policy"].place if "policy" in fields else None)

    # --- entry ---------------------------------------------------------------------------------------------------

    def entry(self, at: Located) -> Entry:
        fields = at.mapping("entry")
        kinds = [kind for kind in ("event", "pattern", "audience", "score", "schedule") if kind in fields]
        if "schedule" in kinds and "audience" in kinds:
            kinds.remove("audience")
        if len(kinds) != 1:
            at.refuse("entry needs one of event, pattern, audience, score, schedule")
        match kinds[0]:
            case "event":
                at.mapping("entry", ("event", "where", "key", "reentry", "any_run"))
                return EntryByEvent(
                    self.event(fields["event"]), expressions.condition(fields.get("where"), "where"),
                    expressions.value(fields.get("key"), "key"), self.reentry(fields.get("reentry")),
                    self.truth(fields.get("any_run")), at.place)
            case "pattern":
                at.mapping("entry", ("pattern", "within", "where", "key", "reentry"))
                self.later("entry: pattern", at.keys["pattern"], in_tests=True)
                return EntryByPattern(
                    tuple(self.pattern_part(item) for item in fields["pattern"].items("pattern")),
                    duration_at(fields.get("within"), "within"), expressions.condition(fields.get("where"), "where"),
                    expressions.value(fields.get("key"), "key"), self.reentry(fields.get("reentry")), at.place)
            case "audience":
                at.mapping("entry", ("audience", "on", "where", "reentry"))
                self.later("entry: audience", at.keys["audience"], in_tests=True)
                on = choice(fields["on"], "on", "enter", "leave") if "on" in fields else "enter"
                return EntryByAudience(
                    fields["audience"].text("audience"), "leave" if on == "leave" else "enter",
                    expressions.condition(fields.get("where"), "where"), self.reentry(fields.get("reentry")), at.place)
            case "score":
                at.mapping("entry", ("score", "where", "reentry"))
                self.later("entry: score", at.keys["score"], in_tests=True)
                score = fields["score"].mapping("score", ("name", "reaches", "rearm_below"))
                reaches = self.number(needed(score, "reaches", fields["score"], "score"))
                return EntryByScore(
                    needed(score, "name", fields["score"], "score").text("name"), reaches,
                    self.number(score["rearm_below"]) if "rearm_below" in score else reaches,
                    expressions.condition(fields.get("where"), "where"), self.reentry(fields.get("reentry")), at.place)
            case _:
                at.mapping("entry", ("schedule", "audience", "reentry"))
                self.later("entry: schedule", at.keys["schedule"], in_tests=True)
                return EntryBySchedule(
                    fields["schedule"].text("schedule"),
                    needed(fields, "audience", at, "a schedule").text("audience"),
                    self.reentry(fields.get("reentry")), at.place)

    def pattern_part(self, at: Located) -> PatternPart:
        fields = at.mapping("pattern", ("event", "not", "where", "times"))
        if ("event" in fields) == ("not" in fields):
            at.refuse("each part of a pattern has either event or not")
        absent = "not" in fields
        return PatternPart(
            self.event(fields["not" if absent else "event"]), expressions.condition(fields.get("where"), "where"),
            fields["times"].whole("times", 1) if "times" in fields else 1, absent)

    def reentry(self, at: Located | None) -> Reenter:
        if at is None:
            return Reenter("when_ended")
        words = at.text("reentry").split()
        match words:
            case ["never"]:
                return Reenter("never")
            case ["when_ended"]:
                return Reenter("when_ended")
            case ["restart"]:
                return Reenter("restart")
            case ["cooldown", length]:
                return Reenter("cooldown", duration_at(Located(length, at.place, {}), "cooldown"))
        at.refuse("reentry must be never, when_ended, restart or cooldown with a duration such as cooldown 30d")

    # --- events --------------------------------------------------------------------------------------------------

    def event(self, at: Located) -> str:
        text = at.text("event")
        if not text.strip():
            at.refuse("event needs a name")
        return canonical_name(text)

    def truth(self, at: Located | None) -> bool:
        return at is not None and at.truth("any_run")

    def number(self, at: Located) -> float:
        if isinstance(at.value, bool) or not isinstance(at.value, int | float):
            at.refuse("a number is expected")
        return float(at.value)

    def match(self, at: Located, what: str, *more: str) -> EventMatch:
        fields = at.mapping(what, ("event", "match", "where", "any_run", *(("as",) if what != "goal" else ()), *more))
        names: tuple[str, ...] = ()
        if "match" in fields:
            given = fields["match"]
            items = given.value if isinstance(given.value, list) else [given]
            names = tuple(item.text("match") for item in items)
        event = needed(fields, "event", at, what)
        as_ = event.value
        if "as" in fields:
            word = fields["as"]
            as_ = str(word.value) if isinstance(word.value, int) and not isinstance(word.value, bool) else \
                word.text("as")
        return EventMatch(self.event(event), names, expressions.condition(fields.get("where"), "where"),
                          self.truth(fields.get("any_run")), as_, at.place)

    def goal(self, at: Located) -> Goal:
        on = self.match(at, "goal", "within", "value")
        fields = at.mapping("goal")
        return Goal(on, duration_at(fields.get("within"), "within"), expressions.value(fields.get("value"), "value"))

    def keep(self, at: Located) -> dict[str, str]:
        kept: dict[str, str] = {}
        for name, item in at.mapping("keep").items():
            words = item.text(f"keep.{name}").split(maxsplit=1)
            if len(words) != 2 or words[0] != "last":
                item.refuse("keep has the form `name: last event`")
            if name in ("key", "entry", "id"):
                item.refuse(f"run.{name} is there already; choose another name")
            kept[name] = canonical_name(words[1])
        return kept

    def card(self, at: Located) -> Card:
        self.later("card", at.place)
        fields = at.mapping("card", ("for", "keep", "title", "show"))
        return Card(
            tuple(item.text("for") for item in fields["for"].items("for")) if "for" in fields else (),
            duration_at(fields.get("keep"), "keep"), expressions.text(fields.get("title"), "title"),
            expressions.values(fields.get("show"), "show"), at.place)

    def migrate(self, at: Located) -> dict[str, str]:
        found: dict[str, str] = {}
        for step, item in at.mapping("migrate").items():
            words = item.text("migrate").split()
            if words in (["keep"], ["exit"]):
                found[step] = words[0]
            elif len(words) == 3 and words[:2] == ["move", "to"]:
                found[step] = words[2]
            else:
                item.refuse("migrate must be keep, exit, or move to a step")
        return found

    # --- steps ---------------------------------------------------------------------------------------------------

    def steps(self, at: Located | None) -> tuple[Step, ...]:
        if at is None:
            return ()
        return tuple(self.step(item) for item in at.items("steps"))

    def step(self, at: Located) -> Step:
        if isinstance(at.value, str) and at.value == "end":
            return End(self.fresh_id("end", at.place), at.place)
        fields = at.mapping("a step")
        kinds = [kind for kind in _ACTIONS if kind in fields]
        if len(kinds) != 1:
            at.refuse(f"a step needs exactly one of {', '.join(_ACTIONS)}" + (
                f", not {' and '.join(kinds)}" if kinds else ""))
        kind = kinds[0]
        id_ = self.id_of(fields, at, kind)
        match kind:
            case "wait":
                at.mapping("a wait step", ("id", "wait"))
                return self.wait(id_, fields["wait"], at.place)
            case "send" | "onsite" | "webhook" | "task":
                return self.outward(id_, kind, fields, at)
            case "branch":
                at.mapping("a branch step", ("id", "branch"))
                return self.branch(id_, fields["branch"], at.place)
            case "split":
                at.mapping("a split step", ("id", "split", "steps"))
                return self.split(id_, fields["split"], fields.get("steps"), at)
            case "repeat":
                at.mapping("a repeat step", ("id", "repeat"))
                inner = fields["repeat"].mapping("repeat", ("max", "steps"))
                most = needed(inner, "max", fields["repeat"], "repeat")
                if most.whole("max", 1) > 1_000:
                    most.refuse("max may be 1000 at most")
                return Repeat(id_, most.value, self.steps(needed(inner, "steps", fields["repeat"], "repeat")),
                              at.place)
            case "set":
                at.mapping("a set step", ("id", "set"))
                self.later("set", at.place, in_tests=True)
                return SetTraits(id_, expressions.values(fields["set"], "set"), at.place)
            case "notify":
                at.mapping("a notify step", ("id", "notify", "policy", "with"))
                self.later("notify", at.place, in_tests=True)
                inner = fields["notify"].mapping("notify", ("to", "text"))
                return Notify(id_, expressions.text(inner.get("to"), "to"), expressions.text(inner.get("text"), "text"),
                              at.place)
            case _:
                at.mapping("an end step", ("id", "end"))
                return End(id_, at.place)

    def id_of(self, fields: dict[str, Located], at: Located, kind: str) -> str:
        if "id" not in fields:
            if kind == "end":
                return self.fresh_id("end", at.place)
            at.refuse("each step needs an id")
        id_ = _name(fields["id"], "id")
        if id_ in self.ids:
            fields["id"].refuse(f"there is a step {id_!r} already, at {self.ids[id_]}")
        self.ids[id_] = at.place
        return id_

    def fresh_id(self, stem: str, place: Place) -> str:
        number = 1
        while f"{stem}-{number}" in self.ids:
            number += 1
        self.ids[f"{stem}-{number}"] = place
        return f"{stem}-{number}"

    def wait(self, id_: str, at: Located, place: Place) -> Wait:
        fields = at.mapping("wait", ("for", "until", "since", "reset_on", "timeout", "at", "days", "date"))
        until: tuple[Until, ...] = ()
        if "until" in fields:
            given = fields["until"]
            items = given.value if isinstance(given.value, list) else [given]
            until = tuple(Until(self.match(item, "until", "then"), self.steps(item.mapping("until").get("then")))
                          for item in items)
        resets: tuple[EventMatch, ...] = ()
        if "reset_on" in fields:
            given = fields["reset_on"]
            items = given.value if isinstance(given.value, list) else [given]
            resets = tuple(self.match(item, "reset_on") for item in items)
        since: Since = "step"
        if "since" in fields:
            word = choice(fields["since"], "since", "step", "entry", "ever")
            since = "entry" if word == "entry" else "ever" if word == "ever" else "step"
        days: frozenset[int] = frozenset()
        if "days" in fields:
            days = frozenset(DAYS.index(choice(item, "days", *DAYS)) for item in fields["days"].items("days"))
            if not days:
                fields["days"].refuse("days needs at least one day")
        if not fields.keys() & {"for", "until", "at", "days", "date"}:
            at.refuse("wait needs one of for, until, at, days, date")
        if resets and "for" not in fields:
            fields["reset_on"].refuse("reset_on starts the time of `for` again, and there is no `for`")
        if "timeout" in fields and not fields.keys() & {"for", "at", "days", "date"}:
            fields["timeout"].refuse("a wait without for, at, days or date has no timeout")
        if "date" in fields:
            self.later("wait: date", at.keys["date"], in_tests=True)
        return Wait(id_, duration_at(fields.get("for"), "for"), until, since, resets,
                    self.steps(fields.get("timeout")), time_at(fields.get("at"), "at"), days,
                    expressions.value(fields.get("date"), "date"), place)

    def outward(self, id_: str, kind: str, fields: dict[str, Located], at: Located) -> Outward:
        common = ("id", "with", "policy")
        channel: Channel
        to = text = owner = None
        due = expires = None
        show = "now"
        template = fields.get("template")
        if kind == "send":
            channel = "email"
            choice(fields["send"], "send", "email")
            at.mapping("a send step", (*common, "send", "template"))
            needed(fields, "template", at, "send: email")
        elif kind == "webhook":
            channel = "webhook"
            at.mapping("a webhook step", (*common, "webhook", "template"))
            given = fields["webhook"]
            if isinstance(given.value, dict):
                inner = given.mapping("webhook", ("to", "template"))
                to, template = needed(inner, "to", given, "webhook"), inner.get("template", template)
            else:
                to = given
        elif kind == "task":
            channel = "task"
            self.later("task", at.keys["task"])
            at.mapping("a task step", (*common, "task", "template"))
            inner = fields["task"].mapping("task", ("to", "owner", "due", "text"))
            to, text, owner = inner.get("to"), inner.get("text"), inner.get("owner")
            due = duration_at(inner.get("due"), "due")
        else:
            channel = "onsite"
            self.later("onsite", at.keys["onsite"])
            at.mapping("an onsite step", (*common, "onsite", "template"))
            inner = fields["onsite"].mapping("onsite", ("slot", "template", "show", "expires"))
            to, template = inner.get("slot"), inner.get("template", template)
            show = choice(inner["show"], "show", "now", "next_page") if "show" in inner else "now"
            expires = duration_at(inner.get("expires"), "expires")
        return Outward(
            id_, channel, fields["policy"].text("policy") if "policy" in fields else None,
            expressions.text(template, "template"), expressions.values(fields.get("with"), "with"),
            expressions.text(to, "to"), expressions.text(text, "text"), expressions.text(owner, "owner"), due,
            "next_page" if show == "next_page" else "now", expires, at.place)

    def branch(self, id_: str, at: Located, place: Place) -> Branch:
        arms: list[Arm] = []
        given = at.items("branch")
        for index, item in enumerate(given):
            fields = item.mapping("branch", ("when", "else", "steps"))
            if ("when" in fields) == ("else" in fields):
                item.refuse("each arm of a branch has either when or else: true")
            if "else" in fields:
                if fields["else"].value is not True:
                    fields["else"].refuse("else is written `else: true`")
                if index != len(given) - 1:
                    item.refuse("else comes last: what follows it is never taken")
            arms.append(Arm(expressions.condition(fields.get("when"), "when"), self.steps(fields.get("steps"))))
        return Branch(id_, tuple(arms), place)

    def split(self, id_: str, at: Located, steps: Located | None, whole: Located) -> Split:
        fields = at.mapping("split", ("by", "parts", "winner"))
        parts_at = needed(fields, "parts", at, "split")
        parts = tuple((arm, item.whole(arm)) for arm, item in parts_at.mapping("parts").items())
        if sum(percent for _, percent in parts) != 100:
            parts_at.refuse(f"the parts of a split are percent and sum to 100, not "
                            f"{sum(percent for _, percent in parts)}")
        if steps is None:
            whole.refuse("split needs `steps` beside it, with one list for each arm")
        arms = {arm: self.steps(item) for arm, item in steps.mapping("steps", [arm for arm, _ in parts]).items()}
        if "winner" in fields:
            self.later("split: winner", at.keys["winner"], in_tests=True)
        by = choice(fields["by"], "by", "person", "account") if "by" in fields else "person"
        return Split(id_, "account" if by == "account" else "person", parts,
                     fields["winner"].plain() if "winner" in fields else None,
                     {arm: arms.get(arm, ()) for arm, _ in parts}, whole.place)


def refuse_unsupported(definition: Definition, *, in_tests: bool) -> None:
    """Raises YamlProblem for the first construct that cannot be run (in production; in `journey test`)."""
    for item in definition.unsupported:
        if item.in_tests or not in_tests:
            _refuse(item)


def _refuse(item: Unsupported) -> NoReturn:
    raise YamlProblem(f"{item.what} is not supported yet", item.place)
