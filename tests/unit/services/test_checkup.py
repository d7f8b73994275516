"""What `percorso doctor` calls wrong."""

import socket
from pathlib import Path

from percorso_services.checkup import bus, clock, disk, oldest_transaction, running_copy, smtp
from percorso_shared.data_folder import data_folder_lock
from percorso_shared.settings import Settings


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_clocks_may_differ_by_a_second() -> None:
    assert clock(0.9).advice == clock(-0.9).advice == ""
    assert "NTP" in clock(1.5).advice


def test_a_transaction_open_for_a_minute_is_named_with_how_to_end_it() -> None:
    assert oldest_transaction(2.0, "identity_worker", 4711).advice == ""
    assert "pg_terminate_backend(4711)" in oldest_transaction(61.0, "psql", 4711).advice


def test_a_folder_with_room_is_well(tmp_path: Path) -> None:
    assert "GiB free" in disk(Settings(data_dir=tmp_path)).found


def test_a_folder_that_cannot_be_made_is_said_with_the_reason() -> None:
    finding = disk(Settings(data_dir=Path("/proc/none")))
    assert "cannot make the data folder /proc/none" in finding.found
    assert "--data" in finding.advice


def test_a_copy_without_its_address_is_starting_or_stopping(tmp_path: Path) -> None:
    assert running_copy(Settings(data_dir=tmp_path)).found == "no `percorso up` on this data folder"
    with data_folder_lock(tmp_path):
        assert "starting or stopping" in running_copy(Settings(data_dir=tmp_path)).found


async def test_a_mail_server_that_is_not_there_is_named_without_the_password() -> None:
    port = free_port()
    finding = await smtp(Settings(smtp_url=f"smtp://user:hunter2@127.0.0.1:{port}"))
    assert finding.found.startswith(f"127.0.0.1:{port}: ")
    assert "PERCORSO_SMTP_URL" in finding.advice
    assert "hunter2" not in finding.found + finding.advice


async def test_a_broker_that_is_not_there_is_named_with_the_setting_to_correct() -> None:
    place = f"127.0.0.1:{free_port()}"
    finding = await bus(Settings(kafka_bootstrap=place))
    assert f"no connection to Kafka at {place}" in finding.found
    assert "PERCORSO_KAFKA_BOOTSTRAP" in finding.advice
