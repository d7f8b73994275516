"""Random journeys and random streams of touchpoints: the same seed gives the same ones."""

from dataclasses import dataclass
from random import Random

from journey_world import HOUR, at

POLICIES = """
holds:
  ticket:
    open: {event: ticket_opened, key: event.ticket}
    close: {event: ticket_closed, key: event.ticket}
    covers: [person, account]
    max: 2d
policies:
  free: {}
  quiet: {quiet: {from: "21:00", to: "08:00"}}
  agreed: {consent: marketing, stale_after: 1d, hold_while: [ticket]}
  capped: {cap: {group: g, max: 2, per: 1d, when_full: hold}, quiet: {from: "23:00", to: "06:00"}}
  dropped: {cap: {group: g, max: 1, per: 12h, when_full: skip}, hold_while: [ticket]}
"""


@dataclass(frozen=True)
class RandomTouchpoint:
    who: str
    name: str
    time: int
    received: int
    properties: dict[str, object]


class RandomJourney:
    """Writes the text of a journey whose constructs are all due in production."""

    def __init__(self, random: Random, name: str) -> None:
        self.random, self.name, self.steps = random, name, 0

    def text(self) -> str:
        key = self.random.random() < 0.6
        entry = ["event: begin"] + (["key: event.k"] if key else [])
        entry.append("reentry: " + self.random.choice(["never", "when_ended", "cooldown 8h", "restart"]))
        if self.random.random() < 0.3:
            entry.append("where: 'event.n > 0'")
        match = ", match: k" if key else ""
        lines = [f"journey: {self.name}", f"policy: {self.policy()}", "lateness: 10m",
                 f"entry: {{{', '.join(entry)}}}"]
        if self.random.random() < 0.6:
            lines.append(f"exit: [{{event: leave{match}, as: left}}]")
        if self.random.random() < 0.5:
            lines.append(f"goal: {{event: leave{match}, within: {self.random.choice(['1d', '12h'])}}}")
        if self.random.random() < 0.4:
            lines.append("keep: {latest: last begin}")
        return "\n".join([*lines, "steps:", *self.list_of(self.random.randint(1, 4), 1, match)]) + "\n"

    def policy(self) -> str:
        return self.random.choice(["free", "quiet", "agreed", "capped", "dropped"])

    def list_of(self, count: int, depth: int, match: str) -> list[str]:
        return [line for _ in range(count) for line in self.step(depth, match)]

    def step(self, depth: int, match: str) -> list[str]:
        self.steps += 1
        id_, pad = f"s{self.steps}", "  " * depth
        kind = self.random.choice(["wait", "wait", "until", "until", "send", "send", "send", "at", "branch", "end"])
        if (kind == "end" and depth == 1) or (depth > 3 and kind in ("until", "branch")):
            kind = "send"
        match kind_of := kind:
            case "wait":
                reset = f", reset_on: {{event: touch{match}}}" if self.random.random() < 0.4 else ""
                return [f"{pad}- {{id: {id_}, wait: {{for: {self.duration()}{reset}}}}}"]
            case "at":
                days = ", days: [mon, wed, thu]" if self.random.random() < 0.5 else ""
                hour = self.random.choice(["09:00", "14:30"])
                return [f"{pad}- {{id: {id_}, wait: {{for: 2h, at: '{hour}'{days}}}}}"]
            case "send":
                own = f", policy: {self.policy()}" if self.random.random() < 0.6 else ""
                what = self.random.choice(["send: email, template: t", "webhook: 'https://example.com/{run.key}'"])
                given = ", with: {seen: \"values('touch', 'n')\", n: run.entry.n}" if self.random.random() < 0.4 else ""
                return [f"{pad}- {{id: {id_}, {what}{own}{given}}}"]
            case "until":
                since = self.random.choice(["step", "step", "entry", "ever"])
                lines = [f"{pad}- id: {id_}", f"{pad}  wait:", f"{pad}    for: {self.duration()}",
                         f"{pad}    since: {since}", f"{pad}    until:"]
                for name in self.random.sample(["touch", "look", "email_sent"], self.random.randint(1, 2)):
                    where = ", where: 'event.n != 1.0'" if name != "email_sent" and self.random.random() < 0.4 else ""
                    lines.append(f"{pad}      - event: {name}")
                    if where:
                        lines.append(f"{pad}        where: 'event.n != 1.0'")
                    if self.random.random() < 0.5:
                        lines += [f"{pad}        then:", *self.list_of(1, depth + 5, match)]
                if self.random.random() < 0.5:
                    lines += [f"{pad}    timeout:", *self.list_of(1, depth + 3, match)]
                return lines
            case "branch":
                when = self.random.choice([
                    "count('touch') >= 1", "count('look', '6h') > 0", "count('begin', 'ever') > 1", "sent('s1')",
                    "person.tier == 'gold'", "last('touch', 'n') == 2", "run.entry.n > 1", "event.n.x == 1"])
                lines = [f"{pad}- id: {id_}", f"{pad}  branch:", f"{pad}    - when: \"{when}\"", f"{pad}      steps:",
                         *self.list_of(1, depth + 4, match)]
                if self.random.random() < 0.5:
                    lines += [f"{pad}    - else: true", f"{pad}      steps:", *self.list_of(1, depth + 4, match)]
                return lines
            case "split":
                return [f"{pad}- id: {id_}", f"{pad}  split: {{by: person, parts: {{one: 30, two: 70}}}}",
                        f"{pad}  steps:", f"{pad}    one:", *self.list_of(1, depth + 3, match)]
            case "repeat":
                return [f"{pad}- id: {id_}", f"{pad}  repeat:", f"{pad}    max: 2", f"{pad}    steps:",
                        *self.list_of(2, depth + 3, match)]
            case _:
                assert kind_of == "end"
                return [f"{pad}- {{id: {id_}, end: true}}"]

    def duration(self) -> str:
        return self.random.choice(["90s", "30m", "2h", "5h", "1d", "2d"])


def random_stream(random: Random, people: list[str]) -> list[list[RandomTouchpoint]]:
    """Batches of touchpoints received at one instant, in order of arrival."""
    batches: dict[int, list[RandomTouchpoint]] = {}
    names = ["begin"] * 4 + ["touch"] * 4 + ["look"] * 3 + ["leave"] + ["ticket_opened", "ticket_closed", "elsewhere"]
    for _ in range(random.randint(4, 18)):
        received = at(0) + random.randint(0, 4 * 24 * 3) * (HOUR // 3)
        late = random.choice([0, 0, 0, 0, 5 * 60_000, 20 * 60_000, 3 * HOUR])
        properties: dict[str, object] = {"n": random.randint(0, 3), "ticket": random.choice(["t1", "t2"])}
        if random.random() < 0.9:
            properties["k"] = random.choice(["a", "b"])
        batches.setdefault(received, []).append(RandomTouchpoint(
            random.choice(people), random.choice(names), max(received - late, at(0)), received, properties))
    return [batches[received] for received in sorted(batches)]
