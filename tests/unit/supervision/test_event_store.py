"""Unit tests of what outlives a restart: runs, state changes, notifications."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.errors import NotReady
from basic_inference_server.core.logs import Event, EventLog
from basic_inference_server.supervision.event_store import KEPT_PER_SIGNATURE, EventStore
from tests.support.eventually import eventually
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
        store._database.close()
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
    """A disk that is gone makes one line a minute, and who asks is told the cause."""
    clock = ManualClock()
    monkeypatch.setattr("basic_inference_server.supervision.event_database.monotonic_s", clock)
    stores = Stores(tmp_path / "nowhere" / "events.sqlite")
    store = stores.open()
    store.begin_run("1")
    store.record_state("demo", "READY", "", None)
    store.touch_run()
    store.record_notifications("demo", [{"msg": "x"}])
    with pytest.raises(NotReady, match=r"cannot be read: .*No such file"):
        notifications(store)
    cause = f"[Errno 2] No such file or directory: '{stores.path}'"
    assert {"runs": [], "states": [], "error": cause} == history(store)
    assert [("events_not_stored", "error", str(stores.path), cause)] == [
        (event["event"], event["level"], event["file"], event["error"]) for event in stores.said
    ]
    clock.advance(60)
    history(store)
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


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"not a database at all, but long enough to look at" * 100, id="no database"),
        pytest.param(b"SQLite format 3\0" + b"\0" * 5000, id="a damaged one"),
    ],
)
def test_file_that_is_no_database_is_set_aside(stores: Stores, content: bytes) -> None:
    """It is kept under another name and said, and what happens now is recorded."""
    stores.path.write_bytes(content)
    store = stores.open()
    store.begin_run("1")
    store.record_state("demo", "READY", "", None)
    assert ["READY"] == [one["state"] for one in history(store)["states"]]
    assert [("events_set_aside", f"{stores.path}.damaged")] == [
        (event["event"], event["kept_as"]) for event in stores.said
    ]
    assert content == Path(f"{stores.path}.damaged").read_bytes()


def test_database_of_something_else_is_set_aside(stores: Stores) -> None:
    """Tables of these names with other columns are no history of ours."""
    other = sqlite3.connect(stores.path)
    other.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, miles REAL)")
    other.close()
    store = stores.open()
    store.begin_run("7")
    assert ["7"] == [run["ver"] for run in history(store)["runs"]]
    assert ["events_set_aside"] == [event["event"] for event in stores.said]


def test_locked_file_names_the_one_who_locks_it_and_loses_nothing(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks meanwhile is told; what happened meanwhile is written when the lock has gone."""
    monkeypatch.setattr("basic_inference_server.supervision.event_database.RETRY_S", 0.05)
    store = stores.open()
    store.begin_run("1")
    assert 1 == len(history(store)["runs"])
    program = (
        "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]);"
        "d.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(stores.path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        assert b"locked\n" == other.stdout.readline()
        store.record_state("demo", "BACKOFF", "", None)
        problem = f"database is locked by pid {other.pid}"
        assert {"runs": [], "states": [], "error": problem} == history(store)
        other.communicate()
    eventually(lambda: "error" not in history(store), what="it is read again")
    assert ["BACKOFF"] == [one["state"] for one in history(store)["states"]]
    assert [("events_not_stored", problem)] == [(e["event"], e["error"]) for e in stores.said]


def test_end_does_not_wait_for_a_lock(stores: Stores) -> None:
    """A stop is not held up, however much waits to be written."""
    store = stores.open()
    store.begin_run("1")
    assert 1 == len(history(store)["runs"])
    locker = sqlite3.connect(stores.path)
    locker.execute("BEGIN EXCLUSIVE")
    for _ in range(100):
        store.record_state("demo", "STOPPED", "", None)
    before_s = monotonic_s()
    stores.end(store)
    assert monotonic_s() - before_s < 10  # each alone would wait for half a second
    locker.close()
    assert ["events_not_stored"] == [event["event"] for event in stores.said]


def test_history_of_an_older_version_is_kept(stores: Stores) -> None:
    """It had a write-ahead log, which goes with the first start; nothing of it is lost."""
    store = stores.open()
    store.record_state("demo", "READY", "yesterday", None)
    stores.kill(store)
    older = sqlite3.connect(stores.path)
    assert ("wal",) == older.execute("PRAGMA journal_mode=WAL").fetchone()
    older.execute("UPDATE state_changes SET why='kept'")
    older.commit()
    copy = stores.path.with_name("copy")
    copy.mkdir()
    for path in stores.path.parent.glob("events.sqlite*"):
        shutil.copy(path, copy / path.name)
    older.close()
    killed = Stores(copy / "events.sqlite")
    store = killed.open()
    assert ["kept"] == [one["why"] for one in history(store)["states"]]
    assert ["events.sqlite"] == [path.name for path in copy.iterdir()]
    killed.kill(store)


def test_text_that_is_no_text_is_stored_visibly(stores: Stores) -> None:
    """Half a character in a notification does not cost the others."""
    store = stores.open()
    store.record_notifications("demo", [{"msg": "\ud800 odd"}, {"msg": "even"}])
    assert ["\\ud800 odd", "even"] == [item["msg"] for item in notifications(store)]


def test_other_programs_can_read_the_file_meanwhile(stores: Stores) -> None:
    """A person may look into the database while the gateway runs."""
    store = stores.open()
    store.record_state("demo", "READY", "", None)
    history(store)
    reader = sqlite3.connect(stores.path)
    assert [("READY",)] == reader.execute("SELECT state FROM state_changes").fetchall()
    reader.close()
