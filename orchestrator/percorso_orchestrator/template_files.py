"""Templates as files: `<name>.<lang>.mjml` with a front matter that holds the subject, beside it perhaps
`<name>.<lang>.txt`, in the folder `templates` beside the journeys."""

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from percorso_orchestrator.template_problem import TemplateProblem

_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$\n?", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"(?P<name>.+)\.(?P<lang>[a-z]{2,3}(?:-[A-Za-z]{2,4})?)\.mjml")
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Source:
    """One language of a template, as written."""

    name: str
    lang: str
    file: str
    """Its path below the folder, for messages."""
    subject: str
    mjml: str
    lines_before: int
    """Lines of front matter before `mjml`."""
    text: str | None
    """The plain-text part, if it has a file of its own."""


def find_templates(folder: Path) -> dict[str, dict[str, Path]]:
    """name (`registration/confirm-link`) -> language -> file. Empty if there is no such folder."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.rglob("*.mjml")) if folder.is_dir() else []:
        relative = path.relative_to(folder).as_posix()
        match = _FILE.fullmatch(relative)
        if match is None:
            raise TemplateProblem("the name must end in .<language>.mjml, such as welcome.it.mjml", file=relative)
        found.setdefault(match["name"], {})[match["lang"].lower()] = path
    return found


def choose(wanted: str, known: Collection[str]) -> list[str]:
    """The templates that a step may name: one, or, with expressions in braces (`nurture/{run.key}/1`), all that fit.
    Raises TemplateProblem if there is none."""
    if "{" in wanted:
        pattern = re.compile("[^/]*".join(re.escape(part) for part in _PLACEHOLDER.split(wanted)))
        fitting = sorted(name for name in known if pattern.fullmatch(name))
    else:
        fitting = [wanted] if wanted in known else []
    if not fitting:
        near = difflib.get_close_matches(wanted, known, n=1)
        raise TemplateProblem(f"there is no template '{wanted}'" + (f"; did you mean '{near[0]}'?" if near else ""))
    return fitting


def read_source(name: str, lang: str, path: Path, folder: Path) -> Source:
    """Raises TemplateProblem with file and line."""
    file = path.relative_to(folder).as_posix()
    whole = _read(path, file)
    front = _FRONT.match(whole)
    if front is None:
        raise TemplateProblem("it must begin with a line ---, `subject: ...` and a line ---", file=file, line=1)
    text = path.with_suffix(".txt")
    return Source(name, lang, file, _subject(front[1], file), whole[front.end():], front[0].count("\n"),
                  _read(text, text.relative_to(folder).as_posix()) if text.is_file() else None)


def _read(path: Path, file: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise TemplateProblem(f"cannot be read: {error.strerror}", file=file) from error
    except UnicodeDecodeError:
        raise TemplateProblem("is not UTF-8", file=file) from None


def _subject(front: str, file: str) -> str:
    try:
        fields = YAML(typ="safe", pure=True).load(front)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 2 if error.problem_mark else 1
        raise TemplateProblem(f"front matter: {error.problem}", file=file, line=line) from None
    if not isinstance(fields, dict) or not isinstance(fields.get("subject"), str) or not fields["subject"].strip():
        raise TemplateProblem("the front matter needs a subject", file=file, line=2)
    unknown = sorted(set(map(str, fields)) - {"subject"})
    if unknown:
        raise TemplateProblem(f"front matter: {unknown[0]!r} is not known (only subject)", file=file, line=2)
    return str(fields["subject"]).strip()
