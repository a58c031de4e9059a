"""Unit tests of what outlives a restart: runs, state changes, notifications."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.core.logs import Event, EventLog
from basic_inference_server.supervision.event_store import KEPT_PER_SIGNATURE, EventStore
from tests.support.manual_clock import ManualClock


class Stores:
    """Opens stores on one file, one after the other, as restarts do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[Event] = []
        self.opened: list[EventStore] = []

    def open(self) -> EventStore:
        store = EventStore(self.path, EventLog(self.said.append))
        self.opened.append(store)
        return store

    def end(self, store: EventStore) -> None:
        """End a store as a clean stop does."""
        store.end_run("SIGTERM")
        self.opened.remove(store)

    def kill(self, store: EventStore) -> None:
        """End a store as SIGKILL does: what was written is there, nothing is said."""
        store._thread.submit(store._close)
        store._thread.shutdown(wait=True)
        self.opened.remove(store)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    made = Stores(tmp_path / "events.sqlite")
    yield made
    for store in list(made.opened):
        made.kill(store)


@pytest.fixture
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    clock = ManualClock(1_700_000_000.0)
    monkeypatch.setattr("basic_inference_server.supervision.event_store.wall_s", clock)
    return clock


def notifications(store: EventStore, signature: str | None = None, limit: int = 1000) -> list[Any]:
    return asyncio.run(store.notifications(signature, limit))


def history(store: EventStore, limit: int = 50) -> dict[str, Any]:
    return asyncio.run(store.history(limit))


def test_notifications_survive_a_restart(stores: Stores) -> None:
    """What was recorded yesterday is shown today, with its fields."""
    store = stores.open()
    item = {"time": "2024-01-01 00:00:00", "notif": "log", "msg": "hello", "call_id": 7}
    store.record_notifications("demo", [item])
    stores.kill(store)
    assert [{**item, "signature": "demo"}] == notifications(stores.open())


def test_notifications_are_the_newest_ones_oldest_first(stores: Stores) -> None:
    """A limit cuts off the old ones; the order is that of a log."""
    store = stores.open()
    for number in range(5):
        store.record_notifications("demo", [{"msg": number}])
    assert ["3", "4"] == [item["msg"] for item in notifications(store, limit=2)]


def test_notifications_can_be_asked_for_by_endpoint(stores: Stores) -> None:
    """One endpoint's are shown without the others', and all are shown when none is named."""
    store = stores.open()
    for name in ("one", "two", "one"):
        store.record_notifications(name, [{"msg": name}])
    assert ["one", "one"] == [item["signature"] for item in notifications(store, "one")]
    assert 3 == len(notifications(store))
    assert [] == notifications(store, "three")


def test_notification_without_fields_gets_sensible_ones(stores: Stores) -> None:
    """Kind, text and time are always there."""
    store = stores.open()
    store.record_notifications("demo", [{}])
    (item,) = notifications(store)
    assert ("log", "", "demo") == (item["notif"], item["msg"], item["signature"])
    assert item["time"]


def test_huge_notification_is_cut(stores: Stores) -> None:
    """One endpoint cannot fill the disk with one message."""
    store = stores.open()
    store.record_notifications("demo", [{"msg": "x" * 1_000_000}])
    assert 8000 == len(notifications(store)[0]["msg"])


def test_endpoint_cannot_record_under_anothers_name(stores: Stores) -> None:
    """Whose notification it is comes from who sent it."""
    store = stores.open()
    store.record_notifications("demo", [{"msg": "x", "signature": "other"}])
    assert ["demo"] == [item["signature"] for item in notifications(store, "demo")]


def test_state_changes_survive_a_restart(stores: Stores) -> None:
    """The history tells why a server went away last week."""
    store = stores.open()
    store.record_state("demo", "BACKOFF", "its master ended", "signal 9")
    store.record_state("demo", "READY", "a worker is ready", None)
    stores.kill(store)
    states = history(stores.open())["states"]
    assert [
        ("demo", "BACKOFF", "its master ended", "signal 9"),
        ("demo", "READY", "a worker is ready", None),
    ] == [(one["server"], one["state"], one["why"], one["error"]) for one in states]


def test_clean_run_has_a_reason_and_a_length(stores: Stores, wall_clock: ManualClock) -> None:
    """A stop that was asked for says by whom."""
    store = stores.open()
    store.begin_run("2.3.2")
    wall_clock.advance(60)
    stores.end(store)
    (run,) = history(stores.open())["runs"]
    assert ("SIGTERM", "2.3.2", 60.0) == (run["why"], run["ver"], run["run_time_s"])
    assert run["started"]
    assert run["stopped"]


def test_killed_run_keeps_the_time_that_it_was_seen(
    stores: Stores, wall_clock: ManualClock
) -> None:
    """A machine that lost its power still knows how long the gateway had run."""
    store = stores.open()
    store.begin_run("1")
    wall_clock.advance(50)
    store.touch_run()
    stores.kill(store)
    store = stores.open()
    wall_clock.advance(5)
    store.begin_run("2")
    wall_clock.advance(1)
    store.touch_run()
    killed, running = history(store)["runs"]
    assert (None, None, 50.0, "1") == (
        killed["stopped"], killed["why"], killed["run_time_s"], killed["ver"],
    )  # fmt: skip
    assert (1.0, "2") == (running["run_time_s"], running["ver"])


def test_history_shows_the_newest_runs_oldest_first(stores: Stores) -> None:
    """A limit keeps the answer short."""
    for version in "123":
        store = stores.open()
        store.begin_run(version)
        stores.kill(store)
    assert ["2", "3"] == [run["ver"] for run in history(stores.open(), limit=2)["runs"]]


def test_old_notifications_of_each_endpoint_are_pruned(stores: Stores) -> None:
    """A chatty endpoint loses its oldest, a quiet one keeps all of its own."""
    store = stores.open()
    store.record_notifications("quiet", [{"msg": "kept"}])
    batch = [{"msg": str(number)} for number in range(2 * KEPT_PER_SIGNATURE)]
    store.record_notifications("chatty", batch)
    for _ in range(200):
        store.record_notifications("quiet", [])
    chatty = notifications(store, "chatty", limit=10_000)
    assert KEPT_PER_SIGNATURE == len(chatty)
    assert str(2 * KEPT_PER_SIGNATURE - 1) == chatty[-1]["msg"]
    assert ["kept"] == [item["msg"] for item in notifications(store, "quiet")]


def test_file_is_for_its_owner_only(stores: Stores) -> None:
    """Notifications may hold what users sent."""
    store = stores.open()
    store.record_state("demo", "READY", "", None)
    history(store)
    assert 0o600 == stat.S_IMODE(stores.path.stat().st_mode)


def test_clean_end_closes_the_database(stores: Stores) -> None:
    """Nothing is left in a write-ahead log that a copy of the file would miss."""
    store = stores.open()
    store.begin_run("1")
    stores.end(store)
    assert not stores.path.with_name("events.sqlite-wal").exists()


def test_disk_error_is_said_once_and_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is gone makes one line a minute, no exception and empty answers."""
    clock = ManualClock()
    monkeypatch.setattr("basic_inference_server.supervision.event_store.monotonic_s", clock)
    stores = Stores(tmp_path / "nowhere" / "events.sqlite")
    store = stores.open()
    store.begin_run("1")
    store.record_state("demo", "READY", "", None)
    store.touch_run()
    store.record_notifications("demo", [{"msg": "x"}])
    assert [] == notifications(store)
    assert {"runs": [], "states": []} == history(store)
    assert [("events_not_stored", "error", str(stores.path))] == [
        (event["event"], event["level"], event["file"]) for event in stores.said
    ]
    clock.advance(60)
    assert [] == notifications(store)
    assert 2 == len(stores.said)
    stores.end(store)


def test_disk_that_comes_back_is_used_again(tmp_path: Path) -> None:
    """No restart is needed after a full disk was cleared."""
    stores = Stores(tmp_path / "later" / "events.sqlite")
    store = stores.open()
    store.record_state("demo", "LOADING", "", None)
    assert [] == history(store)["states"]
    (tmp_path / "later").mkdir()
    store.record_state("demo", "READY", "", None)
    assert ["READY"] == [one["state"] for one in history(store)["states"]]
    stores.kill(store)


def test_file_that_is_no_database_is_said_and_left_alone(stores: Stores) -> None:
    """Somebody else's file is not overwritten."""
    stores.path.write_bytes(b"not a database at all, but long enough to look at" * 100)
    store = stores.open()
    store.record_state("demo", "READY", "", None)
    assert [] == notifications(store)
    assert ["events_not_stored"] == [event["event"] for event in stores.said]
    assert stores.path.read_bytes().startswith(b"not a database")


def test_other_programs_can_read_the_file_meanwhile(stores: Stores) -> None:
    """A person may look into the database while the gateway runs."""
    store = stores.open()
    store.record_state("demo", "READY", "", None)
    history(store)
    reader = sqlite3.connect(stores.path)
    assert [("READY",)] == reader.execute("SELECT state FROM state_changes").fetchall()
    reader.close()
