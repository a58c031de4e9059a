"""A client that sends one request after another while something happens to the server."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from types import TracebackType

import requests


class SteadyClient:
    """Sends requests from a few threads until the `with` block ends; keeps a ledger.

    Attributes:
        outcomes: status codes, or the class names of client-side exceptions, with their counts.
        failures: the first answers that were not 200.
    """

    def __init__(
        self, url: str, body: Mapping[str, object], threads: int = 4, keep_alive: bool = True
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self.failures: list[str] = []
        self._url = url
        self._body = body
        self._keep_alive = keep_alive
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send) for _ in range(threads)]

    def _send(self) -> None:
        session = requests.Session()
        while not self._done.is_set():
            try:
                if self._keep_alive:
                    response = session.post(self._url, json=self._body, timeout=60)
                else:
                    response = requests.post(self._url, json=self._body, timeout=60)
                outcome, text = str(response.status_code), response.text
            except requests.RequestException as error:
                outcome, text = type(error).__name__, str(error)
            with self._lock:
                self.outcomes[outcome] += 1
                if outcome != "200" and len(self.failures) < 5:
                    self.failures.append(text)
        session.close()

    @property
    def sent(self) -> int:
        """How many requests have ended."""
        return sum(self.outcomes.values())

    def __enter__(self) -> SteadyClient:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(25)
