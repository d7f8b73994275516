"""E-mail templates: compiled once, when a journey is published; filled in (Liquid) when a mail is sent.

    compiled = compile_templates(folder, ["registration/confirm-link"])       # at publish; kept with the version
    mail = render(compiled["registration/confirm-link"], "it", {"person": {...}})

What is kept is plain JSON (`to_json`, `from_json`), so that a run is mailed with the template it was published with.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from liquid import BoundTemplate, Environment
from liquid.exceptions import LiquidError

from percorso_orchestrator.mjml_check import check_mjml
from percorso_orchestrator.plain_text import plain_text
from percorso_orchestrator.template_files import Source, choose, find_templates, read_source
from percorso_orchestrator.template_problem import RenderFailed, TemplateProblem
from percorso_shared.conditions.context_filling import as_json

__all__ = ["Mail", "RenderFailed", "Template", "TemplateProblem", "Version", "compile_templates", "from_json", "render",
           "to_json"]

DEFAULT_LANGUAGE = "it"
COMPILE_SECONDS = 30
_MARK = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_RESERVED = "zqliquid"


class Version(msgspec.Struct, frozen=True):
    """One language of a template, ready to be filled in."""

    subject: str
    html: str
    text: str | None
    """None: derived from the HTML."""
    checksum: str


class Template(msgspec.Struct, frozen=True):
    """A template in all its languages."""

    name: str
    languages: dict[str, Version]


class Mail(msgspec.Struct, frozen=True):
    """A mail without its envelope."""

    subject: str
    html: str
    text: str
    lang: str


class _Limited(Environment):
    """Liquid that cannot run away: what is undefined is empty, what passes a limit is an error."""

    loop_iteration_limit = 100_000
    output_stream_limit = 1_000_000
    local_namespace_limit = 1_000_000


def compile_templates(folder: Path, wanted: Iterable[str]) -> dict[str, Template]:
    """The templates that steps name (`nurture/{run.key}/1` = all that fit), in all their languages. Blocking: it starts
    a child process. Raises TemplateProblem: missing, unreadable, or wrong at a line."""
    known = find_templates(folder)
    names = sorted({name for step in wanted for name in choose(step, known)})
    sources = [read_source(name, lang, path, folder) for name in names for lang, path in sorted(known[name].items())]
    for source in sources:
        _check(source)
    pages = _compile([_hide_liquid(source.mjml) for source in sources], [source.file for source in sources])
    found: dict[str, dict[str, Version]] = {}
    for source, page in zip(sources, pages, strict=True):
        html = _show_liquid(page, source)
        checksum = sha256("\x1f".join((source.subject, source.mjml, source.text or "")).encode()).hexdigest()[:16]
        found.setdefault(source.name, {})[source.lang] = Version(source.subject, html, source.text, checksum)
    return {name: Template(name, languages) for name, languages in found.items()}


def to_json(templates: Mapping[str, Template]) -> str:
    """For a jsonb column."""
    return msgspec.json.encode(templates).decode()


def from_json(text: str | bytes) -> dict[str, Template]:
    """What `to_json` wrote."""
    return msgspec.json.decode(text, type=dict[str, Template])


def render(template: Template, lang: str | None, variables: Mapping[str, Any],
           default: str = DEFAULT_LANGUAGE) -> Mail:
    """Filled in, in the person's language (`it-CH` is also `it`), else the workspace's, else any. What is undefined is
    empty, and what is filled into HTML is escaped. Raises RenderFailed."""
    chosen = choose_language(template.languages, lang, default)
    version = template.languages[chosen]
    values = as_json(dict(variables))
    html = _fill(version.html, True, values, template.name)
    text = plain_text(html) if version.text is None else _fill(version.text, False, values, template.name)
    subject = " ".join(_fill(version.subject, False, values, template.name).split())
    return Mail(subject, html, text, chosen)


def choose_language(languages: Mapping[str, Any], lang: str | None, default: str) -> str:
    """One of `languages`, of which there is at least one."""
    for wanted in (lang, default):
        word = (wanted or "").lower().replace("_", "-")
        for candidate in (word, word.split("-")[0]):
            if candidate in languages:
                return candidate
    return min(languages)


def _fill(text: str, html: bool, values: Mapping[str, Any], name: str) -> str:
    try:
        return _parsed(text, html).render(**values)
    except LiquidError as error:
        raise RenderFailed(f"template {name}: {_said(error)}") from None


@lru_cache(maxsize=512)
def _parsed(text: str, html: bool) -> BoundTemplate:
    return _liquid(html).from_string(text)


@lru_cache(maxsize=2)
def _liquid(html: bool) -> Environment:
    environment = _Limited(autoescape=html)
    for tag in ("include", "render"):
        del environment.tags[tag]
    return environment


def _said(error: LiquidError) -> str:
    return str(error).split("\n")[0]


def _check(source: Source) -> None:
    for text, html, lines_before in ((source.subject, False, 0), (source.mjml, True, source.lines_before),
                                     (source.text or "", False, 0)):
        environment = _liquid(html)
        try:
            used = environment.from_string(text).analyze(include_partials=False).filters
        except LiquidError as error:
            place = error.context() if error.token is not None else None
            line = place[0] + lines_before if place and text is source.mjml else 0
            raise TemplateProblem(_said(error), file=source.file, line=line) from None
        for name in used.keys() - environment.filters.keys():
            at = text.count("\n", 0, used[name][0].index) + 1
            raise TemplateProblem(f"unknown filter '{name}'", file=source.file,
                                  line=at + lines_before if text is source.mjml else 0)
    try:
        check_mjml(source.mjml)
    except TemplateProblem as problem:
        raise problem.in_file(source.file, lines_before=source.lines_before) from None
    if _RESERVED in source.mjml:
        raise TemplateProblem(f"'{_RESERVED}' must not stand in a template", file=source.file)


def _hide_liquid(mjml: str) -> str:
    """Liquid may hold characters that are marks to an XML reader (`{% if a < b %}`): words stand in for it."""
    marks = iter(range(1_000_000))
    return _MARK.sub(lambda _: f"{_RESERVED}{next(marks)}z", mjml)


def _show_liquid(html: str, source: Source) -> str:
    marks = _MARK.findall(source.mjml)
    return re.sub(rf"{_RESERVED}(\d+)z", lambda found: marks[int(found[1])], html)


def _compile(pages: Sequence[str], files: Sequence[str]) -> list[str]:
    """MJML -> HTML in a child process, for a compiler that dies must not take us with it."""
    if not pages:
        return []
    given = "".join(json.dumps(page) + "\n" for page in pages)
    try:
        child = subprocess.run([sys.executable, "-m", "percorso_orchestrator.compile_mjml"], input=given, text=True,
                               capture_output=True, timeout=COMPILE_SECONDS, check=False)
        lines, died = child.stdout.splitlines(), "the MJML compiler died of it"
    except subprocess.TimeoutExpired as late:
        written = late.stdout or b""
        lines = (written.decode() if isinstance(written, bytes) else written).splitlines()
        died = f"the MJML compiler was not done after {COMPILE_SECONDS} s"
    html: list[str] = []
    for index, file in enumerate(files):
        if index >= len(lines):
            raise TemplateProblem(died, file=file)
        answer = json.loads(lines[index])
        if "error" in answer:
            raise TemplateProblem(answer["error"], file=file)
        html.append(answer["html"])
    return html
