"""Reading journeys: YAML 1.2, unknown keys, places of errors, what is not run yet."""

import pytest

from percorso_orchestrator.definition import EntryByEvent, Wait
from percorso_orchestrator.read_journey import read_journey
from percorso_orchestrator.read_policies import read_policies
from percorso_orchestrator.read_yaml import YamlProblem, read_yaml
from percorso_orchestrator.validate import validate

GOOD = """journey: j
policy: p
entry: {event: Form Submitted, key: event.k}
exit: [{event: leave, as: no}]
steps:
  - {id: w, wait: {for: 2h}}
  - {id: m, send: email, template: t}
"""
POLICIES = read_policies("policies: {p: {}}")


def refused(text: str) -> str:
    with pytest.raises(YamlProblem) as caught:
        validate(read_journey(text), POLICIES)
    return str(caught.value)


@pytest.mark.parametrize(("text", "value"), [
    ("no", "no"), ("yes", "yes"), ("on", "on"), ("y", "y"), ("true", True), ("False", False), ("~", None), ("", None),
    ("null", None), ("21:00", "21:00"), ("2026-03-02", "2026-03-02"), ("010", 10), ("0o10", 8), ("0x1F", 31),
    ("1_000", "1_000"), ("1e3", 1000.0), ("1.5", 1.5), (".5", 0.5), ("'12'", "12"), ('"true"', "true"), ("<<", "<<"),
])
def test_scalars_are_those_of_the_core_schema(text, value):
    found = read_yaml(f"a: {text}\n").mapping("it")["a"].plain()
    assert (found, type(found)) == (value, type(value))


def test_as_no_is_a_string():
    assert read_journey(GOOD).exits[0].as_ == "no"


def test_event_names_are_canonical():
    entry = read_journey(GOOD).entry
    assert isinstance(entry, EntryByEvent)
    assert entry.event == "form_submitted"


@pytest.mark.parametrize(("change", "message"), [
    (("policy: p", "polici: p"), "line 2, column 1: 'polici' is not known in a journey; did you mean 'policy'?"),
    (("key: event.k", "keyy: event.k"), "line 3, column 32: 'keyy' is not known in entry; did you mean 'key'?"),
    (("for: 2h", "four: 2h"), "line 6, column 20: 'four' is not known in wait; did you mean 'for'?"),
    (("template: t", "tempalte: t"),
     "line 7, column 26: 'tempalte' is not known in a send step; did you mean 'template'?"),
    (("for: 2h", "for: 2 hours"), "line 6, column 25: for: '2 hours' is not a duration"),
    (("send: email", "send: fax"), "line 7, column 19: send must be email, not 'fax'"),
    (("id: m", "id: w"), "line 7, column 10: there is a step 'w' already, at line 6, column 5"),
    (("key: event.k", "key: event."), "line 3, column 37: "),
    (("key: event.k", "where: 'evnt.k == 1'"), "line 3, column 39: "),
    (("policy: p", "policy: q"), "line 2, column 9: there is no policy 'q' in _policies.yaml (known: p)"),
    (("policy: p\n", ""), "line 6, column 5: what reaches somebody needs a policy"),
    (("- {id: m,", "- {"), "line 7, column 5: each step needs an id"),
    (("{id: w, wait: {for: 2h}}", "{id: w, wait: {for: 2h}, task: {to: x}}"),
     "line 6, column 5: a step needs exactly one of"),
    (("exit: [{event: leave, as: no}]", "exit: [{event: leave, as: no}]\nexit: []"),
     "line 5, column 1: 'exit' is there twice"),
    (("for: 2h", "until: [{event: x}], reset_on: {event: y}"), "line 6, column 51: reset_on starts the time of `for`"),
    (("key: event.k", "key: person.k"), "line 3, column 8: the key of an entry may read event and context only"),
    (("event: Form Submitted", "event: email_clicked"), "line 3, column 8: nobody is in a run before the entry"),
    (("for: 2h", "for: 0s, until: [{event: x}]"), "line 6, column 5: this wait ends at the instant"),
    (("key: event.k", "key: event.k, reentry: sometimes"), "line 3, column 55: reentry must be never, when_ended"),
])
def test_what_is_wrong_is_named_with_its_place(change, message):
    assert message.lstrip() in refused(GOOD.replace(*change))


@pytest.mark.parametrize(("step", "what"), [
    ("{id: x, onsite: {slot: corner, template: t}}", "onsite"),
    ("{id: x, task: {to: sales, text: hello}}", "task"),
    ("{id: x, set: {tier: \"'gold'\"}}", "set"),
    ("{id: x, notify: {to: us, text: hello}}", "notify"),
    ("{id: x, split: {by: person, parts: {a: 100}, winner: a}, steps: {a: []}}", "split: winner"),
    ("{id: x, wait: {date: person.birthday}}", "wait: date"),
])
def test_steps_that_production_does_not_take_yet_are_refused_at_publish_with_their_place(step, what):
    said = refused(GOOD + f"  - {step}\n")
    assert said.endswith(f"{what} is not supported yet")
    assert said.startswith("line 8, column ")


@pytest.mark.parametrize(("entry", "what"), [
    ("{pattern: [{event: x, times: 3}, {not: y}], within: 7d}", "entry: pattern"),
    ("{audience: loyal, on: enter}", "entry: audience"),
    ("{score: {name: heat, reaches: 80, rearm_below: 60}}", "entry: score"),
    ("{schedule: '0 9 * * 1', audience: loyal}", "entry: schedule"),
])
def test_entries_that_production_does_not_take_yet_are_refused_at_publish(entry, what):
    assert f"{what} is not supported yet" in refused(
        GOOD.replace("{event: Form Submitted, key: event.k}", entry))


def test_a_nested_list_of_steps_goes_on_after_its_parent():
    definition = read_journey(GOOD + """
  - id: u
    wait: {for: 1h, until: [{event: go, then: [{id: t1, send: email, template: t}, {id: t2, end: true}]}]}
  - {id: last, send: email, template: t}
""")
    assert definition.step("u").ways == ("t1", "last")
    assert definition.step("t1").next == "t2"
    assert definition.step("t2").next == "last"
    assert definition.step("last").next is None
    assert isinstance(definition.step("w").step, Wait)


def test_a_bomb_of_aliases_is_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(YamlProblem, match="too large"):
        read_yaml("\n".join(lines))


def test_what_is_no_yaml_is_refused_with_its_place():
    with pytest.raises(YamlProblem, match="line 3, column 1"):
        read_yaml("a: 1\nb: [1, 2\n")


@pytest.mark.parametrize(("text", "message"), [
    ("policies: {p: {quite: {}}}", "did you mean 'quiet'?"),
    ("policies: {p: {hold_while: [nothing]}}", "there is no hold 'nothing'"),
    ("policies: {p: {cap: {group: g, max: 0, per: 1d}}}", "max must be a whole number, 1 or more"),
    ("policies: {p: {quiet: {from: '25:00', to: '08:00'}}}", "'25:00' is not a time of day"),
    ("policies: {p: {cap: {group: g, max: 1}}}", "cap needs 'per'"),
])
def test_wrong_policies_are_refused(text, message):
    with pytest.raises(YamlProblem) as caught:
        read_policies(text)
    assert message in str(caught.value)
