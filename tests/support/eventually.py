"""Waiting for a condition: the only place in the tests where time passes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.01


def eventually(probe: Callable[[], T], timeout_s: float = 10.0, what: str = "") -> T:
    """Return the first true value of `probe`; fail with the last one when time is up."""
    pause = threading.Event()
    deadline_s = time.monotonic() + timeout_s
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() >= deadline_s:
            raise AssertionError(f"{what or 'the condition'} did not hold: last value {value!r}")
        pause.wait(POLL_S)
