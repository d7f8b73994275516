"""`percorso check identity` on the cases of the conformance suite."""

from pathlib import Path

import pytest

from percorso_services.commands.check_identity.cases import read_cases
from percorso_services.commands.check_identity.run import check_on
from percorso_shared.cannot_run import CannotRun

CASES = Path(__file__).parents[1] / "data" / "identity-cases.yaml"

WRONG = """
- case: wrong in every respect
  events:
    - {id: e1, t: 1, ids: {user_id: a, email: a@x.com}, set: {plan: pro}, add: {tags: red}}
    - {id: e2, t: 2, ids: {user_id: b}}
  expect:
    profiles: [["user_id:a"], ["email:a@x.com", "user_id:b"]]
    n_profiles: 1
    events_of: {e2: "user_id:a"}
    traits: {"user_id:a": {plan: free}}
    sets: {"user_id:a": {tags: [blue]}}
    counts: {"user_id:a": 2}
    canonical: {"email:a@x.com": "email:a@x.com"}
    refused: [["user_id:a", "user_id:b", limit]]
"""


async def test_every_case_passes_in_shuffled_batches_with_duplicates(pool):
    said: list[str] = []
    cases = read_cases(CASES)
    assert len(cases) > 40
    assert (await check_on(pool, cases, "ci", said.append, shuffles=3), said) == ((len(cases), 0), [])


async def test_each_kind_of_difference_is_seen(pool, tmp_path):
    (tmp_path / "wrong.yaml").write_text(WRONG)
    said: list[str] = []
    assert await check_on(pool, read_cases(tmp_path / "wrong.yaml"), "ci", said.append, shuffles=1) == (0, 1)
    seen = {line.split()[0].rstrip(":") for line in said[1:]}
    assert seen == {"profiles", "n_profiles", "events_of", "traits", "sets", "counts", "canonical", "refused"}


@pytest.mark.parametrize("text", [
    "- {case: x, events: [], expect: {}, surprise: 1}",
    "- {case: x, events: [{id: e, t: 1, ids: {}, sett: {}}], expect: {}}",
    "- {case: x, events: [], expect: {profile: []}}",
    "- {case: x, events: [], policy: {hubs: 1}, expect: {}}",
    "- {case: x, events: [], policy: {types: {email: {rank: 1000, limit: 1}}}, expect: {}}",
    "- {case: x, events: [], facts: [{op: veto, id: a}], expect: {}}",
    "- {case: x, events: [], expect: {events_of: {e9: null}}}",
    "case: x", "- [", ""])
def test_what_a_checker_would_overlook_is_an_error(tmp_path, text):
    (tmp_path / "cases.yaml").write_text(text)
    with pytest.raises(CannotRun):
        read_cases(tmp_path / "cases.yaml")


def test_remarks_for_the_reader_are_no_unknown_keys(tmp_path):
    (tmp_path / "cases.yaml").write_text("- {case: x, why: because, events: [], expect: {note: so}, source: here}")
    assert len(read_cases(tmp_path / "cases.yaml")) == 1
