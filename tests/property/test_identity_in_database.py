"""What was learnt piece by piece, in any order, is what a single look at all evidence would say."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from identity_world import NOW, expected, from_scratch, handle, named, set_policy, stored, touch
from percorso_identity.facts import add_fact, revoke_fact
from percorso_identity.policy import Policy, TypeRule
from percorso_identity.postgres import lock
from percorso_identity.settle import recut
from percorso_services.identity_worker.worker import IdentityWorker

NAMES = [f"{type_}:{letter}" for type_ in ("user_id", "email", "anonymous_id") for letter in "vwxyz"]
POLICY = Policy(types={"email": TypeRule(2, 2), "anonymous_id": TypeRule(9, 3, weak=True)}, size=7, hub=2)


@st.composite
def touches(draw):
    """Many touchpoints of few sets of identifiers: the same set comes again earlier, later, and from another trust."""
    sets = draw(st.lists(
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True), min_size=2, max_size=9))
    return draw(st.lists(st.tuples(
        st.integers(0, 9), st.sampled_from(("server", "server", "browser")), st.sampled_from(sets),
        st.booleans()), min_size=4, max_size=24))


acts = st.lists(st.tuples(
    st.sampled_from(("veto", "pin", "block")), st.lists(st.sampled_from(NAMES), min_size=2, max_size=2, unique=True)),
    max_size=4)

_spaces = iter(range(1_000, 1_000_000, 2))


async def play(connection, workspace, worker, said, chance):
    """Touchpoints and facts in random order, batches and repetition; some facts are taken back again."""
    await set_policy(connection, POLICY, workspace)
    said = [*said, *chance.sample(said, chance.randint(0, len(said)))]
    chance.shuffle(said)
    taken = {}
    while said:
        size = chance.choice((1, 1, 2, 4, 16))
        now, said = said[:size], said[size:]
        batch = [touch(message, *names, at=NOW + at, trust=trust, workspace=workspace, logged_out=out)
                 for message, (at, trust, names, out) in (one[1:] for one in now if one[0] == "touch")]
        if batch:
            await handle(connection, worker, *batch)
        for message, (op, names) in (one[1:] for one in now if one[0] == "fact"):
            fact = message.rjust(16, "0").encode()
            async with connection.transaction():
                if fact in taken:
                    await revoke_fact(connection, workspace, fact, author="test", now_ms=NOW)
                else:
                    taken[fact] = True
                    await add_fact(connection, workspace, fact, op, *named(*(names[:1] if op == "block" else names)),
                                   author="test", reason="law", now_ms=NOW)


async def slices_cut_again(connection, workspace):
    """What would change if the slices of every weak identifier were cut anew."""
    weak = await connection.fetch(
        "SELECT atom_id FROM identity.atom WHERE workspace_id = $1 AND type = 'anonymous_id'", workspace)
    async with connection.transaction():
        await lock(connection, workspace)
        return (await recut(connection, workspace, POLICY, [row["atom_id"] for row in weak])).recuts


@given(touches(), acts, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_what_is_stored_is_what_all_evidence_says_at_once(pool, said_touches, said_facts, chance):
    workspace = next(_spaces)
    said = [("touch", f"m{number}", one) for number, one in enumerate(said_touches)]
    said += [("fact", f"f{number}", one) for number, one in enumerate(said_facts)]
    async with pool.acquire() as connection:
        await play(connection, workspace, IdentityWorker(), said, chance)
        scratch = expected(await from_scratch(connection, POLICY, workspace))
        found = await stored(connection, workspace)
        recuts = await slices_cut_again(connection, workspace)
    assert found[0] == scratch[0]
    assert found[1] == scratch[1]
    assert found[2] == scratch[2]
    assert recuts == []
