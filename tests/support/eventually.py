"""Waiting for a condition: the only place in the tests where time passes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.01
PATIENCE_S = 30.0  # long enough for a machine that is busy with something else
AT_ONCE_S = 15.0  # what takes milliseconds on a quiet machine takes no longer on a busy one


def eventually(probe: Callable[[], T], timeout_s: float = PATIENCE_S, what: str = "") -> T:
    """Return the first true value of `probe`; fail with the last one when time is up.

    A test says what happens and in which order. How fast is for benchmarks and chaos tests: a
    shorter time than the default belongs only where nothing must happen.
    """
    pause = threading.Event()
    deadline_s = time.monotonic() + timeout_s
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() >= deadline_s:
            raise AssertionError(f"{what or 'the condition'} did not hold: last value {value!r}")
        pause.wait(POLL_S)
