"""One SQLite file that may be locked, damaged or gone, and a thread of its own that uses it.

The file is never mapped into memory, so a file that is cut short is an error and no SIGBUS: it has
a rollback journal, because the index of a write-ahead log would be mapped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, TypeVar

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.complaints import Complaints
from basic_inference_server.core.logs import EventLog

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], Any]
FileIdentity = tuple[int, int]

KEPT_WRITES: Final = 1000  # how many wait for a lock to go; the oldest are dropped beyond that
LOCK_PATIENCE_S: Final = 0.5
RETRY_S: Final = 1.0
READ_WITHIN_S: Final = 3.0
CLOSE_WITHIN_S: Final = 3.0
TRIES: Final = 3  # on what was open, on a fresh connection, on a new file
BESIDE: Final = ("", "-journal", "-wal", "-shm")
DAMAGE: Final = ("malformed", "not a database", "no such column", "has no column")


class StoreUnavailable(Exception):
    """The database cannot be used now; the message is the cause."""


class EventDatabase:
    """The jobs of one file: writes that nobody waits for, reads with a time limit.

    Args:
        path: the file; it is made when it is not there.
        schema: SQL that makes the tables where they are missing.
        on_open: run on every fresh connection, in a transaction.
        log: where it is said that something cannot be stored.
    """

    def __init__(self, path: Path, schema: str, on_open: Job, log: EventLog) -> None:
        self._path = path
        self._schema = schema
        self._on_open = on_open
        self._log = log
        self._database: sqlite3.Connection | None = None
        self._identity: FileIdentity | None = None
        self._changed = threading.Condition()
        self._writes: deque[Job] = deque(maxlen=KEPT_WRITES)
        self._reads: list[tuple[Job, Future[Any]]] = []
        self._is_closing = False
        self._thread: threading.Thread | None = None
        self._locked_until_s = 0.0
        self._problem = ""
        self._complaints = Complaints()

    def write(self, job: Job) -> None:
        """Have `job` run in a transaction, soon; what cannot be written is dropped and said."""
        with self._changed:
            self._writes.append(job)
            self._wake()

    async def read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Return the result of `job`, which sees everything written before.

        Raises:
            StoreUnavailable: the database cannot be read, or not in time.
        """
        result: Future[T] = Future()
        with self._changed:
            self._reads.append((job, result))
            self._wake()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(result), READ_WITHIN_S)
        except asyncio.TimeoutError:
            with self._changed:
                self._reads = [one for one in self._reads if one[1] is not result]
            raise StoreUnavailable(f"no answer from the disk within {READ_WITHIN_S:g} s") from None

    def close(self) -> None:
        """Write what waits and close the file; give up when that takes too long."""
        with self._changed:
            self._is_closing = True
            self._wake()
        thread = self._thread
        if thread is not None:
            thread.join(CLOSE_WITHIN_S)
            if thread.is_alive():
                self._complain(f"no answer from the disk within {CLOSE_WITHIN_S:g} s")

    def _wake(self) -> None:
        """Let the thread look for work; it is started with the first."""
        if self._thread is None:
            # A daemon: a disk that never answers must not keep the process from ending.
            thread = threading.Thread(target=self._work, name="event-store", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the next job tries again
                self._complain(str(error))
                return
            self._thread = thread
        self._changed.notify_all()

    # --- in the thread

    def _work(self) -> None:
        is_closing = False
        while not is_closing:
            with self._changed:
                while not self._has_work():
                    self._changed.wait(RETRY_S if self._writes else None)
                is_closing = self._is_closing
                writes, self._writes = self._writes, deque(maxlen=KEPT_WRITES)
                reads, self._reads = self._reads, []
            if is_closing:
                self._locked_until_s = 0.0  # the last chance is taken
            self._run_writes(list(writes), is_last=is_closing)
            for job, result in reads:
                self._run_read(job, result)
        self._disconnect()

    def _has_work(self) -> bool:
        is_due = bool(self._writes) and monotonic_s() >= self._locked_until_s
        return self._is_closing or bool(self._reads) or is_due

    def _run_writes(self, writes: Sequence[Job], *, is_last: bool) -> None:
        def run_all(database: sqlite3.Connection) -> None:
            for job in writes:
                job(database)

        if not writes:
            return
        try:
            self._run(run_all)
        except StoreUnavailable as problem:
            self._complain(str(problem))
            if self._is_locked and not is_last:
                with self._changed:
                    self._writes = deque([*writes, *self._writes], maxlen=KEPT_WRITES)
        except Exception as error:  # noqa: BLE001 - one odd record must not end the thread
            self._complain(repr(error))

    def _run_read(self, job: Job, result: Future[Any]) -> None:
        if not result.set_running_or_notify_cancel():  # nobody waits any more
            return
        try:
            result.set_result(self._run(job))
        except Exception as error:  # noqa: BLE001 - it belongs to the one who waits
            if isinstance(error, StoreUnavailable):
                self._complain(str(error))
            result.set_exception(error)

    @property
    def _is_locked(self) -> bool:
        return monotonic_s() < self._locked_until_s

    def _run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job in one transaction, on a new connection or a new file where that helps."""
        if self._is_locked:
            raise StoreUnavailable(self._problem)
        for _ in range(TRIES):
            try:
                database = self._connection()
                with database:
                    return job(database)
            except OSError as error:
                self._disconnect()
                self._problem = str(error)
            except sqlite3.Error as error:
                self._disconnect()
                self._problem = str(error)
                if "locked" in self._problem:
                    self._problem += _by_whom(self._path)
                    self._locked_until_s = monotonic_s() + RETRY_S
                    break
                if any(sign in self._problem for sign in DAMAGE):
                    self._set_aside(self._problem)
        raise StoreUnavailable(self._problem)

    def _connection(self) -> sqlite3.Connection:
        if self._database is not None and self._identity != _identity(self._path):
            self._disconnect()  # the file was removed, or is another one
        if self._database is None:
            self._database = self._connect()
            self._identity = _identity(self._path)
            with self._database:
                self._on_open(self._database)
        return self._database

    def _connect(self) -> sqlite3.Connection:
        # The journal beside it gets the database's own mode.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        database = sqlite3.connect(self._path, timeout=LOCK_PATIENCE_S)
        try:
            # The file of an older version has a write-ahead log. A connection that locks the file
            # for itself reads that without mapping its index, which is then of no use.
            database.execute("PRAGMA mmap_size=0")
            database.execute("PRAGMA locking_mode=EXCLUSIVE")
            database.execute("PRAGMA journal_mode=DELETE")
            with contextlib.suppress(OSError):
                Path(f"{self._path}-shm").unlink(missing_ok=True)
            database.execute("PRAGMA locking_mode=NORMAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.executescript(self._schema)
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _disconnect(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _set_aside(self, reason: str) -> None:
        """Keep a damaged file under another name; the next connection makes a new one."""
        kept_as = self._path.with_name(self._path.name + ".damaged")
        try:
            for end in BESIDE:
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self._path}{end}").replace(f"{kept_as}{end}")
        except OSError as error:
            raise StoreUnavailable(f"{reason}, and it cannot be set aside: {error}") from error
        self._log.error(
            "events_set_aside", error=reason, file=str(self._path), kept_as=str(kept_as)
        )

    def _complain(self, problem: str) -> None:
        if self._complaints.is_due("database", monotonic_s()):
            self._log.error("events_not_stored", error=problem, file=str(self._path))


def _identity(path: Path) -> FileIdentity | None:
    try:
        details = path.stat()
    except OSError:
        return None
    return details.st_dev, details.st_ino


def _by_whom(path: Path) -> str:
    """Return which process holds a lock on the file, as far as the kernel shows it."""
    try:
        inode = path.stat().st_ino
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return ""
    # 3: POSIX  ADVISORY  WRITE 1234 fd:01:5678 0 EOF
    rows = [line.split() for line in lines if "->" not in line]
    pids = {row[4] for row in rows if len(row) > 5 and row[5].endswith(f":{inode}")}
    return f" by pid {', '.join(sorted(pids - {str(os.getpid())}))}" if pids else ""
