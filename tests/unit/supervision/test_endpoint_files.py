"""Unit tests of noticing that somebody has changed a file of the endpoints folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from basic_inference_server.supervision.endpoint_files import EndpointFiles
from tests.support.manual_clock import ManualClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    clock = ManualClock()
    monkeypatch.setattr("basic_inference_server.supervision.endpoint_files.monotonic_s", clock)
    return clock


def write(path: Path, changed_at_s: int = 1000) -> None:
    path.write_text("x")
    os.utime(path, (changed_at_s, changed_at_s))


@pytest.mark.parametrize("asked", ["support_process", "SupportProcess", "SUPPORT_PROCESS"])
def test_program_is_found_by_any_spelling(tmp_path: Path, asked: str) -> None:
    """Support processes are found like endpoints."""
    write(tmp_path / "support_process.py")
    assert tmp_path / "support_process.py" == EndpointFiles(tmp_path).path_of(asked)


def test_program_that_is_not_there_keeps_its_name(tmp_path: Path) -> None:
    """The path that was looked for is the one that the error names."""
    assert tmp_path / "nothing.py" == EndpointFiles(tmp_path).path_of("nothing")


def test_exact_name_wins(tmp_path: Path) -> None:
    """Two spellings may live side by side."""
    write(tmp_path / "demo.py")
    write(tmp_path / "DEMO.py")
    assert tmp_path / "demo.py" == EndpointFiles(tmp_path).path_of("demo")


def test_unchanged_folder_is_not_a_change(tmp_path: Path, clock: ManualClock) -> None:
    """An endpoint that has failed stays so while nobody does anything."""
    write(tmp_path / "demo.py")
    files = EndpointFiles(tmp_path)
    files.remember("demo")
    for _ in range(3):
        clock.advance(1)
        assert not files.changed("demo")


@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_change_of_a_file_is_noticed(tmp_path: Path, clock: ManualClock, change: str) -> None:
    """An edited, a new and a removed file each give the endpoint another try."""
    write(tmp_path / "demo.py")
    write(tmp_path / "other.py", 2000)
    files = EndpointFiles(tmp_path)
    files.remember("demo")
    clock.advance(1)
    if change == "edited":
        write(tmp_path / "demo.py", 1001)
    elif change == "added":
        write(tmp_path / "third.py")
    else:
        (tmp_path / "other.py").unlink()
    assert files.changed("demo")


def test_files_of_other_kinds_do_not_count(tmp_path: Path, clock: ManualClock) -> None:
    """A cache or a model beside the code is no change of the code."""
    files = EndpointFiles(tmp_path)
    files.remember("demo")
    (tmp_path / "model.bin").write_text("x")
    (tmp_path / "__pycache__").mkdir()
    clock.advance(1)
    assert not files.changed("demo")


def test_folder_is_looked_at_once_a_second(tmp_path: Path, clock: ManualClock) -> None:
    """A folder of thousands of files costs little; each endpoint has its own turn."""
    files = EndpointFiles(tmp_path)
    files.remember("one")
    files.remember("two")
    clock.advance(1)
    assert not files.changed("one")
    write(tmp_path / "demo.py")
    clock.advance(0.9)
    assert not files.changed("one")
    assert files.changed("two")
    clock.advance(0.1)
    assert files.changed("one")


def test_folder_that_is_gone_is_no_error(tmp_path: Path, clock: ManualClock) -> None:
    """A folder that is being replaced is looked at again later."""
    files = EndpointFiles(tmp_path / "nowhere")
    files.remember("demo")
    clock.advance(1)
    assert not files.changed("demo")
