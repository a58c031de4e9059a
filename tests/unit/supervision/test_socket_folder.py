"""Unit tests of where the sockets are: names, the private folder, and what is brought back."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.supervision.socket_folder import (
    MAX_UNIX_PATH,
    SocketFolder,
    socket_name,
)
from basic_inference_server.supervision.sockets import StartError
from tests.support.processes import open_descriptors

LONGEST_NAME = 40
Open = Callable[[Path], SocketFolder]


@pytest.fixture
def open_folder() -> Iterator[Open]:
    """Open folders as gateways do; all are given up at the end."""
    opened: list[SocketFolder] = []

    def open_one(app_folder: Path) -> SocketFolder:
        opened.append(SocketFolder(app_folder))
        return opened[-1]

    yield open_one
    for folder in opened:
        for name in list(folder._sockets):
            folder.remove(name)
        os.close(folder._lock_fd)


@settings(deadline=None, max_examples=60, database=None)
@given(st.integers(0, 511), st.text(max_size=128))
def test_socket_name_is_short_and_plain_for_any_signature(number: int, signature: str) -> None:
    """A name fits the limit of a Unix path and holds nothing that a shell or a path could mind."""
    name = socket_name(number, signature)
    assert len(name) <= LONGEST_NAME
    assert name == Path(name).name
    assert name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    assert name.startswith(f"{number:03d}-")


def test_socket_names_of_alike_signatures_differ() -> None:
    """What is cut off or replaced cannot make two endpoints share a socket."""
    signature = "a" * 127
    names = {socket_name(number, signature + end) for number, end in enumerate("bcd")}
    assert 3 == len(names)


def test_socket_name_is_readable() -> None:
    """A person who looks into the folder recognises the endpoint."""
    assert "003-dummy_model_demo1-bis.sock" == socket_name(3, "dummy_model_demo1-bis")


def is_connected(address: str) -> bool:
    """Say whether somebody listens there."""
    with closing(socket.socket(socket.AF_UNIX)) as client:
        return client.connect_ex(address) == 0


def test_folder_is_private_and_in_the_application_folder(tmp_path: Path, open_folder: Open) -> None:
    """Only the owner may connect, even when the folder was open before."""
    (tmp_path / "run").mkdir(mode=0o777)
    folder = open_folder(tmp_path)
    assert tmp_path / "run" == folder.path
    assert 0o700 == stat.S_IMODE(folder.path.stat().st_mode)
    folder.listen("a.sock", 5)
    assert 0o600 == stat.S_IMODE((folder.path / "a.sock").stat().st_mode)


def test_path_of_any_length_has_sockets(tmp_path: Path, open_folder: Open) -> None:
    """A Unix path ends at 107 bytes; a longer one is bound and reached in another way."""
    app_folder = tmp_path / ("é" * 100)
    folder = open_folder(app_folder)
    named = folder.listen("a.sock", 5)
    assert MAX_UNIX_PATH < len(os.fsencode(folder.path))
    assert MAX_UNIX_PATH >= len(named.path)
    assert stat.S_ISSOCK((folder.path / "a.sock").stat().st_mode)
    assert is_connected(named.path)


def test_path_that_is_just_long_enough_is_used_as_it_is(tmp_path: Path, open_folder: Open) -> None:
    """The limit is counted in bytes, and reached."""
    used = len(os.fsencode(tmp_path)) + len("//run/a.sock")
    folder = open_folder(tmp_path / ("x" * (MAX_UNIX_PATH - used)))
    named = folder.listen("a.sock", 5)
    assert str(folder.path / "a.sock") == named.path
    assert is_connected(named.path)


def test_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """Somebody who put a link there beforehand gets no sockets."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartError, match="belongs to somebody else"):
        SocketFolder(tmp_path)


def test_file_in_place_of_the_folder_is_a_start_error(tmp_path: Path) -> None:
    """The one line that the operator sees names the path."""
    (tmp_path / "run").write_text("")
    with pytest.raises(StartError, match=f"cannot make the folder {tmp_path}/run: File exists"):
        SocketFolder(tmp_path)


def test_what_a_killed_gateway_left_is_no_obstacle(tmp_path: Path, open_folder: Open) -> None:
    """Its sockets are removed, those of endpoints that are no more, too."""
    (tmp_path / "run").mkdir()
    for name in ("a.sock", "b.sock"):
        with closing(socket.socket(socket.AF_UNIX)) as stale:
            stale.bind(f"{tmp_path}/run/{name}")
    folder = open_folder(tmp_path)
    assert is_connected(folder.listen("a.sock", 5).path)
    assert {"a.sock", "gateway.lock"} == {path.name for path in folder.path.iterdir()}


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def replace_by_a_file(folder: Path) -> None:
    (folder / "a.sock").unlink()
    (folder / "a.sock").touch()


def put_another_in_its_place(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.mkdir()


@pytest.mark.parametrize(
    ("harm", "restored"),
    [
        pytest.param(shutil.rmtree, ["run", "gateway.lock", "a.sock"], id="removed"),
        pytest.param(empty, ["gateway.lock", "a.sock"], id="emptied"),
        pytest.param(replace_by_a_file, ["a.sock"], id="a file"),
        pytest.param(put_another_in_its_place, ["gateway.lock", "a.sock"], id="another"),
    ],
)
def test_folder_that_was_harmed_is_restored(
    tmp_path: Path, open_folder: Open, harm: Callable[[Path], None], restored: list[str]
) -> None:
    """The socket has never stopped listening; its name, the mode and the lock come back."""
    folder = open_folder(tmp_path)
    named = folder.listen("a.sock", 5)
    assert [] == folder.restore()
    assert not folder.has_changed()
    harm(folder.path)
    assert folder.has_changed()
    assert not is_connected(named.path)
    assert is_connected(named.link)
    assert restored == folder.restore()
    assert not folder.has_changed()
    assert is_connected(named.path)
    assert 0o700 == stat.S_IMODE(folder.path.stat().st_mode)
    with pytest.raises(StartError, match="another gateway"):
        SocketFolder(tmp_path)


def test_folder_that_another_gateway_has_taken_is_left_to_it(
    tmp_path: Path, open_folder: Open
) -> None:
    """Two gateways do not take each other's names away."""
    first = open_folder(tmp_path)
    name = first.listen("a.sock", 5).path
    shutil.rmtree(first.path)
    second = open_folder(tmp_path)
    listener = second.listen("a.sock", 5)
    with pytest.raises(StartError, match="another gateway"):
        first.restore()
    assert name == listener.path
    assert Path(name).stat().st_ino == os.fstat(listener.handle).st_ino


def test_socket_that_is_removed_leaves_nothing(tmp_path: Path, open_folder: Open) -> None:
    """An endpoint that has left the configuration costs no descriptor and no name."""
    folder = open_folder(tmp_path)
    before = open_descriptors(os.getpid())
    named = folder.listen("a.sock", 5)
    folder.remove("a.sock")
    assert before == open_descriptors(os.getpid())
    assert not is_connected(named.path)
    assert [] == folder.restore()


def test_clean_up_of_a_lost_folder_is_no_error(tmp_path: Path, open_folder: Open) -> None:
    """A stop ends in order even when somebody has put a file in the folder's place."""
    folder = open_folder(tmp_path / "app")
    folder.listen("a.sock", 5)
    shutil.rmtree(tmp_path / "app")
    (tmp_path / "app").write_text("somebody's")
    folder.clean_up()
    assert "somebody's" == (tmp_path / "app").read_text()
    (tmp_path / "app").unlink()
