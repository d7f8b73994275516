"""What we did becomes a touchpoint of the same person, once in effect."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import msgspec
import pytest

from delivery_rows import Office
from percorso_services.delivery_worker.telling import tell
from percorso_shared.bus.port import BusUnavailable
from percorso_shared.ids import event_id
from percorso_shared.topics import ACCEPTED, ACCEPTED_DECODER, Accepted


class Ledger:
    """A bus of which only publishing is used: keeps what it is given, or is away."""

    own_partition = 3

    def __init__(self) -> None:
        self.records: list[Accepted] = []
        self.away = False

    async def publish(self, topic: str, values: Mapping[int, Sequence[bytes]]) -> dict[int, int]:
        if self.away:
            raise BusUnavailable
        assert topic == ACCEPTED
        for partition, records in values.items():
            assert partition == self.own_partition
            self.records += [ACCEPTED_DECODER.decode(record) for record in records]
        return {}


@pytest.fixture
async def office(pool: "asyncpg.Pool") -> Office:
    return await Office(pool).open()


def properties(record: Accepted) -> dict[str, Any]:
    return dict(msgspec.json.decode(record.properties))


async def test_a_sent_mail_is_told_with_journey_run_and_step(office: Office) -> None:
    send = await office.plan(await office.person("ada"))
    await office.emails().once()
    bus = Ledger()
    assert await tell(office.pool, bus, 1, office.clock) is False  # type: ignore[arg-type]  # only publish is used
    (record,) = bus.records
    assert (record.name, record.source, record.trust, record.identifiers) == (
        "email_sent", "percorso", "server", [("user_id", "ada")])
    assert record.event_id == event_id(1, "percorso", f"{send.hex()}-sent").hex()
    assert record.timestamp == office.clock.now_ms()
    row = await office.row(send)
    assert properties(record) == {"journey": "hello", "version": 1, "run": row["run_id"].hex(), "step": "greet",
                                  "send": send.hex(), "template": "welcome"}


async def test_it_is_told_once(office: Office) -> None:
    await office.plan(await office.person("ada"))
    await office.emails().once()
    bus = Ledger()
    await tell(office.pool, bus, 1, office.clock)  # type: ignore[arg-type]  # only publish is used
    await tell(office.pool, bus, 1, office.clock)  # type: ignore[arg-type]  # only publish is used
    assert len(bus.records) == 1


async def test_while_the_bus_is_away_nothing_is_lost_and_a_repetition_has_the_same_id(office: Office) -> None:
    await office.plan(await office.person("ada"))
    await office.emails().once()
    bus = Ledger()
    bus.away = True
    with pytest.raises(BusUnavailable):
        await tell(office.pool, bus, 1, office.clock)  # type: ignore[arg-type]  # only publish is used
    bus.away = False
    await tell(office.pool, bus, 1, office.clock)  # type: ignore[arg-type]  # only publish is used
    await office.pool.execute("UPDATE orchestrator.send SET told = false WHERE workspace_id = 1")
    await tell(office.pool, bus, 1, office.clock)  # type: ignore[arg-type]  # only publish is used
    assert len(bus.records) == 2
    assert len({record.event_id for record in bus.records}) == 1


async def test_a_failure_is_told_with_its_reason_a_skip_is_not_told(office: Office) -> None:
    await office.plan(await office.person("ada"), template="nowhere")
    await office.plan(await office.person("bob", consent=False), policy="marketing")
    await office.emails().once()
    bus = Ledger()
    await tell(office.pool, bus, 1, office.clock)  # type: ignore[arg-type]  # only publish is used
    (record,) = bus.records
    assert record.name == "email_failed"
    assert "no template" in properties(record)["reason"]
