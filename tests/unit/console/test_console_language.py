from percorso_services.console.language import language_of
from percorso_services.console.texts import TEXTS


def test_every_text_exists_in_both_languages() -> None:
    assert TEXTS["it"].keys() == TEXTS["en"].keys()
    assert all(text.strip() for texts in TEXTS.values() for text in texts.values())


def test_every_kind_of_decision_and_every_gate_has_a_sentence() -> None:
    from typing import get_args

    from percorso_orchestrator.model import DecisionKind, EndedReason, Gate
    for texts in TEXTS.values():
        assert {f"decision_{kind}" for kind in get_args(DecisionKind)} <= texts.keys()
        assert {f"gate_{gate}" for gate in get_args(Gate)} <= texts.keys()
        assert {f"ended_{reason}" for reason in get_args(EndedReason)} <= texts.keys()


def test_a_choice_beats_the_cookie_which_beats_the_browser() -> None:
    assert language_of("it", "en", "en") == ("it", True)
    assert language_of(None, "it", "en") == ("it", False)
    assert language_of(None, None, "fr, it;q=0.5, en;q=0.4") == ("it", False)
    assert language_of("fr", "fr", "fr;q=nonsense, *") == ("en", False)
    assert language_of(None, None, "it;q=0, en") == ("en", False)
