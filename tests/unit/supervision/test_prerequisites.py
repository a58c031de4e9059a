"""Unit tests of what has to be there before a start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from basic_inference_server.supervision.prerequisites import (
    OUR_FILES,
    require_folders,
    require_system,
)
from basic_inference_server.supervision.sockets import StartError
from tests.support.processes import open_descriptors


def test_system_that_runs_the_tests_is_enough() -> None:
    """Nothing is asked for that a gateway does not use, and nothing stays open of it."""
    before = open_descriptors(os.getpid())
    require_system()
    assert before == open_descriptors(os.getpid())


@pytest.mark.parametrize("name", ["memfd_create", "pidfd_open"])
def test_python_without_a_call_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was built for older systems does not have it, nor has one of another system."""
    monkeypatch.delattr(os, name)
    with pytest.raises(StartError, match=rf"Linux 5\.3 or newer is needed: .*{name}"):
        require_system()


def test_files_may_be_missing_or_files(tmp_path: Path) -> None:
    """A first start finds nothing, a later one finds files."""
    require_folders(tmp_path, tmp_path / "_cache")
    assert [] == list(tmp_path.iterdir())
    (tmp_path / "_cache" / "run").mkdir(parents=True)
    for name in OUR_FILES:
        (tmp_path / "_cache" / name).touch()
    require_folders(tmp_path, tmp_path / "_cache")


@pytest.mark.parametrize("name", OUR_FILES)
def test_folder_in_the_place_of_a_file_is_named(tmp_path: Path, name: str) -> None:
    """Whichever it is."""
    (tmp_path / name).mkdir(parents=True)
    with pytest.raises(StartError, match=f"{tmp_path / name} is a folder, where a file belongs"):
        require_folders(tmp_path, tmp_path)


@pytest.mark.parametrize("place", [0, 1])
def test_folder_that_cannot_be_written_down_is_named(tmp_path: Path, place: int) -> None:
    """The base folder and the application folder, which may be elsewhere."""
    folders = [tmp_path, tmp_path]
    folders[place] = tmp_path / "caf\udce9"
    with pytest.raises(StartError, match=r"caf\\udce9' is not UTF-8"):
        require_folders(*folders)
