"""One Percorso at a time works in a data folder, and what it writes there is whole and private."""

import os
import stat
import threading
import time
from pathlib import Path

import pytest

from percorso_shared.data_folder import (
    FolderInUse,
    children_lock,
    data_folder_lock,
    folder_is_in_use,
    read_json,
    write_private,
)


def test_a_second_holder_is_told_who_holds_it(tmp_path: Path) -> None:
    with data_folder_lock(tmp_path / "new"), pytest.raises(FolderInUse) as caught, data_folder_lock(tmp_path / "new"):
        pass
    assert f"(process {os.getpid()})" in str(caught.value)


def test_the_folder_is_free_again_at_the_end(tmp_path: Path) -> None:
    assert not folder_is_in_use(tmp_path)
    with data_folder_lock(tmp_path):
        assert folder_is_in_use(tmp_path)
    assert not folder_is_in_use(tmp_path)
    with data_folder_lock(tmp_path):
        pass


def test_a_new_data_folder_is_private_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir(mode=0o755)
    for folder in (tmp_path / "new", old):
        with data_folder_lock(folder):
            pass
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert stat.S_IMODE(old.stat().st_mode) == 0o755


def test_children_of_a_killed_copy_are_waited_for(tmp_path: Path) -> None:
    held = children_lock(tmp_path)
    ending = threading.Thread(target=lambda: (time.sleep(0.2), os.close(held)))
    ending.start()
    descriptor = children_lock(tmp_path, seconds=5)
    ending.join()
    os.close(descriptor)


def test_children_that_do_not_end_are_named(tmp_path: Path) -> None:
    held = children_lock(tmp_path)
    (tmp_path / "run.json").write_text('{"children": {"ports": 11, "workers": 12}}')
    with pytest.raises(FolderInUse, match="kill 11 12"):
        children_lock(tmp_path, seconds=0.1)
    os.close(held)


def test_a_private_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, '{"new": 1}')
    assert read_json(path) == {"new": 1}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["keys.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_file_cut_off_by_a_crash_reads_as_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    assert read_json(tmp_path / "run.json") == {}
