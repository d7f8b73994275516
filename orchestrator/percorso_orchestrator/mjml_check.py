"""Our own check of an MJML text before the compiler sees it: size, depth, known tags, balance.

The compiler (mrml) dies with its whole process on a text nested 10,000 deep; what passes here cannot do that. Liquid's
own marks are passed over.
"""

import difflib
import re

from percorso_orchestrator.template_problem import TemplateProblem

MAX_BYTES = 256 * 1024
MAX_DEPTH = 100

_KNOWN = frozenset({
    "mjml", "mj-head", "mj-attributes", "mj-all", "mj-class", "mj-breakpoint", "mj-font", "mj-html-attributes",
    "mj-selector", "mj-html-attribute", "mj-preview", "mj-style", "mj-title", "mj-raw", "mj-body", "mj-accordion",
    "mj-accordion-element", "mj-accordion-title", "mj-accordion-text", "mj-button", "mj-carousel",
    "mj-carousel-image", "mj-column", "mj-divider", "mj-group", "mj-hero", "mj-image", "mj-navbar",
    "mj-navbar-link", "mj-section", "mj-social", "mj-social-element", "mj-spacer", "mj-table", "mj-text",
    "mj-wrapper"})
_VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"})
_REFUSED = frozenset({"script", "iframe", "object", "embed", "form", "base"})

_LIQUID = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_TAG = re.compile(r"""<!--.*?-->|<!\[CDATA\[.*?\]\]>|<![^>]*>|<\?.*?\?>
                      |<(?P<close>/?)(?P<name>[A-Za-z][\w:.-]*)(?P<rest>(?:"[^"]*"|'[^']*'|[^>"'])*?)(?P<self>/?)>""",
                  re.DOTALL | re.VERBOSE)


def check_mjml(text: str) -> None:
    """Raises TemplateProblem with the line and column of the first thing that is wrong."""
    if len(text.encode()) > MAX_BYTES:
        raise TemplateProblem(f"the template is larger than {MAX_BYTES // 1024} KiB")
    plain = _LIQUID.sub(_blank, text)
    opened: list[tuple[str, int]] = []
    for tag in _TAG.finditer(plain):
        if tag["name"] is None:
            continue
        name = tag["name"].lower()
        _check_name(text, name, tag.start())
        if tag["close"]:
            _close(text, name, tag.start(), opened)
        elif not tag["self"] and name not in _VOID:
            if not opened and name != "mjml":
                raise _problem(text, tag.start(), f"the outermost tag is <mjml>, not <{name}>")
            opened.append((name, tag.start()))
            if len(opened) > MAX_DEPTH:
                raise _problem(text, tag.start(), f"tags are nested deeper than {MAX_DEPTH}")
    if opened:
        name, at = opened[-1]
        raise _problem(text, at, f"<{name}> is not closed")
    if "<mjml" not in plain:
        raise TemplateProblem("there is no <mjml> in the template")


def _check_name(text: str, name: str, at: int) -> None:
    if name == "mj-include":
        raise _problem(text, at, "<mj-include> is not allowed: a template is one file")
    if name in _REFUSED:
        raise _problem(text, at, f"<{name}> has no place in a mail")
    if name.startswith("mj") and name not in _KNOWN:
        near = difflib.get_close_matches(name, _KNOWN, n=1)
        raise _problem(text, at, f"<{name}> is not known" + (f"; did you mean <{near[0]}>?" if near else ""))


def _close(text: str, name: str, at: int, opened: list[tuple[str, int]]) -> None:
    if name in _VOID:
        return
    if not opened:
        raise _problem(text, at, f"</{name}> closes nothing")
    expected, _ = opened.pop()
    if expected != name:
        raise _problem(text, at, f"</{name}> stands where </{expected}> was expected")


def _blank(found: "re.Match[str]") -> str:
    return re.sub(r"[^\n]", " ", found[0])


def _problem(text: str, at: int, message: str) -> TemplateProblem:
    return TemplateProblem(message, line=text.count("\n", 0, at) + 1, column=at - text.rfind("\n", 0, at))
