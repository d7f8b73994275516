"""`percorso journey` as a user runs it."""

from pathlib import Path

import pytest

from percorso_command import percorso

JOURNEYS = Path(__file__).parent.parent / "data" / "journeys"
SHIPPED = Path(__file__).parents[2] / "orchestrator" / "percorso_orchestrator" / "shipped"


@pytest.mark.parametrize(("file", "passed"), [
    ("a-confirm-registration.yaml", 6), ("b-finish-registration.yaml", 2), ("d-abandoned-cart.yaml", 11),
    ("f-nurture-topic.yaml", 3)])
async def test_the_tests_inside_a_journey_file_pass(file, passed):
    done = await percorso("journey", "test", JOURNEYS / file)
    assert (done.code, done.out.splitlines()[-1]) == (0, f"{passed} passed, 0 failed"), done.out


async def test_the_shipped_journeys_pass_their_tests():
    done = await percorso("journey", "test", SHIPPED)
    assert done.code == 0, done.out


async def test_what_cannot_be_run_yet_fails_and_says_where():
    done = await percorso("journey", "test", JOURNEYS / "c-membership-hesitation.yaml")
    assert (done.code, done.out.splitlines()[-1]) == (1, "0 passed, 4 failed")
    assert "entry: pattern is not supported yet (line 4, column 3)" in done.out


async def test_a_failed_test_shows_both_sides(tmp_path):
    (tmp_path / "j.yaml").write_text("""journey: j
entry: {event: begin}
steps: [{id: w, wait: {for: 1h}}, {id: m, send: email, template: t}]
tests:
  - name: wrong
    events: [{t: d0 10:00, type: begin}]
    expect: [d0 12:00 m]
""")
    done = await percorso("journey", "test", tmp_path)
    assert done.code == 1
    assert "+ d0 11:00 m   happened, not expected" in done.out
    assert "- d0 12:00 m   expected, did not happen" in done.out
    assert done.out.splitlines()[-1] == "0 passed, 1 failed"


async def test_an_unknown_key_is_wrong_usage(tmp_path):
    (tmp_path / "j.yaml").write_text("journey: j\nentry: {event: begin}\nsteps: []\ntests:\n  - {name: x, evnts: []}\n")
    done = await percorso("journey", "test", tmp_path / "j.yaml")
    assert done.code == 2
    assert "j.yaml, line 5, column 15: 'evnts' is not known in a test; did you mean 'events'?" in done.err
    assert done.out.splitlines()[-1] == "0 passed, 1 failed"


async def test_publish_list_pause_and_why_on_a_database(database_url, tmp_path):
    async def run(*arguments: str | Path):
        return await percorso("journey", *arguments, "--data", tmp_path, PERCORSO_DATABASE_URL=database_url)

    assert (await run("publish", SHIPPED)).out == "demo-registration: version 1 is in force\n"
    assert (await run("publish", SHIPPED)).out == "demo-registration: unchanged (version 1)\n"
    assert (await run("pause", "demo-registration")).out == "demo-registration is paused\n"
    assert "paused" in (await run("list")).out
    assert (await run("resume", "demo-registration")).code == 0
    missing = await run("pause", "nothing")
    assert (missing.code, missing.err) == (2, "percorso: there is no journey 'nothing'\n")
    nobody = await run("why", "email:nobody@example.com", "demo-registration")
    assert (nobody.code, nobody.err) == (1, "percorso: nobody is known as 'email:nobody@example.com'\n")
