"""Which real components the tests used: each notes its version here, and the end of the run says how many tests passed
against it. CI fails when one of them is missing."""

import pytest

KINDS = {"kafka": "kafka broker", "browser": "browser", "smtp": "smtp server"}
"""Marker -> what it stands for."""
_versions: dict[str, str] = {}


def note(kind: str, version: str) -> None:
    """`kind` is a marker of KINDS. Called by the fixture that started the component."""
    _versions[kind] = version


def lines(passed: list[pytest.TestReport]) -> list[str]:
    """One line per component that at least one passed test used."""
    found = []
    for kind, name in KINDS.items():
        count = sum(1 for report in passed if report.when == "call" and kind in report.keywords)
        if count and kind in _versions:
            found.append(f"real component: {name}: {_versions[kind]} ({count} tests passed)")
    return found
