"""The files of the history are shortened, locked, damaged or gone: requests and the stop go on."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.testing import RunningGateway, running_gateway
from tests.faults.calls import do
from tests.faults.conftest import SOURCES
from tests.functional.answers import check_error
from tests.support.eventually import eventually
from tests.support.projects import write_project

Launch = Callable[..., RunningGateway]
A_STOP_S = 15.0  # it takes one; with a wait for the lock for each line of history it took 107


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One gateway, whose history is spoilt again and again."""
    folder = write_project(tmp_path_factory.mktemp("events"), {"healthy": {}}, SOURCES)
    with running_gateway(folder) as running:
        yield running


def database_of(gateway: RunningGateway) -> Path:
    return gateway.base_folder / "_cache" / "events.sqlite"


def history(gateway: RunningGateway) -> dict[str, Any]:
    found: dict[str, Any] = gateway.get("/system_status").json()["SYSTEM_HISTORY"]
    return found


def change_state(gateway: RunningGateway) -> None:
    """Make something happen that is recorded."""
    assert 200 == gateway.post("/restart_server", {"SIGNATURE": "healthy"}).status_code


def empty(path: Path) -> None:
    os.truncate(path, 0)


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite(path: Path) -> None:
    path.write_bytes(b"this is no database " * 1000)


@pytest.mark.shares_gateway
@pytest.mark.parametrize("spoil", [empty, shorten, overwrite, Path.unlink])
def test_history_that_is_spoilt_under_way_begins_anew(
    gateway: RunningGateway, spoil: Callable[[Path], None]
) -> None:
    """The supervisor lives, says what it did, and records what happens from then on."""
    history(gateway)  # nothing is being written after that
    for path in database_of(gateway).parent.glob("events.sqlite*"):
        with suppress(FileNotFoundError):  # a journal comes and goes
            spoil(path)
    change_state(gateway)
    assert 200 == do(gateway, "healthy", "answer").status_code
    found = history(gateway)
    assert (1, None) == (len(found["runs"]), found["runs"][0]["stopped"])
    assert ["READY"] == [one["state"] for one in found["states"][-1:]]
    assert gateway.process.poll() is None


@pytest.mark.shares_gateway
def test_locked_history_is_said_to_those_who_ask(gateway: RunningGateway) -> None:
    """Status has no history but the cause; notifications are 503; requests do not notice."""
    with closing(sqlite3.connect(database_of(gateway))) as other:
        other.execute("BEGIN EXCLUSIVE")
        change_state(gateway)
        cause = f"database is locked by pid {os.getpid()}"
        assert {"runs": [], "states": [], "error": cause} == history(gateway)
        assert cause in check_error("not_ready", gateway.get("/notifications"))["ERROR"]
        assert 200 == do(gateway, "healthy", "answer").status_code
    eventually(lambda: "error" not in history(gateway), what="the history is read again")
    assert "READY" == history(gateway)["states"][-1]["state"]


def test_damaged_history_is_kept_aside_and_a_stop_does_not_wait_for_a_lock(tmp_path: Path) -> None:
    """A start says what it did with a file that is no database; a stop ends in time, with 0."""
    write_project(tmp_path, {"healthy": {}}, SOURCES)
    (tmp_path / "_cache").mkdir()
    (tmp_path / "_cache" / "events.sqlite").write_bytes(b"this is no database" * 100)
    with running_gateway(tmp_path) as gateway:
        assert 200 == gateway.run("healthy", DO="answer").status_code
        assert "READY" == history(gateway)["states"][-1]["state"]
        (aside,) = [event for event in gateway.events if event["event"] == "events_set_aside"]
        assert "file is not a database" == aside["error"]
        assert Path(aside["kept_as"]).read_bytes().startswith(b"this is no database")
        with closing(sqlite3.connect(database_of(gateway))) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert 0 == gateway.stop(A_STOP_S)
        assert "events_not_stored" in [event["event"] for event in gateway.events]
