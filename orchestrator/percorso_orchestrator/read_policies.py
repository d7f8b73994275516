"""`_policies.yaml`: policies and holds, read from text."""

from percorso_orchestrator import expressions
from percorso_orchestrator.calendar import TimeOfDay, parse_time_of_day
from percorso_orchestrator.definition import Cap, HoldRule, Policies, Policy, Quiet
from percorso_orchestrator.durations import Duration, parse_duration
from percorso_orchestrator.read_yaml import Located, read_yaml
from percorso_shared.names import canonical_name

NO_POLICIES = Policies(text="")


def duration_at(at: Located | None, what: str) -> Duration | None:
    """A duration where the file has one."""
    if at is None:
        return None
    try:
        return parse_duration(at.text(what))
    except ValueError as error:
        at.refuse(f"{what}: {error}")


def time_at(at: Located | None, what: str) -> TimeOfDay | None:
    """A time of day where the file has one."""
    if at is None:
        return None
    try:
        return parse_time_of_day(at.text(what))
    except ValueError as error:
        at.refuse(f"{what}: {error}")


def needed(fields: dict[str, Located], name: str, parent: Located, what: str) -> Located:
    """The field, or a refusal that names it."""
    if name not in fields:
        parent.refuse(f"{what} needs {name!r}")
    return fields[name]


def choice(at: Located, what: str, *known: str) -> str:
    """One word of a closed set."""
    word = at.text(what)
    if word not in known:
        at.refuse(f"{what} must be {' or '.join(known)}, not {word!r}")
    return word


def read_policies(text: str) -> Policies:
    """Raises YamlProblem with line and column."""
    top = read_yaml(text)
    fields = top.mapping("_policies.yaml", ("holds", "policies"))
    holds: dict[str, HoldRule] = {}
    if "holds" in fields:
        for name, item in fields["holds"].mapping("holds").items():
            holds[name] = _hold(name, item)
    policies: dict[str, Policy] = {}
    if "policies" in fields:
        for name, item in fields["policies"].mapping("policies").items():
            policies[name] = _policy(name, item, holds)
    return Policies(text, policies, holds)


def _hold(name: str, at: Located) -> HoldRule:
    fields = at.mapping(f"hold {name}", ("open", "close", "covers", "max"))
    opening = needed(fields, "open", at, f"hold {name}")
    closing = needed(fields, "close", at, f"hold {name}")
    open_, close = (item.mapping(what, ("event", "where", "key")) for item, what in
                    ((opening, "open"), (closing, "close")))
    covers = frozenset({"person"})
    if "covers" in fields:
        covers = frozenset(choice(item, "covers", "person", "account") for item in fields["covers"].items("covers"))
    return HoldRule(
        name,
        canonical_name(needed(open_, "event", opening, "open").text("event")),
        expressions.condition(open_.get("where"), "where"),
        expressions.value(open_.get("key"), "key"),
        canonical_name(needed(close, "event", closing, "close").text("event")),
        expressions.condition(close.get("where"), "where"),
        expressions.value(close.get("key"), "key"),
        covers,
        duration_at(fields.get("max"), "max"))


def _policy(name: str, at: Located, holds: dict[str, HoldRule]) -> Policy:
    if at.value is None:
        return Policy(name)
    fields = at.mapping(f"policy {name}", ("consent", "hold_while", "quiet", "cap", "stale_after"))
    hold_while: list[str] = []
    if "hold_while" in fields:
        for item in fields["hold_while"].items("hold_while"):
            if item.text("hold_while") not in holds:
                item.refuse(f"there is no hold {item.value!r} in this file")
            hold_while.append(item.value)
    quiet = None
    if "quiet" in fields:
        hours = fields["quiet"].mapping("quiet", ("from", "to"))
        start = time_at(needed(hours, "from", fields["quiet"], "quiet"), "from")
        end = time_at(needed(hours, "to", fields["quiet"], "quiet"), "to")
        assert start is not None
        assert end is not None
        quiet = Quiet(start, end)
    cap = None
    if "cap" in fields:
        at_cap = fields["cap"]
        inner = at_cap.mapping("cap", ("group", "max", "per", "when_full"))
        per = duration_at(needed(inner, "per", at_cap, "cap"), "per")
        assert per is not None
        when_full = choice(inner["when_full"], "when_full", "hold", "skip") if "when_full" in inner else "hold"
        cap = Cap(needed(inner, "group", at_cap, "cap").text("group"),
                  needed(inner, "max", at_cap, "cap").whole("max", 1), per,
                  "skip" if when_full == "skip" else "hold")
    return Policy(
        name,
        fields["consent"].text("consent") if "consent" in fields else None,
        tuple(hold_while), quiet, cap,
        duration_at(fields.get("stale_after"), "stale_after"))
