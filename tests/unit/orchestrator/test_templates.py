"""Templates: checked and compiled at publish, filled in within limits at send."""

from pathlib import Path

import pytest

from percorso_orchestrator.mjml_check import check_mjml
from percorso_orchestrator.templates import (
    Mail,
    RenderFailed,
    Template,
    TemplateProblem,
    Version,
    compile_templates,
    from_json,
    render,
    to_json,
)

SHIPPED = Path(__file__).parents[3] / "orchestrator/percorso_orchestrator/shipped/templates"


def mjml(inside: str) -> str:
    return ("<mjml><mj-body><mj-section><mj-column><mj-text>" + inside
            + "</mj-text></mj-column></mj-section></mj-body></mjml>")


def write(folder: Path, name: str, body: str, subject: str = "Hello {{ person.name }}") -> Path:
    path = folder / f"{name}.mjml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"---\nsubject: \"{subject}\"\n---\n{body}", encoding="utf-8")
    return folder


def filled(html: str, *, subject: str = "s", text: str | None = None, **values: object) -> Mail:
    return render(Template("t", {"en": Version(subject, html, text, "")}), "en", values)


def test_the_shipped_templates_compile_in_both_languages() -> None:
    compiled = compile_templates(SHIPPED, ["registration/confirm-link", "registration/benefits"])
    assert {name: sorted(template.languages) for name, template in compiled.items()} == {
        "registration/benefits": ["en", "it"], "registration/confirm-link": ["en", "it"]}
    assert from_json(to_json(compiled)) == compiled
    mail = render(compiled["registration/confirm-link"], "it-CH", {
        "public_url": "http://127.0.0.1:8000", "person": {"name": "<Ada>", "email": "a+b@example.com"},
        "run": {"entry": {"registration_id": "r 1"}}})
    assert mail.subject == "Manca solo la tua conferma"
    assert "Ci sei quasi, &lt;Ada&gt;" in mail.html
    assert "http://127.0.0.1:8000/demo/confirm?r=r+1&lang=it#e=a%2Bb%40example.com" in mail.text
    assert "Ci sei quasi, <Ada>" in mail.text


def test_liquid_may_hold_what_would_be_a_mark_in_xml(tmp_path: Path) -> None:
    write(tmp_path, "t.en", mjml('{% if a < b and c > d %}yes{% endif %}<a href="{{ u | default: "z" }}">l</a>'))
    compiled = compile_templates(tmp_path, ["t"])
    mail = render(compiled["t"], "en", {"a": 1, "b": 2, "c": 4, "d": 3, "u": "x&y"})
    assert "yes" in mail.html
    assert 'href="x&amp;y"' in mail.html


def test_a_text_file_beside_it_is_the_plain_text_part(tmp_path: Path) -> None:
    write(tmp_path, "t.en", mjml("html"))
    (tmp_path / "t.en.txt").write_text("Dear {{ person.name }} & co\n")
    mail = render(compile_templates(tmp_path, ["t"])["t"], "en", {"person": {"name": "Ada"}})
    assert mail.text == "Dear Ada & co\n"


def test_a_name_with_an_expression_stands_for_all_that_fit(tmp_path: Path) -> None:
    for name in ("nurture/solar/1.en", "nurture/storage/1.en", "nurture/solar/2.en", "other/1.en"):
        write(tmp_path, name, mjml("x"))
    assert sorted(compile_templates(tmp_path, ["nurture/{run.key}/1"])) == ["nurture/solar/1", "nurture/storage/1"]


def test_a_missing_template_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "cart/still-there.en", mjml("x"))
    with pytest.raises(TemplateProblem, match="did you mean 'cart/still-there'"):
        compile_templates(tmp_path, ["cart/stil-there"])


@pytest.mark.parametrize(("body", "line", "message"), [
    (mjml("\n\n{{ person.name | nope }}"), 6, "unknown filter"),
    (mjml("\n{% include 'x' %}"), 5, "include"),
    (mjml("\n<b>open"), 5, "</mj-text> stands where </b> was expected"),
    ("<mjml>\n<mj-bodi></mj-bodi></mjml>", 5, "did you mean <mj-body>"),
    ("<mjml><mj-body>", 4, "<mj-body> is not closed"),
    ("</mjml>", 4, "closes nothing"),
    ("<p>no mail</p>", 4, "outermost tag"),
    ("", 0, "no <mjml>"),
    (mjml("<script>x</script>"), 4, "no place in a mail"),
    (mjml("<mj-include path='/etc/passwd' />"), 4, "mj-include"),
    (mjml("<b>" * 200 + "</b>" * 200), 4, "deeper than 100"),
    (mjml("x" * 300_000), 0, "larger than 256 KiB"),
])
def test_what_is_wrong_is_said_with_file_and_line(tmp_path: Path, body: str, line: int, message: str) -> None:
    write(tmp_path, "t.en", body)
    with pytest.raises(TemplateProblem) as caught:
        compile_templates(tmp_path, ["t"])
    assert message in caught.value.message
    assert (caught.value.file, caught.value.line) == ("t.en.mjml", line)


@pytest.mark.parametrize(("text", "message"), [
    ("<mjml></mjml>", "must begin with a line ---"), ("---\nsubjekt: x\n---\n<mjml></mjml>", "needs a subject"),
    ("---\nsubject: x\nfrom: y\n---\n<mjml></mjml>", "'from' is not known"), ("---\nsubject: [\n---\n", "front matter"),
])
def test_the_front_matter_holds_the_subject_and_nothing_else(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.en.mjml").write_text(text)
    with pytest.raises(TemplateProblem, match=message):
        compile_templates(tmp_path, ["t"])


def test_a_file_without_a_language_is_refused(tmp_path: Path) -> None:
    (tmp_path / "welcome.mjml").write_text("x")
    with pytest.raises(TemplateProblem, match=r"welcome\.mjml: the name must end in"):
        compile_templates(tmp_path, ["welcome"])


def test_deep_nesting_that_kills_the_compiler_never_reaches_it() -> None:
    with pytest.raises(TemplateProblem, match="deeper than 100"):
        check_mjml("<mjml>" + "<mj-section>" * 10_000 + "</mj-section>" * 10_000 + "</mjml>")


def test_what_is_undefined_is_empty_and_what_is_filled_in_is_escaped() -> None:
    assert filled("<p>{{ a.b.c }}|{{ name }}</p>", name="<i>&").html == "<p>|&lt;i&gt;&amp;</p>"
    assert filled("{{ total }} {{ half }}", total=55.0, half=0.5).html == "55 0.5"


def test_a_subject_is_one_line_and_not_escaped() -> None:
    mail = filled("x", subject="Hi {{ name }}", name="A & B\r\nBcc: c@example.com")
    assert mail.subject == "Hi A & B Bcc: c@example.com"


@pytest.mark.parametrize("html", [
    "{% for a in (1..1000) %}{% for b in (1..1000) %}{% endfor %}{% endfor %}",
    "{% for a in (1..99000) %}{{ 'xxxxxxxxxxxxxxxxxxxx' }}{% endfor %}",
    "{% assign x = 'xxxxxxxxxx' %}{% for a in (1..40) %}{% assign x = x | append: x %}{% endfor %}",
    "{{ 1 | divided_by: 0 }}",
])
def test_a_template_that_runs_away_or_fails_is_stopped(html: str) -> None:
    with pytest.raises(RenderFailed, match="template t: "):
        filled(html)


def test_the_derived_text_keeps_words_paragraphs_lists_and_links() -> None:
    html = ("<html><head><title>t</title><style>p{}</style></head><body><div style='display:none'>preview</div>"
            "<h1>Dear&nbsp;Ada</h1><p>one<br>two &amp; three</p><ul><li>a</li><li>b</li></ul>"
            "<a href='https://example.com/x?a=1&amp;b=2'>here</a> <a href='https://example.com'>https://example.com</a>"
            "<img alt='logo' src='x'></body></html>")
    assert filled(html).text == (
        "Dear Ada\n\none\ntwo & three\n\n- a\n- b\n\nhere (https://example.com/x?a=1&b=2) https://example.comlogo\n")


@pytest.mark.parametrize(("lang", "expected"), [("en-GB", "en"), ("de_CH", "it"), (None, "it"), ("IT", "it")])
def test_the_language_is_the_persons_else_the_workspaces_else_any(lang: str | None, expected: str) -> None:
    languages = {"en": Version("s", "h", None, ""), "it": Version("s", "h", None, "")}
    assert render(Template("t", languages), lang, {}).lang == expected
    assert render(Template("t", {"de": languages["en"]}), lang, {}).lang == "de"
