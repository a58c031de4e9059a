"""A clock that a test moves by hand."""

from __future__ import annotations


class ManualClock:
    """Stands in for `monotonic_s`: returns the same instant until it is advanced."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds
