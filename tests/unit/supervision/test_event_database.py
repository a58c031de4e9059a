"""Unit tests of the database's thread: what it does for those who wait, and for a slow disk."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from basic_inference_server.core.logs import Event, EventLog
from basic_inference_server.supervision import event_database
from basic_inference_server.supervision.event_database import (
    KEPT_WRITES,
    EventDatabase,
    StoreUnavailable,
)

SCHEMA = "CREATE TABLE IF NOT EXISTS numbers (number INTEGER)"


class Bench:
    """One database, and what is said about it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[Event] = []
        self.database = EventDatabase(path, SCHEMA, lambda _: None, EventLog(self.said.append))

    def write(self, number: int) -> None:
        self.database.write(
            lambda sqlite: sqlite.execute("INSERT INTO numbers VALUES (?)", (number,))
        )

    def read(self) -> list[int]:
        query = "SELECT number FROM numbers ORDER BY rowid"

        def job(sqlite: sqlite3.Connection) -> list[int]:
            return [number for (number,) in sqlite.execute(query)]

        return asyncio.run(self.database.read(job))

    @contextmanager
    def stuck(self) -> Iterator[None]:
        """Keep the thread busy, as a disk does that does not answer."""
        begun, goes_on = threading.Event(), threading.Event()

        def job(_: sqlite3.Connection) -> None:
            begun.set()
            goes_on.wait(30)

        self.database.write(job)
        assert begun.wait(10)
        try:
            yield
        finally:
            goes_on.set()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(event_database, "READ_WITHIN_S", 0.05)
    monkeypatch.setattr(event_database, "CLOSE_WITHIN_S", 0.05)
    made = Bench(tmp_path / "events.sqlite")
    yield made
    monkeypatch.setattr(event_database, "CLOSE_WITHIN_S", 10)
    made.database.close()


def test_reader_sees_what_was_written_before(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes and reads are done in order."""
    monkeypatch.setattr(event_database, "READ_WITHIN_S", 10)
    for number in range(50):
        bench.write(number)
    assert list(range(50)) == bench.read()


def test_disk_that_does_not_answer_holds_nobody_up(bench: Bench) -> None:
    """Who asks, and who stops, is told after a time; neither waits for the disk."""
    with bench.stuck():
        with pytest.raises(StoreUnavailable, match=r"no answer from the disk within 0\.05 s"):
            bench.read()
        bench.database.close()
    assert [("events_not_stored", "no answer from the disk within 0.05 s")] == [
        (event["event"], event["error"]) for event in bench.said
    ]


def test_writes_that_wait_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is stuck costs the oldest records, and no memory without end."""
    monkeypatch.setattr(event_database, "READ_WITHIN_S", 10)
    with bench.stuck():
        for number in range(KEPT_WRITES + 10):
            bench.write(number)
    assert list(range(10, KEPT_WRITES + 10)) == bench.read()


def test_record_that_cannot_be_written_costs_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread goes on, and what is wrong is said."""
    monkeypatch.setattr(event_database, "READ_WITHIN_S", 10)
    bench.write(2**70)
    assert [] == bench.read()
    bench.write(7)
    assert [7] == bench.read()
    assert ["events_not_stored"] == [event["event"] for event in bench.said]


def test_question_that_fails_is_the_askers_to_see(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that has nothing to do with the file is no cause to try another."""
    monkeypatch.setattr(event_database, "READ_WITHIN_S", 10)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(bench.database.read(lambda _: 1 / 0))
    assert [] == bench.read()
