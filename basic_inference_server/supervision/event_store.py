"""What must outlive a restart: runs, state changes and notifications, in SQLite.

One thread owns the database, so that a slow or full disk never stops the supervisor; what cannot
be written is dropped and said, once a minute.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from basic_inference_server.core.clock import local_time_text, monotonic_s, wall_s
from basic_inference_server.core.logs import EventLog

KEPT_PER_SIGNATURE = 1000
KEPT_STATE_CHANGES = 10_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, started TEXT, started_s REAL, seen_s REAL, stopped TEXT, why TEXT,
    version TEXT);
CREATE TABLE IF NOT EXISTS state_changes (
    id INTEGER PRIMARY KEY, time TEXT, server TEXT, state TEXT, why TEXT, error TEXT);
CREATE TABLE IF NOT EXISTS notifications (
    id INTEGER PRIMARY KEY, time TEXT, signature TEXT, notif TEXT, msg TEXT, fields TEXT);
CREATE INDEX IF NOT EXISTS by_signature ON notifications (signature, id);
"""


class EventStore:
    """The database `events.sqlite` of one application folder."""

    def __init__(self, path: Path, log: EventLog) -> None:
        self._path = path
        self._log = log
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="event-store")
        self._database: sqlite3.Connection | None = None
        self._run_id = 0
        self._silent_until_s = 0.0
        self._writes = 0

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            # The files beside it (write-ahead log, index) get the database's own mode.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            database = sqlite3.connect(self._path, timeout=5)
            try:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("PRAGMA synchronous=NORMAL")
                database.executescript(_SCHEMA)
            except sqlite3.Error:  # the file is no database
                database.close()
                raise
            self._database = database
        return self._database

    def _write(self, job: Callable[[sqlite3.Connection], None]) -> None:
        def run() -> None:
            try:
                database = self._open()
                with database:
                    job(database)
            except (sqlite3.Error, OSError) as error:
                self._complain(error)

        self._thread.submit(run)

    def _complain(self, error: Exception) -> None:
        if monotonic_s() >= self._silent_until_s:
            self._silent_until_s = monotonic_s() + 60
            self._log.error("events_not_stored", error=str(error), file=str(self._path))

    async def _read(self, job: Callable[[sqlite3.Connection], list[Any]]) -> list[Any]:
        def run() -> list[Any]:
            try:
                return job(self._open())
            except (sqlite3.Error, OSError) as error:
                self._complain(error)
                return []

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def begin_run(self, version: str) -> None:
        """Record that a gateway has started."""
        started, now_s = local_time_text(), wall_s()

        def job(database: sqlite3.Connection) -> None:
            cursor = database.execute(
                "INSERT INTO runs (started, started_s, seen_s, version) VALUES (?, ?, ?, ?)",
                (started, now_s, now_s, version),
            )
            self._run_id = cursor.lastrowid or 0

        self._write(job)

    def touch_run(self) -> None:
        """Record that the run still goes on: a run that is killed has no other end."""
        now_s = wall_s()
        self._write(
            lambda database: _ignore(
                database.execute("UPDATE runs SET seen_s=? WHERE id=?", (now_s, self._run_id))
            )
        )

    def end_run(self, why: str) -> None:
        """Record that the gateway stops, and close the database."""
        stopped, now_s = local_time_text(), wall_s()
        self._write(
            lambda database: _ignore(
                database.execute(
                    "UPDATE runs SET seen_s=?, stopped=?, why=? WHERE id=?",
                    (now_s, stopped, why, self._run_id),
                )
            )
        )
        self._thread.submit(self._close)
        self._thread.shutdown(wait=True)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def record_state(self, server: str, state: str, why: str, error: str | None) -> None:
        """Record a state change."""
        row = (local_time_text(), server, state, why, error)

        def job(database: sqlite3.Connection) -> None:
            database.execute(
                "INSERT INTO state_changes (time, server, state, why, error) VALUES (?,?,?,?,?)",
                row,
            )
            self._prune(database)

        self._write(job)

    def record_notifications(self, signature: str, items: list[dict[str, Any]]) -> None:
        """Record notifications of one endpoint, or of the engine about it."""
        rows = [_as_row(signature, item) for item in items]

        def job(database: sqlite3.Connection) -> None:
            database.executemany(
                "INSERT INTO notifications (time, signature, notif, msg, fields)"
                " VALUES (?,?,?,?,?)",
                rows,
            )
            self._prune(database)

        self._write(job)

    def _prune(self, database: sqlite3.Connection) -> None:
        self._writes += 1
        if self._writes % 200:
            return
        database.execute(
            "DELETE FROM state_changes WHERE id <= (SELECT MAX(id) FROM state_changes) - ?",
            (KEPT_STATE_CHANGES,),
        )
        database.execute(
            "DELETE FROM notifications WHERE id IN (SELECT id FROM (SELECT id, ROW_NUMBER() OVER"
            " (PARTITION BY signature ORDER BY id DESC) AS place FROM notifications)"
            " WHERE place > ?)",
            (KEPT_PER_SIGNATURE,),
        )

    async def notifications(self, signature: str | None, limit: int) -> list[dict[str, Any]]:
        """Return the newest notifications, oldest first."""
        query = (
            "SELECT time, signature, notif, msg, fields FROM notifications"
            " WHERE ?1 IS NULL OR signature = ?1 ORDER BY id DESC LIMIT ?2"
        )
        rows = await self._read(
            lambda database: database.execute(query, (signature, limit)).fetchall()
        )
        return [
            {**json.loads(fields), "time": time, "signature": name, "notif": notif, "msg": msg}
            for time, name, notif, msg, fields in reversed(rows)
        ]

    async def history(self, limit: int = 50) -> dict[str, Any]:
        """Return the newest runs and state changes, oldest first."""
        runs = await self._read(
            lambda database: database.execute(
                "SELECT started, stopped, why, version, seen_s - started_s FROM runs"
                " ORDER BY id DESC LIMIT ?",
                (limit,),
            ).fetchall()
        )
        changes = await self._read(
            lambda database: database.execute(
                "SELECT time, server, state, why, error FROM state_changes"
                " ORDER BY id DESC LIMIT ?",
                (limit,),
            ).fetchall()
        )
        return {
            "runs": [
                {"started": started, "stopped": stopped, "why": why, "ver": version,
                 "run_time_s": round(run_time_s, 1)}
                for started, stopped, why, version, run_time_s in reversed(runs)
            ],
            "states": [
                {"time": time, "server": server, "state": state, "why": why, "error": error}
                for time, server, state, why, error in reversed(changes)
            ],
        }  # fmt: skip


def _ignore(_cursor: sqlite3.Cursor) -> None:
    """Turn an `execute` into a job, which returns nothing."""


def _as_row(signature: str, item: dict[str, Any]) -> tuple[str, str, str, str, str]:
    fixed = ("time", "notif", "msg")
    fields = {name: value for name, value in item.items() if name not in fixed}
    return (
        str(item.get("time") or local_time_text()),
        signature,
        str(item.get("notif", "log")),
        str(item.get("msg", ""))[:8000],
        json.dumps(fields, default=str),
    )
