"""What is wrong with a journey that reads well: found before it is published."""

from collections.abc import Iterator

from percorso_orchestrator.definition import Definition, EntryByEvent, Outward, Policies, Wait
from percorso_orchestrator.journey_folder import check_policies
from percorso_orchestrator.read_journey import refuse_unsupported
from percorso_orchestrator.read_yaml import YamlProblem

_MESSAGES = ("email_", "onsite_")


def validate(definition: Definition, policies: Policies) -> None:
    """Raises YamlProblem for the first thing that keeps it from being published."""
    refuse_unsupported(definition, in_tests=False)
    check_policies(definition, policies)
    for problem in _problems(definition):
        raise problem


def _problems(definition: Definition) -> Iterator[YamlProblem]:
    entry = definition.entry
    if isinstance(entry, EntryByEvent) and entry.event.startswith(_MESSAGES) and not entry.any_run:
        yield YamlProblem(f"nobody is in a run before the entry: {entry.event} needs any_run: true", entry.place)
    if isinstance(entry, EntryByEvent) and entry.key is not None and (entry.key.calls or any(
            path.partition(".")[0] not in ("event", "context") for path in entry.key.reads)):
        yield YamlProblem("the key of an entry may read event and context only", entry.place)
    for node in definition.program.values():
        step = node.step
        if isinstance(step, Outward) and step.policy is None and definition.policy is None:
            yield YamlProblem("what reaches somebody needs a policy: name one for the journey or for this step "
                              "(`internal: {}` is one without gates)", step.place)
        if isinstance(step, Wait):
            zero = step.for_ is not None and step.for_.amount == 0
            if step.until and zero and step.since == "step" and step.at is None and not step.days:
                yield YamlProblem("this wait ends at the instant at which it begins: its events can never come in time",
                                  step.place)
