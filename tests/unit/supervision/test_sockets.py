"""Unit tests of where the sockets are: names and the private folder."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.supervision.sockets import (
    LONGEST_SOCKET_NAME,
    MAX_UNIX_PATH,
    StartError,
    runtime_folder,
    socket_name,
)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for the sockets' names, wherever the tests run."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def long_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose path is too long for a Unix socket."""
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    yield folder
    shutil.rmtree(runtime_folder(folder))


@settings(deadline=None, max_examples=60, database=None)
@given(st.integers(0, 511), st.text(max_size=128))
def test_socket_name_is_short_and_plain_for_any_signature(number: int, signature: str) -> None:
    """A name fits the limit of a Unix path and holds nothing that a shell or a path could mind."""
    name = socket_name(number, signature)
    assert len(name) <= LONGEST_SOCKET_NAME
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


def test_folder_is_private_and_in_the_application_folder(short_folder: Path) -> None:
    """Only the owner may connect, even when the folder was open before."""
    (short_folder / "run").mkdir(mode=0o777)
    folder = runtime_folder(short_folder)
    assert short_folder / "run" == folder
    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)


def test_long_path_moves_the_folder(long_folder: Path) -> None:
    """A Unix path ends at 107 bytes, so the sockets move where their paths are short."""
    folder = runtime_folder(long_folder)
    assert Path("/tmp") == folder.parent
    assert f"bis-{os.geteuid()}-" == folder.name[:-16]
    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
    assert folder == runtime_folder(long_folder)


def test_folders_of_two_gateways_differ(long_folder: Path) -> None:
    """Two gateways with long paths do not share their sockets."""
    other = long_folder / "other"
    folder = runtime_folder(other)
    assert folder != runtime_folder(long_folder)
    shutil.rmtree(folder)


def test_long_path_is_measured_in_bytes() -> None:
    """Letters of two bytes count twice."""
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        used = len(f"{short}//run") + LONGEST_SOCKET_NAME
        folder = runtime_folder(Path(short) / ("é" * (MAX_UNIX_PATH - used)))
        shutil.rmtree(folder)
    assert len(os.fsencode(folder)) + LONGEST_SOCKET_NAME <= MAX_UNIX_PATH


def test_link_in_place_of_the_folder_is_refused(short_folder: Path) -> None:
    """Somebody who put a link there beforehand gets no sockets."""
    (short_folder / "elsewhere").mkdir()
    (short_folder / "run").symlink_to(short_folder / "elsewhere")
    with pytest.raises(StartError, match="belongs to somebody else"):
        runtime_folder(short_folder)


def test_file_in_place_of_the_folder_is_a_start_error(short_folder: Path) -> None:
    """The one line that the operator sees names the path."""
    (short_folder / "run").write_text("")
    with pytest.raises(
        StartError, match=f"cannot make the folder {short_folder / 'run'}: File exists"
    ):
        runtime_folder(short_folder)
