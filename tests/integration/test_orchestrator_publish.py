"""From a folder of files to versions in force."""

from pathlib import Path

import msgspec
import pytest

from percorso_orchestrator.first_journeys import fill_folder, publish_first
from percorso_orchestrator.publish import NotPublished, list_journeys, prepare, publish, publish_folder, set_paused

JOURNEY = """journey: hello
policy: free
entry: {event: begin, key: event.k}
steps: [{id: m, send: email, template: "greetings/hello"}]
"""
TEMPLATE = """---
subject: Hello
---
<mjml><mj-body><mj-section><mj-column><mj-text>Hello {{ name }}</mj-text></mj-column></mj-section></mj-body></mjml>
"""
NOW = 1_772_452_800_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "templates" / "greetings").mkdir(parents=True)
    (tmp_path / "templates" / "greetings" / "hello.en.mjml").write_text(TEMPLATE)
    (tmp_path / "_policies.yaml").write_text("policies: {free: {}, spare: {}}\n")
    (tmp_path / "hello.yaml").write_text(JOURNEY)
    return tmp_path


async def revision(pool) -> int:
    return await pool.fetchval("SELECT revision FROM orchestrator.revision WHERE workspace_id = 1")


async def test_a_folder_is_published_with_its_templates_compiled(pool, folder):
    [item] = await publish_folder(pool, 1, folder, NOW)
    assert (item.name, item.version, item.is_new) == ("hello", 1, True)
    kept = msgspec.json.decode(await pool.fetchval("SELECT templates::text FROM orchestrator.journey"))
    assert "Hello" in kept["greetings/hello"]["languages"]["en"]["html"]


async def test_an_unchanged_file_makes_no_new_version_a_changed_template_does(pool, folder):
    await publish_folder(pool, 1, folder, NOW)
    before = await revision(pool)
    assert [item.is_new for item in await publish_folder(pool, 1, folder, NOW + 1)] == [False]
    assert await revision(pool) == before
    file = folder / "templates" / "greetings" / "hello.en.mjml"
    file.write_text(TEMPLATE.replace("Hello {{", "Good morning {{"))
    [item] = await publish_folder(pool, 1, folder, NOW + 2)
    assert (item.version, item.is_new) == (2, True)
    states = await pool.fetch("SELECT version, state FROM orchestrator.journey ORDER BY version")
    assert [tuple(row) for row in states] == [(1, "replaced"), (2, "active")]


@pytest.mark.parametrize(("change", "message"), [
    (("template: \"greetings/hello\"", "template: greetings/helo"), "there is no template 'greetings/helo'"),
    (("policy: free", "policy: fre"), "hello.yaml, line 2, column 9: there is no policy 'fre'"),
    (("key: event.k", "kee: event.k"), "hello.yaml, line 3, column 23: 'kee' is not known in entry"),
    (("entry: {event: begin, key: event.k}", "entry: {audience: x}"), "entry: audience is not supported yet"),
])
async def test_a_wrong_journey_publishes_nothing_of_the_folder(pool, folder, change, message):
    (folder / "also.yaml").write_text(JOURNEY.replace("hello\n", "also\n", 1))
    (folder / "hello.yaml").write_text(JOURNEY.replace(*change))
    with pytest.raises(NotPublished) as caught:
        await publish_folder(pool, 1, folder, NOW)
    assert message in str(caught.value)
    assert await pool.fetchval("SELECT count(*) FROM orchestrator.journey") == 0


async def test_a_policy_that_a_published_journey_names_cannot_be_taken_away(pool, folder):
    await publish_folder(pool, 1, folder, NOW)
    (folder / "_policies.yaml").write_text("policies: {free: {}}\n")
    await publish_folder(pool, 1, folder, NOW)
    (folder / "_policies.yaml").write_text("policies: {other: {}}\n")
    (folder / "hello.yaml").rename(folder / "hello.txt")
    with pytest.raises(NotPublished, match="free is used by version 1 of hello"):
        await publish_folder(pool, 1, folder, NOW)


async def test_a_new_version_of_a_paused_journey_stays_paused(pool, folder):
    policies, ready = prepare(folder)
    async with pool.acquire() as connection:
        await publish(connection, 1, policies, ready, NOW)
        assert await set_paused(connection, 1, "hello", True, NOW)
        assert not await set_paused(connection, 1, "goodbye", True, NOW)
        (folder / "hello.yaml").write_text(JOURNEY + "lateness: 1s\n")
        await publish(connection, 1, *prepare(folder), NOW)
        [item] = await list_journeys(connection, 1)
    assert (item.version, item.state, item.active) == (2, "paused", 0)


async def test_the_first_start_fills_the_folder_and_publishes_and_a_later_one_does_nothing(pool, tmp_path):
    folder = tmp_path / "journeys"
    await publish_first(pool, 1, folder, NOW)
    names = [row["name"] for row in await pool.fetch("SELECT name FROM orchestrator.journey")]
    assert names == ["demo-registration"]
    assert (folder / "_policies.yaml").is_file()
    (folder / "hello.yaml").write_text("not a journey")
    await publish_first(pool, 1, folder, NOW)
    assert await pool.fetchval("SELECT count(*) FROM orchestrator.journey") == 1


def test_a_folder_that_somebody_filled_is_left_alone(folder):
    assert fill_folder(folder) is False
    assert not (folder / "demo-registration.yaml").exists()
