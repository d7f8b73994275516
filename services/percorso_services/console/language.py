"""Which language a visitor reads."""

from typing import Literal

Language = Literal["it", "en"]
LANGUAGES: tuple[Language, ...] = ("it", "en")


def other_than(language: Language) -> Language:
    return "en" if language == "it" else "it"


def language_of(asked: str | None, kept: str | None, accepted: str) -> tuple[Language, bool]:
    """The language, and whether it was chosen just now: asked for in the address, else kept in the cookie, else the
    first of ours in Accept-Language, else English."""
    for language in LANGUAGES:
        if asked == language:
            return language, True
    for language in LANGUAGES:
        if kept == language:
            return language, False
    for tag in _by_preference(accepted):
        for language in LANGUAGES:
            if tag == language or tag.startswith(f"{language}-"):
                return language, False
    return "en", False


def _by_preference(accepted: str) -> list[str]:
    weighed: list[tuple[float, str]] = []
    for part in accepted.lower().split(",")[:20]:
        tag, _, weight = part.partition(";q=")
        try:
            weighed.append((-float(weight) if weight else -1.0, tag.strip()))
        except ValueError:
            continue
    return [tag for weight, tag in sorted(weighed, key=lambda pair: pair[0]) if weight < 0]
