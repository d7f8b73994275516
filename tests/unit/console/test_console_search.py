from percorso_services.console.reads.people import candidates
from percorso_services.console.reads.touchpoints import about


def test_a_search_may_mean_several_things_and_says_which_first() -> None:
    assert candidates("email:Ada@example.com") == [
        ("email", "Ada@example.com"), ("email", "email:Ada@example.com"), ("user_id", "email:Ada@example.com")]
    assert candidates("ada@example.com")[0] == ("email", "ada@example.com")
    assert candidates("+39 02 1234567")[0] == ("phone", "+39 02 1234567")
    assert candidates("a" * 32)[0] == ("", "a" * 32)
    assert candidates("7d1f2a3c-0000-4000-8000-000000000001")[0][0] == "anonymous_id"
    assert candidates("u1") == [("user_id", "u1")]
    assert candidates("  ") == []


def test_a_touchpoint_is_described_by_its_path_or_its_first_short_properties() -> None:
    assert about({"type": "page", "properties": {"path": "/oil", "title": "Oil"}}) == "/oil"
    assert about({"type": "track", "properties": {"a": 1, "b": {"c": 2}, "d": True, "e": "x"}}) == (
        "a: 1 · d: true · e: x")
    assert about({"type": "identify", "properties": {}, "traits": {"name": "Ada"}}) == "name: Ada"
    assert about({"type": "track", "properties": {"text": "x" * 500}}).endswith("…")
    assert about({"type": "track"}) == ""
