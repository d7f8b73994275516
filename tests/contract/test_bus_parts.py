"""The pure parts of the bus, by their laws."""

import asyncio

import asyncpg
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from percorso_shared import topics
from percorso_shared.bus.codec import MAX_BYTES, MAX_RECORDS, batches, header_of, pack, splice, unpack
from percorso_shared.bus.errors import describe, is_transient
from percorso_shared.bus.group_commit import MAX_WAITING_BYTES, GroupCommit, Values
from percorso_shared.bus.lane import unseen
from percorso_shared.bus.membership import share
from percorso_shared.bus.place import Place
from percorso_shared.bus.port import BusUnavailable, Record
from percorso_shared.bus.refusal import refuse


@given(st.lists(st.binary(max_size=300), max_size=50))
def test_a_body_holds_exactly_the_values_that_went_in(values: list[bytes]) -> None:
    assert unpack(pack(values)) == values


@given(st.lists(st.integers(0, MAX_BYTES + 5), max_size=3000))
def test_batches_cover_everything_in_order_and_keep_their_bounds(sizes: list[int]) -> None:
    cut = list(batches([b""] * len(sizes), sizes))
    assert [at for first, end, _ in cut for at in range(first, end)] == list(range(len(sizes)))
    for first, end, size in cut:
        assert end - first <= MAX_RECORDS
        assert size == sum(sizes[first:end])
        assert size <= MAX_BYTES or end - first == 1


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=3), st.integers(0, 99), st.integers(-1, 1 << 40),
       st.integers(0, 1 << 40))
def test_what_is_spliced_in_is_read_out_and_the_rest_is_unchanged(value: dict[str, int], partition: int, position: int,
                                                                 seq: int) -> None:
    value = {key: item for key, item in value.items() if key not in ("stage", "origin", "seq")}
    record = splice(msgspec.json.encode(value), "profile_worker/tick/0", (partition, position), seq)
    assert header_of(record) == ("profile_worker/tick/0", (partition, position), seq)
    assert msgspec.json.decode(record) == value | {"stage": "profile_worker/tick/0", "origin": [partition, position],
                                                   "seq": seq}


@pytest.mark.parametrize("value", [b"", b"{}", b'{"schema":1}', b'{"stage":1}', b"\xff", b'{"stage":"a","seq":1}'])
def test_a_record_that_no_unit_of_work_wrote_has_no_header(value: bytes) -> None:
    assert header_of(value) is None


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 20)), max_size=60), st.integers(1, 7))
def test_however_often_and_in_whatever_batches_records_come_each_is_seen_once(sent: list[tuple[str, int]],
                                                                              size: int) -> None:
    """As long as a producer's records come in order the first time: what is sent again comes again from some point."""
    place = Place("reader", topics.RESOLVED, 0, 1, 0)
    records = [Record(at, splice(b"{}", producer, (0, at), seq)) for at, (producer, seq) in enumerate(sent)]
    kept: list[tuple[str, int]] = []
    for at in range(0, len(records), size):
        fresh, place.seen = unseen(place, records[at:at + size])
        kept += [(header[0], header[2]) for record in fresh if (header := header_of(record.value))]
    for producer in ("a", "b"):
        seqs = [seq for name, seq in kept if name == producer]
        assert seqs == sorted(set(seqs))
        assert (seqs[-1:] or [0])[0] == max((seq for name, seq in sent if name == producer), default=0)


@given(st.lists(st.text(min_size=1, max_size=3), unique=True, min_size=1, max_size=6), st.integers(1, 30))
def test_the_living_share_all_partitions_evenly_and_none_twice(members: list[str], partitions: int) -> None:
    shares = [share(members, member, partitions) for member in members]
    assert sorted(partition for own in shares for partition in own) == list(range(partitions))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert share(members, "nobody", partitions) == set()


@pytest.mark.parametrize(("error", "passes"), [
    (asyncpg.DeadlockDetectedError(""), True), (asyncpg.DiskFullError(""), True),
    (asyncpg.LockNotAvailableError(""), True), (asyncpg.AdminShutdownError(""), True),
    (asyncpg.IdleInTransactionSessionTimeoutError(""), True), (asyncpg.ConnectionDoesNotExistError(""), True),
    (ConnectionRefusedError(), True), (TimeoutError(), True), (BusUnavailable(), True),
    (asyncpg.UniqueViolationError(""), False), (asyncpg.DataError(""), False), (ValueError(), False),
    (KeyError(), False), (asyncpg.UndefinedTableError(""), False)], ids=lambda value: type(value).__name__)
def test_which_errors_pass_by_themselves(error: BaseException, passes: bool) -> None:
    assert is_transient(error) == passes


def test_what_is_told_of_an_error_never_quotes_it() -> None:
    try:
        unpack(b"ada@example.com")
    except Exception as error:  # noqa: BLE001  # whatever it is
        told = describe(error)
    assert "ada" not in told
    assert "percorso_shared/bus/codec.py:" in told


def test_the_same_record_set_aside_twice_has_the_same_id() -> None:
    record = Record(7, b'{"schema":1,"workspace":3,"source":"shop","received_at":5}')
    one, two = (refuse("identity_worker", topics.ACCEPTED, 2, record, "poison", "", now) for now in (1, 2))
    assert topics.REFUSED_DECODER.decode(one.value).id == topics.REFUSED_DECODER.decode(two.value).id
    assert (one.workspace, one.source, one.origin) == (3, "shop", (2, 7))


def test_a_derived_record_is_set_aside_under_the_source_of_its_touchpoint() -> None:
    value = splice(b'{"schema":1,"workspace":1,"touchpoint":{"source":"shop","received_at":5}}', "identity_worker",
                   (1, 44), 9)
    refusal = refuse("profile_worker", topics.RESOLVED, 1, Record(3, value), "poison", "", 0)
    assert (refusal.source, refusal.origin) == ("shop", (1, 44))


async def test_callers_that_wait_at_once_share_one_write_and_get_their_own_positions() -> None:
    written: list[Values] = []

    async def write(values: Values) -> dict[tuple[str, int], int]:
        await asyncio.sleep(0)
        written.append(values)
        return dict.fromkeys(values, 100)

    group = GroupCommit(write, 0)
    answers = await asyncio.gather(*(group.publish("t", {0: [b"x"] * 3, 1: [b"y"]}) for _ in range(5)))
    assert [answer[0] for answer in answers] == [100, 103, 106, 109, 112]
    assert [answer[1] for answer in answers] == [100, 101, 102, 103, 104]
    assert len(written) == 1
    await group.close()


async def test_a_failed_write_fails_all_who_waited_for_it_and_nobody_else() -> None:
    attempts = 0

    async def write(values: Values) -> dict[tuple[str, int], int]:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise BusUnavailable("away")
        return dict.fromkeys(values, 0)

    group = GroupCommit(write, 0)
    answers = await asyncio.gather(*(group.publish("t", {0: [b"x"]}) for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [BusUnavailable] * 3
    assert await group.publish("t", {0: [b"x"]}) == {0: 0}
    await group.close()


async def test_too_much_waiting_is_refused_at_once() -> None:
    gate = asyncio.Event()

    async def write(values: Values) -> dict[tuple[str, int], int]:
        await gate.wait()
        return dict.fromkeys(values, 0)

    group = GroupCommit(write, 0)
    half = b"x" * (MAX_WAITING_BYTES // 2)
    waiting = [asyncio.create_task(group.publish("t", {0: [half]})) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(BusUnavailable):
        await group.publish("t", {0: [b"one more"]})
    gate.set()
    await asyncio.gather(*waiting)
    await group.close()
    with pytest.raises(BusUnavailable):
        await group.publish("t", {0: [b"too late"]})
