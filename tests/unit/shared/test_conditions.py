"""Conditions: null-safe, typed, without loops, and numbers as JSON has them."""

import pytest

from percorso_shared.conditions import (
    Call,
    ConditionError,
    Evaluation,
    compile_condition,
    compile_text,
    compile_value,
)

EVENT = {"total": 50, "items": 2, "name": "cart updated", "share": 50.5, "list": [1, 2], "nothing": None}


@pytest.mark.parametrize("text", [
    "event.total == 50", "event.total >= 50", "event.total == 50.0", "event.share > 50", "event.items > 0",
    "event.total / 100 == 0.5", "event.total + 1 > 50", "event.total in [50, 60]", "event.list[0] == 1",
    "size(event.list) + 1 == 3", "int(event.share) == 50", "size(event.list) > 1", "-event.total < -49",
    "timestamp('2026-03-02T03:00:00Z').getHours() == 3", "'3 of 100' != 'x' && event.total / 3 > 1.5",
    "event['total'] == 50", "event.name.startsWith('cart')", "event.name.matches('^cart.*')",
])
def test_numbers_are_doubles_and_texts_have_their_functions(text: str) -> None:
    assert compile_condition(text).evaluate(event=EVENT) == Evaluation(True)


@pytest.mark.parametrize("text", [
    "event.missing == null", "event.a.b.c == null", "run.entry.x == null && person.tier == null", "account.name != 'x'",
    "event.nothing == null", "!has(event.nothing)", "!has(event.missing)", "has(event.total)",
    "event.a == null || event.a.b == 3", "event.missing != 'x'",
])
def test_what_is_missing_is_null_at_every_level(text: str) -> None:
    assert compile_condition(text).evaluate(event=EVENT) == Evaluation(True)


def test_has_guards_what_comes_after_it() -> None:
    guarded = compile_condition("has(event.missing) && event.missing > 3")
    assert guarded.evaluate(event=EVENT) == Evaluation(False)
    assert guarded.evaluate(event={"missing": 4}) == Evaluation(True)


@pytest.mark.parametrize("text", ["event.missing > 3", "event.name > 3", "event.name.x == 1",
                                  "event.list[7] == 1", "event.name"])
def test_an_evaluation_error_makes_a_condition_false_and_says_why(text: str) -> None:
    found = compile_condition(text).evaluate(event=EVENT)
    assert found.value is False
    assert found.error
    assert not found.unreadable


@pytest.mark.parametrize(("text", "message", "line", "column"), [
    ("evnt.x > 1", "did you mean 'event'?", 1, 1),
    ("event.total > 3\n && persn.x", "did you mean 'person'?", 2, 5),
    ("event.total >", "ends too early", 1, 14),
    ("event.total ++ 1", "unexpected '+'", 1, 14),
    ("cont('x') > 1", "unknown function 'cont'; did you mean 'count'?", 1, 1),
    ("count() > 1", "it is count(event, since?)", 1, 1),
    ("count(event.x) > 1", "texts in quotes", 1, 12),
    ("count('x', '7 days') > 1", "since is a duration", 1, 12),
    ("'a' + 3 == 'a3'", "'+' cannot be applied to (string, int)", 1, 5),
    ("3 + 4", "true or false", 1, 1),
    ("   ", "empty", 1, 1),
    ("(" * 500 + "true" + ")" * 500, "nested too deeply", 1, 1),
    ("true" + " && true" * 1000, "longer than 4000", 1, 1),
])
def test_an_error_names_line_column_and_what_was_meant(text: str, message: str, line: int, column: int) -> None:
    with pytest.raises(ConditionError) as caught:
        compile_condition(text)
    assert message in caught.value.message
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize("loop", ["event.list.all(x, x > 0)", "event.list.exists(x, x > 0)",
                                  "event.list.exists_one(x, x > 0)", "event.list.map(x, x) == []",
                                  "event.list.filter(x, x > 0) == []"])
def test_loops_are_refused(loop: str) -> None:
    with pytest.raises(ConditionError, match="loops"):
        compile_condition(loop)


def test_only_the_names_that_are_given_may_be_read() -> None:
    names = {"event": None, "run": ("key", "entry", "cart")}
    compile_condition("run.cart.items > 0 && event.anything == 1", names=names)
    with pytest.raises(ConditionError, match=r"run\.crat.*did you mean 'cart'"):
        compile_condition("run.crat.items > 0", names=names)
    with pytest.raises(ConditionError, match="person"):
        compile_condition("person.tier == 'loyal'", names=names)


def test_what_it_reads_and_asks_is_known_beforehand() -> None:
    condition = compile_condition(
        "run.cart.items > 0 && (count('email_clicked', '7d') >= 2 || count('email_clicked', '7d') > 9) || sent('n')")
    assert condition.reads == {"run.cart.items"}
    assert condition.calls == (Call("count", "email_clicked", None, "7d"), Call("sent", "n"))


def test_the_answers_of_the_state_are_looked_up() -> None:
    condition = compile_condition("count('email_clicked', '7d') >= 2")
    (call,) = condition.calls
    assert condition.evaluate(functions={call: 2}).value is True
    assert condition.evaluate(functions={call: 1}).value is False


def test_a_state_that_cannot_be_read_is_not_false() -> None:
    condition = compile_condition("count('x') >= 2 || event.total == 50")
    assert condition.evaluate(event={"total": 1}).unreadable
    assert condition.evaluate(event={"total": 50}) == Evaluation(True)


def test_the_difference_of_two_lists_keeps_the_order_and_takes_null_as_empty() -> None:
    missing = compile_value("difference(run.entry.required, values('registration_field_filled', 'field'))")
    (call,) = missing.calls
    run = {"entry": {"required": ["name", "mail", "birthday"]}}
    assert missing.evaluate(run=run, functions={call: ["mail", "name"]}).value == ["birthday"]
    assert missing.evaluate(functions={call: []}).value == []


def test_values_come_out_as_json() -> None:
    assert compile_value("event.total").evaluate(event=EVENT).value == 50
    assert compile_value("event.share").evaluate(event=EVENT).value == 50.5
    assert compile_value("{'n': event.list, 'at': timestamp('2026-03-02T00:00:00Z'), 'for': duration('90s')}").evaluate(
        event=EVENT).value == {"n": [1, 2], "at": "2026-03-02T00:00:00+00:00", "for": "90s"}
    failed = compile_value("event.total + event.name").evaluate(event=EVENT)
    assert failed.value is None
    assert failed.error


def test_a_text_has_expressions_in_braces() -> None:
    text = compile_text("Open cart {run.cart.cart_id}, {event.list} {{so}} {'}' + event.name}{event.missing}")
    assert text.evaluate(event=EVENT, run={"cart": {"cart_id": 7}}).value == "Open cart 7, 1, 2 {so} }cart updated"
    assert text.reads == {"run.cart.cart_id", "event.list", "event.name", "event.missing"}


@pytest.mark.parametrize(("text", "line", "column"), [("Open {run.", 1, 6), ("a\nb {1 +} c", 2, 7), ("a } b", 1, 3)])
def test_an_error_in_a_text_is_placed_in_the_whole_text(text: str, line: int, column: int) -> None:
    with pytest.raises(ConditionError) as caught:
        compile_text(text)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_the_same_text_compiles_once() -> None:
    assert compile_condition("event.a == 1").program is compile_condition("event.a == 1").program
