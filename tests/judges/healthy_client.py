"""A client that asks at a steady pace while others misbehave, and notes how long each answer took.

Where the answers are late, it is the gateway; the pace is slow enough not to load it.
"""

from __future__ import annotations

import http.client
import statistics
import threading
from types import TracebackType

from basic_inference_server.core.clock import monotonic_s

PACE_S = 0.01
TIMEOUT_S = 5.0


class HealthyClient:
    """Asks for the length of a `with` block, on one connection.

    Attributes:
        latencies_ms: of every request, also of one that failed.
        failures: what came instead of a 200.
    """

    def __init__(self, port: int, path: str) -> None:
        self.latencies_ms: list[float] = []
        self.failures: list[str] = []
        self._port = port
        self._path = path
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="healthy-client")

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        while not self._done.wait(PACE_S):
            sent_s = monotonic_s()
            try:
                connection.request("GET", self._path)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    self.failures.append(f"{answer.status} {body[:200]!r}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
            self.latencies_ms.append((monotonic_s() - sent_s) * 1000)
        connection.close()

    @property
    def p99_ms(self) -> float:
        """The 99th percentile."""
        return statistics.quantiles(self.latencies_ms, n=100)[98]

    def run_for(self, seconds: float) -> None:
        """Go on asking for so long."""
        self._thread.join(seconds)

    def __enter__(self) -> HealthyClient:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join(2 * TIMEOUT_S)
