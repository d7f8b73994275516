"""Journeys as files: a folder with `<name>.yaml`, `_policies.yaml` and `templates/`."""

from dataclasses import dataclass
from pathlib import Path

from percorso_orchestrator.definition import Definition, Outward, Policies
from percorso_orchestrator.read_journey import read_journey
from percorso_orchestrator.read_policies import NO_POLICIES, read_policies
from percorso_orchestrator.read_yaml import YamlProblem

POLICIES_FILE = "_policies.yaml"
TEMPLATES = "templates"


@dataclass(frozen=True, slots=True)
class JourneyFile:
    """One file, read; or what is wrong with it."""

    path: Path
    definition: Definition | None
    problem: YamlProblem | None


def read_text(path: Path) -> str:
    """Raises YamlProblem."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise YamlProblem("is not a text file in UTF-8", file=path.name) from None
    except OSError as error:
        raise YamlProblem(f"cannot be read: {error.strerror}", file=path.name) from None


def folder_policies(folder: Path) -> Policies:
    """Of `_policies.yaml` in the folder; none if it is not there. Raises YamlProblem."""
    path = folder / POLICIES_FILE
    if not path.is_file():
        return NO_POLICIES
    try:
        return read_policies(read_text(path))
    except YamlProblem as problem:
        raise problem.in_file(path.name) from None


def journey_paths(path: Path) -> list[Path]:
    """The file itself, or a folder's journeys in order of name."""
    if path.is_dir():
        return sorted(item for item in path.iterdir()
                      if item.suffix in (".yaml", ".yml") and not item.name.startswith(("_", ".")) and item.is_file())
    return [path]


def read_file(path: Path, policies: Policies) -> Definition:
    """One journey whose policies exist. Raises YamlProblem with the file's name."""
    try:
        definition = read_journey(read_text(path))
        check_policies(definition, policies)
    except YamlProblem as problem:
        raise problem.in_file(path.name) from None
    return definition


def check_policies(definition: Definition, policies: Policies) -> None:
    """Raises YamlProblem for a policy that `_policies.yaml` does not have."""
    named = [(definition.policy, definition.place_of_policy)] + [
        (node.step.policy, node.step.place) for node in definition.program.values() if isinstance(node.step, Outward)]
    for name, place in named:
        if name is not None and name not in policies.policies:
            known = ", ".join(policies.policies) or "none"
            raise YamlProblem(f"there is no policy {name!r} in {POLICIES_FILE} (known: {known})", place)


def read_all(path: Path, policies: Policies) -> list[JourneyFile]:
    """Every journey of a folder (or the one file), problems kept beside."""
    found: list[JourneyFile] = []
    for item in journey_paths(path):
        try:
            found.append(JourneyFile(item, read_file(item, policies), None))
        except YamlProblem as problem:
            found.append(JourneyFile(item, None, problem))
    return found
