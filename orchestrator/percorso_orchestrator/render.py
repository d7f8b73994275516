"""What an outward step takes along: which template, to which address, with which values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from percorso_orchestrator.calendar import add
from percorso_orchestrator.definition import Outward
from percorso_orchestrator.expressions import Expression
from percorso_orchestrator.model import Event, Json, Run
from percorso_orchestrator.world import World, event_variables
from percorso_shared.conditions import Evaluation


@dataclass(frozen=True, slots=True)
class Rendered:
    """`payload` is what delivery fills templates and bodies from: `with`, `run`, `event`, and of a task or on-site
    message its own values. An expression that failed is null and stands in `errors`."""

    template: str | None
    address: str
    payload: Mapping[str, Json]
    errors: tuple[str, ...]


def render(step: Outward, run: Run, event: Event | None, evaluate: Callable[[Expression], Evaluation], at: int,
           world: World) -> Rendered | None:
    """None = the state could not be read."""
    errors: list[str] = []
    unreadable = False

    def found(expression: Expression | None) -> Json:
        nonlocal unreadable
        if expression is None:
            return None
        evaluation = evaluate(expression)
        unreadable = unreadable or evaluation.unreadable
        if evaluation.error and not evaluation.unreadable:
            errors.append(evaluation.error)
        return evaluation.value

    template, to = found(step.template), found(step.to)
    payload: dict[str, Json] = {
        "with": {name: found(expression) for name, expression in step.with_.items()},
        "run": {"id": run.run_id, "key": run.key_value, "entry": dict(run.entry), "entered_at": run.entered_at,
                **{name: dict(kept.properties) for name, kept in run.keep.items()}},
        "event": event_variables(event)}
    if step.channel == "task":
        payload["task"] = {"to": to, "text": found(step.text), "owner": found(step.owner),
                           "due": None if step.due is None else add(at, step.due, world.zone)}
    if step.channel == "onsite":
        payload["onsite"] = {"slot": to, "show": step.show,
                             "expires": None if step.expires is None else add(at, step.expires, world.zone)}
    if unreadable:
        return None
    address = (world.addresses or {}).get("email", "") if step.channel == "email" else str(to or "")
    return Rendered(None if template is None else str(template), address, payload, tuple(errors))
