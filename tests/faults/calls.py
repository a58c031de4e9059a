"""Asking endpoints for faults, each time with an id of its own and a secret in the inputs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Generic, TypeVar

import requests

from basic_inference_server.testing import RunningGateway
from tests.faults.vital_signs import SECRETS
from tests.support.eventually import PATIENCE_S, eventually

T = TypeVar("T")
NUMBERS = count()


def do(
    gateway: RunningGateway, server: str, deed: str, timeout_s: float = 30.0, **fields: Any
) -> requests.Response:
    """Ask a misbehaving endpoint for a deed; no two requests are the same."""
    fields.setdefault("ID", f"{deed}-{next(NUMBERS)}")
    # An answer that a failed test keeps must not keep its connection, too.
    return requests.post(
        gateway.url + "/run",
        json={"SIGNATURE": server, "DO": deed, "PASSWORD": SECRETS["input"], **fields},
        headers={"Connection": "close"},
        timeout=timeout_s,
    )


class InBackground(Generic[T]):
    """A call in a thread of its own; `result` waits for it."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._results: list[T] = []
        self._errors: list[requests.RequestException] = []
        self._thread = threading.Thread(target=self._run, args=(call,))
        self._thread.start()

    def _run(self, call: Callable[[], T]) -> None:
        try:
            self._results.append(call())
        except requests.RequestException as error:
            self._errors.append(error)

    def result(self, timeout_s: float = 30.0) -> T:
        """Return what the call returned; raise what the client raised."""
        self._thread.join(timeout_s)
        if self._errors:
            raise self._errors[0]
        return self._results[0]


def executed(file: Path) -> list[str]:
    """Return the ids of the executions that a `COUNT` file has."""
    return file.read_text().split() if file.exists() else []


def wait_until_ready(gateway: RunningGateway, server: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait until a server has all its workers again."""

    def is_ready() -> bool:
        now = gateway.servers()[server]
        return bool(now["state"] == "READY" and now["ready_workers"] == now["workers"])

    eventually(is_ready, timeout_s, f"{server} is ready")


def wait_until_busy(gateway: RunningGateway, server: str, workers: int = 1) -> None:
    """Wait until that many workers of a server execute."""
    eventually(
        lambda: gateway.servers()[server]["busy_workers"] == workers, what=f"{server} is busy"
    )
