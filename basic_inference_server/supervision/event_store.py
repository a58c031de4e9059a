"""What must outlive a restart: runs, state changes and notifications, in SQLite.

Nothing here waits for a disk: `event_database` owns the file, and what cannot be written is
dropped and said, once a minute.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from basic_inference_server.core.clock import local_time_text, wall_s
from basic_inference_server.core.errors import NotReady
from basic_inference_server.core.logs import EventLog
from basic_inference_server.supervision.event_database import EventDatabase, StoreUnavailable

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
        self._database = EventDatabase(path, _SCHEMA, self._ensure_run, log)
        self._run: tuple[str, float, str] | None = None
        self._run_id = 0
        self._writes = 0

    def begin_run(self, version: str) -> None:
        """Record that a gateway has started."""
        self._run = local_time_text(), wall_s(), version
        self._database.write(self._ensure_run)

    def _ensure_run(self, database: sqlite3.Connection) -> None:
        """Record the run in a database that does not have it, as a new one does not."""
        if self._run is None:
            return
        started, started_s, version = self._run
        known = database.execute(
            "SELECT 1 FROM runs WHERE id=? AND started_s=?", (self._run_id, started_s)
        ).fetchone()
        if known is None:
            cursor = database.execute(
                "INSERT INTO runs (started, started_s, seen_s, version) VALUES (?, ?, ?, ?)",
                (started, started_s, wall_s(), version),
            )
            self._run_id = cursor.lastrowid or 0

    def touch_run(self) -> None:
        """Record that the run still goes on: a run that is killed has no other end."""
        now_s = wall_s()
        self._database.write(
            lambda database: database.execute(
                "UPDATE runs SET seen_s=? WHERE id=?", (now_s, self._run_id)
            )
        )

    def end_run(self, why: str) -> None:
        """Record that the gateway stops, and close the database; that takes 3 s at most."""
        stopped, now_s = local_time_text(), wall_s()
        self._database.write(
            lambda database: database.execute(
                "UPDATE runs SET seen_s=?, stopped=?, why=? WHERE id=?",
                (now_s, stopped, why, self._run_id),
            )
        )
        self._database.close()

    def record_state(self, server: str, state: str, why: str, error: str | None) -> None:
        """Record a state change."""
        row = (local_time_text(), server, state, why, error)

        def job(database: sqlite3.Connection) -> None:
            database.execute(
                "INSERT INTO state_changes (time, server, state, why, error) VALUES (?,?,?,?,?)",
                row,
            )
            self._prune(database)

        self._database.write(job)

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

        self._database.write(job)

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
        """Return the newest notifications, oldest first.

        Raises:
            NotReady: the database cannot be read.
        """
        query = (
            "SELECT time, signature, notif, msg, fields FROM notifications"
            " WHERE ?1 IS NULL OR signature = ?1 ORDER BY id DESC LIMIT ?2"
        )
        try:
            rows = await self._database.read(
                lambda database: database.execute(query, (signature, limit)).fetchall()
            )
        except StoreUnavailable as problem:
            raise NotReady(f"The notifications cannot be read: {problem}.") from problem
        return [
            {**json.loads(fields), "time": time, "signature": name, "notif": notif, "msg": msg}
            for time, name, notif, msg, fields in reversed(rows)
        ]

    async def history(self, limit: int = 50) -> dict[str, Any]:
        """Return the newest runs and state changes, oldest first, or the reason of having none."""
        try:
            runs, changes = await self._database.read(lambda database: _history(database, limit))
        except StoreUnavailable as problem:
            return {"runs": [], "states": [], "error": str(problem)}
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


def _history(database: sqlite3.Connection, limit: int) -> tuple[list[Any], list[Any]]:
    runs = database.execute(
        "SELECT started, stopped, why, version, seen_s - started_s FROM runs"
        " ORDER BY id DESC LIMIT ?",
        (limit,),
    ).fetchall()
    changes = database.execute(
        "SELECT time, server, state, why, error FROM state_changes ORDER BY id DESC LIMIT ?",
        (limit,),
    ).fetchall()
    return runs, changes


def _as_row(signature: str, item: dict[str, Any]) -> tuple[str, str, str, str, str]:
    fixed = ("time", "notif", "msg")
    fields = {name: value for name, value in item.items() if name not in fixed}
    return (
        str(item.get("time") or local_time_text()),
        signature,
        str(item.get("notif", "log")),
        _storable(str(item.get("msg", "")))[:8000],
        json.dumps(fields, default=str),
    )


def _storable(text: str) -> str:
    """Return text without halves of characters, which no UTF-8 can hold."""
    return text.encode("utf-8", "backslashreplace").decode()
