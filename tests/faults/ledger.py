"""A client that keeps a ledger: one row for each request, and nothing is left unaccounted for.

It is an open loop: requests leave at their time, whether or not earlier ones were answered, so a
server that stalls is not spared. It is bounded: 200 requests/s, 60 s, this machine only.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic
from types import TracebackType
from typing import Any

MAX_RATE = 200.0
MAX_SECONDS = 60.0
HOST = "127.0.0.1"
ANSWER_TIMEOUT_S = 40.0


@dataclass(frozen=True)
class Row:
    """One request: times of the monotonic clock, and how it ended.

    Attributes:
        outcome: the status, or what went wrong on the connection.
        executed: what the answer says about it: `yes`, `no`, `unknown`, or `lost` without one.
    """

    id: str
    due: float
    t0: float
    t1: float
    outcome: str
    code: str
    executed: str
    retry_after: str | None = None

    @property
    def seconds(self) -> float:
        """From the moment at which it was due."""
        return self.t1 - self.due


class Ledger:
    """Sends requests at a steady rate from the beginning of a `with` block until its end.

    Each request has a connection of its own, so a refused one is seen, an answer can only belong
    to its request, and whatever follows an answer is found.
    """

    def __init__(
        self,
        port: int,
        rate: float,
        fields: Mapping[str, Any] | Callable[[int], Mapping[str, Any]],
        seconds: float = MAX_SECONDS,
        name: str = "r",
    ) -> None:
        if not 0 < rate <= MAX_RATE or not 0 < seconds <= MAX_SECONDS:
            raise ValueError(f"at most {MAX_RATE} requests/s for {MAX_SECONDS} s")
        self.rows: list[Row] = []
        self.sent = 0
        self._port = port
        self._rate = rate
        self._seconds = seconds
        self._fields = fields
        self._name = name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Ledger:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._stop.set()
        self.finish()

    def stop(self) -> None:
        """Send nothing more; what was sent is waited for by `finish`."""
        self._stop.set()

    def finish(self) -> None:
        """Wait until every request has ended."""
        self._thread.join(self._seconds + 2 * ANSWER_TIMEOUT_S)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        begin = monotonic()
        pending: set[asyncio.Task[None]] = set()
        while not self._stop.is_set():
            due = begin + self.sent / self._rate
            if due - begin >= self._seconds:
                break
            if (wait := due - monotonic()) > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(self._send(self.sent, due))
            self.sent += 1
            pending.add(task)
            task.add_done_callback(pending.discard)
        if pending:
            await asyncio.wait(pending)

    async def _send(self, number: int, due: float) -> None:
        id_ = f"{self._name}-{number}"
        fields = self._fields(number) if callable(self._fields) else self._fields
        body = json.dumps({"ID": id_, **fields}).encode()
        head = (
            f"POST /run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"X-Request-Id: {id_}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        t0 = monotonic()
        try:
            answer = await asyncio.wait_for(self._exchange(head.encode() + body), ANSWER_TIMEOUT_S)
            outcome, code, executed, retry_after = judge(answer, id_)
        except (OSError, asyncio.TimeoutError) as error:
            outcome, code, executed, retry_after = type(error).__name__, "", "lost", None
        self.rows.append(
            Row(id_, due, t0, monotonic(), outcome, code, executed, retry_after)
        )  # fmt: skip

    async def _exchange(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(HOST, self._port)
        try:
            writer.write(request)
            return await reader.read(-1)
        finally:
            writer.transport.abort()

    @property
    def outcomes(self) -> Counter[str]:
        """How many requests ended in which way."""
        return Counter(row.outcome for row in list(self.rows))

    @property
    def answered(self) -> int:
        """How many were answered with 200 so far."""
        return self.outcomes["200"]

    def failures(self) -> list[Row]:
        """Return what was not answered with 200."""
        return [row for row in self.rows if row.outcome != "200"]

    def check(self, count: Path | None = None, most_executions: int = 1) -> None:
        """Fail unless all that was sent is accounted for, and ran as often as its answer says."""
        assert not self._thread.is_alive()
        ids = [row.id for row in self.rows]
        assert (self.sent, self.sent) == (len(ids), len(set(ids)))
        assert self.sent == sum(self.outcomes.values())
        assert [] == [row for row in self.rows if row.outcome in {"two", "other's"}]
        if count is None:
            return
        executions = Counter(count.read_text().split()) if count.exists() else Counter()
        for row in self.rows:
            times = executions[row.id]
            assert times <= most_executions, row
            if row.outcome == "200":
                assert times >= 1, row
            if row.executed == "no":
                assert 0 == times, row

    def seconds_of(self, *outcomes: str) -> list[float]:
        """Return how long the requests with these outcomes took, from when they were due."""
        return [row.seconds for row in self.rows if not outcomes or row.outcome in outcomes]


def judge(answer: bytes, id_: str) -> tuple[str, str, str, str | None]:
    """Return outcome, code, executed and `Retry-After` of what came back on one connection."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    if not head:
        return "no answer", "", "lost", None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (s.partition(":") for s in lines)}
    length = int(headers["content-length"])
    if len(rest) < length:
        return "no answer", "", "lost", None
    if len(rest) > length:
        return "two", "", "unknown", None
    if headers.get("x-request-id") != id_:
        return "other's", "", "unknown", None
    body = json.loads(rest)
    status = first.split()[1]
    executed = "yes" if status == "200" else body["executed"]
    return status, body.get("code", ""), executed, headers.get("retry-after")


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the value below which that many of a hundred lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def summary_ms(values: Iterable[float]) -> str:
    """Return median, p99 and maximum in milliseconds, for people."""
    ordered = sorted(values)
    if not ordered:
        return "none"
    figures = (median(ordered), percentile(ordered, 99), ordered[-1])
    return "median {:.1f} ms, p99 {:.1f} ms, max {:.1f} ms".format(*(1000 * s for s in figures))
